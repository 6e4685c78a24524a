//! What holds in every image, whatever was applied to it.

use super::{Image, NodeImage, ObjectState, StreamImage, StreamState, WAL_DATA_LEVEL, bounds};
use crate::data_object;
use crate::id::{NodeId, ObjectId, PartitionIndex, StreamEpoch, StreamId};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

impl Image {
    /// Panics with what is broken.
    ///
    /// # Panics
    /// When [`Image::check`] finds something.
    pub fn invariants(&self) {
        if let Err(broken) = self.check() {
            panic!("metadata image at entry {}: {broken}", self.seq);
        }
    }

    /// Checks the image against itself.
    ///
    /// # Errors
    /// What is broken.
    pub fn check(&self) -> Result<(), String> {
        self.check_counters()?;
        for (id, node) in &self.nodes {
            self.check_node(node).map_err(|broken| format!("node {id}: {broken}"))?;
        }
        self.check_topics()?;
        for (id, stream) in &self.streams {
            self.check_stream(*id, stream).map_err(|broken| format!("stream {id}: {broken}"))?;
        }
        self.check_objects()
    }

    fn check_counters(&self) -> Result<(), String> {
        let counters = [self.seq.0, self.next_stream.0, self.next_object.0, self.next_producer.0];
        ensure(counters.into_iter().all(|counter| counter < bounds::COUNTER), "a counter is too large")
    }

    fn check_node(&self, node: &NodeImage) -> Result<(), String> {
        let counters = [node.epoch.0, node.last_command.0];
        ensure(counters.into_iter().all(|counter| counter < bounds::COUNTER), "a counter is too large")?;
        ensure(node.epoch.0 > 0, "it never registered")?;
        ensure(node.answers.keys().all(|seq| *seq <= node.last_command), "an answer to a command not taken")?;
        ensure(node.given_up.is_none_or(|given| given.of_epoch < node.epoch), "a ring of no past epoch was given up")?;
        ensure(node.epochs.len() <= 1, "more than one epoch that may have left something in a ring")?;
        for (epoch, image) in &node.epochs {
            ensure(*epoch <= node.epoch, "an epoch from the future")?;
            ensure(image.recovery.is_some() == (*epoch < node.epoch), "recovery is ordered for fenced epochs only")?;
            ensure(image.recovery.is_none_or(|number| number.0 <= self.seq.0), "a recovery from the future")?;
            let counters = [image.trim.0, image.last_cut.0];
            ensure(counters.into_iter().all(|counter| counter < bounds::COUNTER), "a counter is too large")?;
        }
        Ok(())
    }

    fn check_topics(&self) -> Result<(), String> {
        ensure(self.names.len() == self.topics.len(), "names and topics are not one to one")?;
        let mut partitions = 0;
        for (id, topic) in &self.topics {
            ensure(self.names.get(&topic.name) == Some(id), "a topic is not found by its name")?;
            let count = u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX);
            ensure((1..=bounds::PARTITIONS).contains(&count), "a topic has too few or too many partitions")?;
            partitions += topic.partitions.len();
            for (index, partition) in (0..).map(PartitionIndex).zip(&topic.partitions) {
                let stream = self.streams.get(&partition.stream).ok_or("a partition has no stream")?;
                ensure((stream.topic, stream.partition) == (*id, index), "a stream is of another partition")?;
            }
        }
        // Each partition names a stream that names it, so equal numbers mean that no stream is without partition.
        ensure(partitions == self.streams.len(), "a stream without partition")
    }

    fn check_stream(&self, id: StreamId, stream: &StreamImage) -> Result<(), String> {
        ensure(id < self.next_stream, "it was never issued")?;
        let owner = self.nodes.get(&stream.owner).ok_or("its owner is unknown")?;
        ensure((StreamEpoch(1)..=bounds::STREAM_EPOCH).contains(&stream.epoch), "its epoch is impossible")?;
        if let StreamState::Open(epoch) = stream.state {
            ensure(owner.epochs.contains_key(&epoch), "open under an epoch that has no ring")?;
        }
        ensure(stream.start <= stream.end && stream.end <= bounds::OFFSET, "its end lies below its start")?;
        let mut reached = None;
        for (start, range) in &stream.ranges {
            ensure(*start < range.end && range.bytes <= bounds::OBJECT, "an impossible range")?;
            ensure(range.end > stream.start, "a range that nobody can read")?;
            let follows = reached.map_or(*start <= stream.start, |end| end == *start);
            ensure(follows, "its ranges are not contiguous")?;
            reached = Some(range.end);
        }
        ensure(reached.unwrap_or(stream.start) == stream.end, "its ranges do not reach its end")?;
        let begun = stream.epochs.fits(stream.epoch, stream.start, stream.end);
        ensure(begun, "its epochs did not begin one after the other")?;
        let states = &stream.producers;
        ensure(
            states.is_sorted_by(|one, next| one.end < next.end),
            "its state blocks are not in the order of its log",
        )?;
        ensure(states.last().is_none_or(|last| last.end <= stream.end), "a state block of records to come")
    }

    fn check_objects(&self) -> Result<(), String> {
        let uses = self.streams.values().flat_map(|stream| {
            let ranges = stream.ranges.values().map(|range| range.object);
            ranges.chain(stream.producers.iter().map(|state| state.object))
        });
        let mut uses: Vec<ObjectId> = uses.collect();
        uses.sort_unstable();
        let mut uses = &uses[..];
        for (id, object) in &self.objects {
            let of_this = uses.iter().take_while(|used| *used == id).count();
            uses = &uses[of_this..];
            let counted = u32::try_from(of_this).unwrap_or(u32::MAX);
            let holds = self.is_issued(*id, object.state)
                && object.size <= bounds::OBJECT
                && match object.state {
                    ObjectState::Leased(node, epoch) => counted == 0 && self.leases(node, epoch),
                    ObjectState::Live(ranges) => ranges == counted && ranges > 0,
                    ObjectState::Destroyed(at) => counted == 0 && at <= self.at,
                };
            ensure_with(holds, || format!("object {id} is {:?} with {counted} ranges", object.state))?;
        }
        ensure_with(uses.is_empty(), || format!("ranges in objects that are not there: {uses:?}"))
    }

    /// A number was leased, or is that of an object of a WAL that is, or was, read back.
    fn is_issued(&self, id: ObjectId, state: ObjectState) -> bool {
        let Some((node, epoch, _)) = data_object::place_in_wal(id) else { return id < self.next_object };
        let is_past = self.nodes.get(&node).is_some_and(|node| epoch < node.epoch);
        is_past && self.feature_level >= WAL_DATA_LEVEL && !matches!(state, ObjectState::Leased(..))
    }

    fn leases(&self, node: NodeId, epoch: crate::id::NodeEpoch) -> bool {
        self.nodes.get(&node).is_some_and(|node| node.epoch == epoch)
    }
}

fn ensure(holds: bool, broken: &str) -> Result<(), String> {
    ensure_with(holds, || broken.into())
}

fn ensure_with(holds: bool, broken: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(broken()) }
}
