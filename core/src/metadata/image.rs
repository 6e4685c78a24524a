//! The state that the log folds to.

use super::{Answer, EpochHistory, Recovery, TopicConfigs, TopicName, WalKind};
use crate::id::{
    ClusterId, CommandSeq, CutNumber, FeatureLevel, Incarnation, Lsn, NodeEpoch, NodeId, ObjectId, Offset,
    PartitionIndex, RecoveryNumber, Seq, StreamEpoch, StreamId, TopicId, WalUuid,
};
use crate::machine::WallTime;
use crate::producers::ProducerId;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

/// Everything that the cluster knows, as of one entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Image {
    /// The cluster.
    pub cluster: ClusterId,
    /// What may be written.
    pub feature_level: FeatureLevel,
    /// The last entry applied; 0 if none.
    pub seq: Seq,
    /// The time of that entry.
    pub at: WallTime,
    /// Every broker that ever registered.
    pub nodes: BTreeMap<NodeId, NodeImage>,
    /// Topics by id.
    pub topics: BTreeMap<TopicId, TopicImage>,
    /// Their ids by name.
    pub names: BTreeMap<TopicName, TopicId>,
    /// Streams.
    pub streams: BTreeMap<StreamId, StreamImage>,
    /// Data objects that are leased, live, or destroyed and not yet deleted.
    pub objects: BTreeMap<ObjectId, ObjectImage>,
    /// The next stream's id.
    pub next_stream: StreamId,
    /// The next object's id: every id below was issued.
    pub next_object: ObjectId,
    /// The next producer's id: every id below was issued.
    pub next_producer: ProducerId,
}

/// A broker.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeImage {
    /// Its current epoch.
    pub epoch: NodeEpoch,
    /// Its current run.
    pub incarnation: Incarnation,
    /// Where clients reach it.
    pub host: String,
    /// Kafka port.
    pub port: u16,
    /// The current epoch, once it named its WAL, and earlier ones that are not recovered.
    pub epochs: BTreeMap<NodeEpoch, EpochImage>,
    /// The last command of this incarnation that was taken.
    pub last_command: CommandSeq,
    /// Answers that the node has not confirmed.
    pub answers: BTreeMap<CommandSeq, Answer>,
    /// The last ring of it that was given up, if any ever was.
    pub given_up: Option<GivenUpImage>,
}

/// A ring that was lost, and with it what was acknowledged and not committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GivenUpImage {
    /// Its life.
    pub wal: WalUuid,
    /// The node epoch that wrote to it.
    pub of_epoch: NodeEpoch,
    /// When that was decided.
    pub at: WallTime,
}

/// A node epoch that wrote to a WAL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EpochImage {
    /// The WAL's life.
    pub wal: WalUuid,
    /// What that lies on.
    pub kind: WalKind,
    /// Everything below is committed.
    pub trim: Lsn,
    /// The last cut that was committed.
    pub last_cut: CutNumber,
    /// Set once the epoch is fenced: the newest recovery ordered for it.
    pub recovery: Option<RecoveryNumber>,
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TopicImage {
    /// Its name.
    pub name: TopicName,
    /// By index.
    pub partitions: Vec<PartitionImage>,
    /// What was set for it.
    pub configs: TopicConfigs,
}

/// A partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PartitionImage {
    /// Its log.
    pub stream: StreamId,
}

/// A stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StreamImage {
    /// Its topic.
    pub topic: TopicId,
    /// Which of the topic's partitions.
    pub partition: PartitionIndex,
    /// The broker that holds it or is to open it.
    pub owner: NodeId,
    /// The epoch of its last opening.
    pub epoch: StreamEpoch,
    /// Open or closed.
    pub state: StreamState,
    /// First offset that may be read.
    pub start: Offset,
    /// Offset after the last committed record, never below `start`.
    pub end: Offset,
    /// Committed ranges by first offset: contiguous, disjoint, reaching from at or below `start` to `end`.
    pub ranges: BTreeMap<Offset, RangeImage>,
    /// What objects say about its producers, in the order of the log: all of them together say everything. They
    /// outlive their ranges.
    pub producers: Vec<StateImage>,
    /// Where its epochs began.
    pub epochs: EpochHistory,
}

/// A state block of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StateImage {
    /// It tells of the log up to this offset.
    pub end: Offset,
    /// Where it is.
    pub object: ObjectId,
    /// Its position in there.
    pub at: u64,
    /// Its length.
    pub len: u32,
}

/// Whether a stream may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamState {
    /// By nobody.
    Closed,
    /// By its owner, under this node epoch.
    Open(NodeEpoch),
}

/// Part of a stream in one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RangeImage {
    /// Offset after the last.
    pub end: Offset,
    /// Where it is.
    pub object: ObjectId,
    /// Largest timestamp in it.
    pub max_timestamp: WallTime,
    /// Length of its batches in bytes.
    pub bytes: u64,
    /// When it was committed, by the log: what has no timestamps ages from here.
    pub committed: WallTime,
}

/// A data object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ObjectImage {
    /// Where it is in its life.
    pub state: ObjectState,
    /// Length in bytes; 0 while only leased.
    pub size: u64,
    /// When its oldest records were committed first, to whatever object; while it has none, when it was leased.
    pub since: WallTime,
}

/// The life of a data object: leased, live, destroyed, then forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ObjectState {
    /// A node epoch may upload and commit it.
    Leased(NodeId, NodeEpoch),
    /// Committed, with so many ranges and state blocks that streams still have.
    Live(u32),
    /// No stream has any of it; since when.
    Destroyed(WallTime),
}

impl Image {
    /// The state before the first entry.
    #[must_use]
    pub fn new(cluster: ClusterId, feature_level: FeatureLevel) -> Self {
        Self {
            cluster,
            feature_level,
            seq: Seq(0),
            at: WallTime(0),
            nodes: BTreeMap::new(),
            topics: BTreeMap::new(),
            names: BTreeMap::new(),
            streams: BTreeMap::new(),
            objects: BTreeMap::new(),
            next_stream: StreamId(1),
            next_object: ObjectId(1),
            next_producer: ProducerId(0),
        }
    }

    /// The topic of that name.
    #[must_use]
    pub fn topic_named(&self, name: &TopicName) -> Option<(TopicId, &TopicImage)> {
        let id = *self.names.get(name)?;
        Some((id, self.topics.get(&id)?))
    }

    /// The stream of a topic's partition.
    #[must_use]
    pub fn stream_of(&self, topic: TopicId, partition: PartitionIndex) -> Option<(StreamId, &StreamImage)> {
        let index = usize::try_from(partition.0).ok()?;
        let id = self.topics.get(&topic)?.partitions.get(index)?.stream;
        Some((id, self.streams.get(&id)?))
    }

    /// The streams that belong to a broker, open or closed, by id.
    pub fn streams_of(&self, node: NodeId) -> impl Iterator<Item = (StreamId, &StreamImage)> {
        self.streams.iter().filter(move |(_, stream)| stream.owner == node).map(|(id, stream)| (*id, stream))
    }

    /// What must be recovered before the broker may open streams, oldest first.
    #[must_use]
    pub fn recoveries(&self, node: NodeId) -> Vec<Recovery> {
        let epochs = self.nodes.get(&node).into_iter().flat_map(|node| &node.epochs);
        epochs
            .filter_map(|(epoch, image)| {
                let EpochImage { wal, kind, trim, last_cut, recovery } = *image;
                Some(Recovery { number: recovery?, epoch: *epoch, wal, kind, trim, last_cut })
            })
            .collect()
    }

    /// Objects destroyed at or before `upto`, by id.
    pub fn destroyed_by(&self, upto: WallTime) -> impl Iterator<Item = ObjectId> {
        let old = move |image: &ObjectImage| matches!(image.state, ObjectState::Destroyed(at) if at <= upto);
        self.objects.iter().filter(move |(_, image)| old(image)).map(|(id, _)| *id)
    }
}

impl StreamImage {
    /// The first range from the one on that holds `from`, and before `upto`, which has a record of that time or later;
    /// and the largest time in those before it.
    #[must_use]
    pub fn seek(
        &self,
        from: Offset,
        upto: Offset,
        since: WallTime,
    ) -> (Option<(Offset, &RangeImage)>, Option<WallTime>) {
        let first = self.ranges.range(..=from).next_back().map_or(from, |(start, _)| *start);
        let mut older = None;
        for (start, range) in self.ranges.range(first..upto.max(first)).filter(|(_, range)| range.end > from) {
            if range.max_timestamp >= since {
                return (Some((*start, range)), older);
            }
            older = older.max(Some(range.max_timestamp));
        }
        (None, older)
    }

    /// The range that holds `offset`, with its first offset, which may lie below the stream's start. `None` where there
    /// is nothing to read: below the start, and from the committed end on.
    #[must_use]
    pub fn range_at(&self, offset: Offset) -> Option<(Offset, &RangeImage)> {
        let (start, range) = self.ranges.range(..=offset).next_back()?;
        (self.start <= offset && offset < range.end).then_some((*start, range))
    }
}
