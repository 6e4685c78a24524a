//! What the cluster knows: an [`Image`] that is the fold of a log of [`Entry`]s.
//!
//! The metadata log is a log of *commands*. Applying one is deterministic and total: it changes the image and yields
//! the answer, a refusal included, so everybody who folds the log knows every answer. Nobody acts on an answer that was
//! merely read from a controller.
//!
//! | file | subject |
//! |---|---|
//! | `command` | what can be asked, what is answered |
//! | `image` | the state, and questions to it |
//! | `apply/` | what each command does to the state |
//! | `check` | what holds in every state |
//! | `configs/` | what topics may be configured to |
//! | `codec/` | entries and images as bytes |
//! | `bounds` | what an entry may ask for at most |

mod apply;
pub mod bounds;
mod check;
pub(crate) mod codec;
mod command;
mod configs;
mod epochs;
mod image;
#[cfg(test)]
pub(crate) mod workload;

pub use command::{
    Answer, Command, Commit, CommitObject, CommitRange, CommitState, CompactedObject, CompactedRange, CompactedState,
    Compaction, Entry, NewTopic, Recovery, Refusal, RegisteredWal, StateKind, TopicName, WalKind,
};
pub use configs::{
    ByteLimit, CleanupPolicy, CompressionType, ConfigKind, ConfigName, ConfigNames, ConfigPatch, InertName, Millis,
    Replicas, TimestampType, Toggle, TopicConfigs,
};
pub use epochs::EpochHistory;
pub use image::{
    EpochImage, GivenUpImage, Image, NodeImage, ObjectImage, ObjectState, PartitionImage, RangeImage, StateImage,
    StreamImage, StreamState, TopicImage,
};

use crate::id::FeatureLevel;

/// The newest feature level that this build understands, and what it initialises a bucket with. A head of a higher
/// level is neither read on nor claimed.
pub const FEATURE_LEVEL: FeatureLevel = WAL_DATA_LEVEL;

/// The level from which on objects of an object WAL are written in the layout of data objects, and may become data as they
/// are.
pub const WAL_DATA_LEVEL: FeatureLevel = FeatureLevel(2);
