//! What can be asked of the cluster's state, and what it answers.

use super::{ConfigPatch, TopicConfigs};
use crate::controller::NodeCommand;
use crate::id::{
    CutNumber, Lsn, NodeEpoch, ObjectId, Offset, RecoveryNumber, Seq, StreamEpoch, StreamId, TopicId, WalUuid,
};
use crate::machine::WallTime;
use crate::producers::ProducerId;
use alloc::string::String;
use alloc::vec::Vec;

/// A topic's name: 1 to 249 of `a-z A-Z 0-9 . _ -`, and neither `.` nor `..`, as in Kafka.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(String);

impl TopicName {
    /// The name, if Kafka allows it.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let fits = (1..=249).contains(&name.len()) && name != "." && name != "..";
        (fits && name.bytes().all(legal)).then(|| Self(name.into()))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the broker keeps it for itself: clients may read it, and neither write nor delete it.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        self.0 == crate::group::TOPIC
    }
}

/// One durable step of the cluster's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Its position; dense from 1.
    pub seq: Seq,
    /// The leader's wall clock. Never goes back along the log.
    pub at: WallTime,
    /// What is asked, and by whom.
    pub by: NodeCommand,
}

/// A change that a node asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// A broker starts. Fences its earlier epochs and orders their recovery.
    Register {
        /// The ring on its disk, if that was ever formatted.
        wal: Option<RegisteredWal>,
        /// Where clients reach it.
        host: String,
        /// Kafka port.
        port: u16,
        /// The ring that is lost with all that is in it alone: it is not recovered, and its epoch's streams end where
        /// they are committed. It must be the one that the cluster waits for, and not the one on the disk.
        give_up: Option<WalUuid>,
    },
    /// The WAL's new life has begun: of a ring, it is durable on the disk. Only now may streams be opened.
    NameWal {
        /// Of this epoch.
        uuid: WalUuid,
        /// What it lies on.
        kind: WalKind,
    },
    /// A recovery found all that there is and committed it: the epoch's streams are closed.
    EndRecovery {
        /// Which one.
        number: RecoveryNumber,
    },
    /// Opens all closed streams that belong to the sender, each under its next epoch.
    OpenStreams,
    /// The sender has drained: closes all streams that are open under its epoch.
    CloseStreams,
    /// A new topic, its streams open at the sender.
    CreateTopic(NewTopic),
    /// More partitions for a topic; the count after the change.
    GrowTopic {
        /// Which.
        id: TopicId,
        /// How many then; more than now.
        partitions: u32,
    },
    /// The topic, its streams and their data go.
    DeleteTopic {
        /// Which.
        id: TopicId,
    },
    /// A topic's configs change.
    ConfigureTopic {
        /// Which.
        id: TopicId,
        /// To what it has at that entry.
        patch: ConfigPatch,
    },
    /// A range of object ids for the sender's epoch. They can be committed as long as that epoch is not fenced.
    LeaseObjects {
        /// How many, at least one.
        count: u32,
    },
    /// A range of producer ids. Each is issued once, whatever becomes of the sender.
    LeaseProducers {
        /// How many, at least one.
        count: u32,
    },
    /// A cut becomes part of the streams.
    Commit(Commit),
    /// Records below are gone for readers.
    TrimStream {
        /// Which stream.
        stream: StreamId,
        /// The sender's epoch of it.
        epoch: StreamEpoch,
        /// The new start.
        start: Offset,
    },
    /// Objects are rewritten into others, which take their place.
    Compact(Compaction),
    /// What was or may have been uploaded under these ids, leased to the sender, will never be committed: it is to be
    /// deleted.
    AbandonObjects {
        /// Which.
        ids: Vec<ObjectId>,
    },
    /// These objects, destroyed long enough ago, are deleted from the bucket.
    ForgetObjects {
        /// Which.
        ids: Vec<ObjectId>,
    },
}

/// What a WAL lies on, hence who can read it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WalKind {
    /// A ring on a device: who holds that.
    Ring,
    /// Objects in the bucket: anybody.
    Objects,
}

/// The ring that a registering broker holds the lock of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RegisteredWal {
    /// Its life.
    pub uuid: WalUuid,
    /// The node epoch in its header.
    pub epoch: NodeEpoch,
    /// The trim point in its header.
    pub trim: Lsn,
}

/// A topic to be created.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NewTopic {
    /// Drawn by the sender.
    pub id: TopicId,
    /// Not in use.
    pub name: TopicName,
    /// At least one.
    pub partitions: u32,
    /// What is set for it.
    pub configs: TopicConfigs,
}

/// A cut as it becomes durable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Commit {
    /// The epoch whose records these are.
    pub epoch: NodeEpoch,
    /// Set if that epoch is fenced.
    pub recovery: Option<RecoveryNumber>,
    /// Which cut of that epoch.
    pub number: CutNumber,
    /// The trim point of that epoch's WAL from now on.
    pub lsn: Lsn,
    /// The objects that hold it; none if it is empty.
    pub objects: Vec<CommitObject>,
}

/// A data object of a commit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CommitObject {
    /// Leased to the sender.
    pub id: ObjectId,
    /// Its length in bytes.
    pub size: u64,
    /// What it holds, by stream.
    pub ranges: Vec<CommitRange>,
}

/// One stream's range in an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CommitRange {
    /// Which stream.
    pub stream: StreamId,
    /// Its epoch when the records were accepted.
    pub epoch: StreamEpoch,
    /// First offset.
    pub start: Offset,
    /// Offset after the last.
    pub end: Offset,
    /// Largest timestamp of a record in it.
    pub max_timestamp: WallTime,
    /// Length of its batches in bytes.
    pub bytes: u64,
    /// What its object says about the stream's producers.
    pub producers: Option<CommitState>,
}

/// A state block of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CommitState {
    /// What it is about.
    pub kind: StateKind,
    /// Its position in the object.
    pub at: u64,
    /// Its length.
    pub len: u32,
}

/// What a state block is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StateKind {
    /// The range alone: it adds to what is known of the log before it.
    Range,
    /// All of the log up to the range's end: what is known of the log before is not needed any more.
    Log,
}

/// Objects that were rewritten. Whatever the results hold of the inputs takes its place, in one step; nothing of an input
/// may be left out but what streams have no more.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Compaction {
    /// All that they held is in the results.
    pub inputs: Vec<ObjectId>,
    /// What was written.
    pub results: Vec<CompactedObject>,
}

/// A result of a compaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CompactedObject {
    /// Leased to the sender.
    pub id: ObjectId,
    /// Its length in bytes.
    pub size: u64,
    /// What it holds, by stream and offset, ascending: of each stream one stretch without gaps.
    pub ranges: Vec<CompactedRange>,
    /// The state blocks that were moved into it.
    pub states: Vec<CompactedState>,
}

/// A range that takes the place of those that it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CompactedRange {
    /// Which stream.
    pub stream: StreamId,
    /// First offset: where the first of them begins.
    pub start: Offset,
    /// Offset after the last: where the last of them ends.
    pub end: Offset,
    /// Length of its batches in bytes: as of all of them together.
    pub bytes: u64,
}

/// A state block that says what another said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CompactedState {
    /// Which stream.
    pub stream: StreamId,
    /// It tells of the log up to this offset.
    pub end: Offset,
    /// Its position in the object.
    pub at: u64,
    /// Its length.
    pub len: u32,
}

/// What a command came to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// Done, or found to be done already.
    Done,
    /// Registered under a new epoch.
    Registered {
        /// It.
        epoch: NodeEpoch,
        /// What must be recovered before streams are opened, oldest first.
        recoveries: Vec<Recovery>,
    },
    /// Object ids `first .. first + count`.
    Leased {
        /// The first.
        first: ObjectId,
        /// How many.
        count: u32,
    },
    /// Producer ids `first .. first + count`.
    LeasedProducers {
        /// The first.
        first: ProducerId,
        /// How many.
        count: u32,
    },
    /// No; nothing changed.
    Refused(Refusal),
}

/// An epoch of a node whose WAL must be read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Recovery {
    /// Names this recovery; what it sends carries it.
    pub number: RecoveryNumber,
    /// The fenced epoch.
    pub epoch: NodeEpoch,
    /// Its WAL's life.
    pub wal: WalUuid,
    /// What that lies on.
    pub kind: WalKind,
    /// Everything below is committed.
    pub trim: Lsn,
    /// The last cut of that epoch that is committed.
    pub last_cut: CutNumber,
}

/// Why a command changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The sender's epoch or incarnation is not the node's current one.
    Fenced,
    /// A command of this sender is missing before this one.
    SequenceGap,
    /// Streams are open under an epoch that wrote to another ring: the disk is blank, lost, or someone else's.
    WrongWal {
        /// The ring that holds acknowledged records.
        expected: WalUuid,
    },
    /// The cluster waits for no ring of this node: all that was acknowledged is committed, or was given up.
    NothingToGiveUp,
    /// The ring that is to be given up is the one on the disk: nothing is lost yet.
    WalPresent,
    /// The ring's trim point is ahead of the metadata: the bucket was restored from an older copy.
    WalAhead {
        /// What the metadata knows.
        known: Lsn,
    },
    /// An earlier epoch of the node is not recovered yet, or this one has not named its WAL.
    NotRecovered,
    /// Another recovery of that epoch was ordered since.
    RecoverySuperseded,
    /// A cut before this one is missing.
    CutGap {
        /// The next that can be taken.
        expected: CutNumber,
    },
    /// A range does not continue its stream, or names an epoch under which it is not open.
    NotContiguous {
        /// Which stream.
        stream: StreamId,
        /// Where it ends.
        end: Offset,
    },
    /// An object id that was not leased to this epoch, or is in use.
    NotLeased {
        /// Which.
        id: ObjectId,
    },
    /// The name is taken.
    TopicExists,
    /// No such topic.
    UnknownTopic,
    /// Zero partitions, fewer than there are, or more than a topic may have.
    InvalidPartitions,
    /// No such stream, or the sender does not hold it.
    UnknownStream,
    /// The results of a compaction don't hold exactly what streams still have of its inputs.
    NotCovered {
        /// Where that shows: an input, or a result.
        id: ObjectId,
    },
    /// A trim beyond what the sender may have acknowledged, or an object that is not destroyed.
    Invalid,
}
