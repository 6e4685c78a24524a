//! What the cluster knows: an [`Image`] that is the fold of a log of [`Entry`]s.
//!
//! The metadata log is a log of *commands*. Applying one is deterministic and total: it changes the image and yields
//! the answer, a refusal included, so everybody who folds the log knows every answer. Nobody acts on an answer that was
//! merely read from a controller.

mod command;
mod image;

pub use command::{
    Answer, Command, Commit, CommitObject, CommitRange, Entry, NewTopic, Recovery, Refusal, RegisteredWal, TopicName,
};
pub use image::{
    EpochImage, Image, NodeImage, ObjectImage, ObjectState, PartitionImage, RangeImage, StreamImage, StreamState,
    TopicImage,
};
