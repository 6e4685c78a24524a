//! What the metadata means for this broker: which partitions it leads.

use super::{Effect, Me, Shard};
use crate::id::{Offset, StreamId, TopicId};
use crate::kafka::ErrorCode;
use crate::machine::{Effects, Mark, Now, OpId, sometimes};
use crate::metadata::{Answer, Command, Entry, StreamState, TopicName};
use crate::producers::{ProducerTable, Producers};
use crate::shard::api::ProduceOutcome;
use crate::shard::partition::Partition;
use crate::store::StoreResult;
use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

impl Shard {
    pub(super) fn handle_entries(&mut self, now: Now, entries: &[Entry], out: &mut Effects<Effect>) {
        let mut changed = false;
        let mut deleted = BTreeSet::new();
        for entry in entries {
            deleted.extend(self.deleted_by(entry));
            let image = self.image.as_mut().expect("the node sends an image before entries");
            let answer = image.apply(entry);
            match &*entry.by.command {
                Command::CreateTopic(_)
                | Command::GrowTopic { .. }
                | Command::DeleteTopic { .. }
                | Command::OpenStreams => changed = true,
                Command::ConfigureTopic { id, .. } => {
                    sometimes!(Mark::ConfiguredInFlight, self.is_in_flight(*id));
                }
                Command::Commit(commit) if answer == Answer::Done => self.commit_applied(entry.by.node, commit),
                _ => {}
            }
        }
        if changed {
            self.follow_image(now, out);
        }
        if !deleted.is_empty() {
            self.groups.topics_deleted(now, &deleted);
        }
    }

    /// Whether batches for a topic are on their way to the disk.
    fn is_in_flight(&self, topic: TopicId) -> bool {
        let of = |stream: &StreamId| self.image.as_ref()?.streams.get(stream).map(|stream| stream.topic);
        self.partitions.iter().any(|(stream, partition)| !partition.is_settled() && of(stream) == Some(topic))
    }

    /// The name of the topic that an entry deletes.
    fn deleted_by(&self, entry: &Entry) -> Option<Arc<str>> {
        let Command::DeleteTopic { id } = &*entry.by.command else { return None };
        self.image.as_ref()?.topics.get(id).map(|topic| topic.name.as_str().into())
    }

    pub(super) fn serve(&mut self, now: Now, me: Me, out: &mut Effects<Effect>) {
        self.me = Some(me);
        self.open_partitions(now, out);
        self.open_groups(now);
    }

    /// The stream of a partition, by the topic's name.
    pub(super) fn stream_named(&self, topic: &str, partition: i32) -> Result<StreamId, ErrorCode> {
        let image = self.image.as_ref().ok_or(ErrorCode::UnknownTopicOrPartition)?;
        // A name that no topic can have is unknown, as in Kafka.
        let name = TopicName::parse(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let id = image.names.get(&name).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        self.stream_of(*id, partition).map_err(|_| ErrorCode::UnknownTopicOrPartition)
    }

    /// The stream of a partition, by the topic's id.
    pub(super) fn stream_of(&self, topic: TopicId, partition: i32) -> Result<StreamId, ErrorCode> {
        let image = self.image.as_ref().ok_or(ErrorCode::UnknownTopicId)?;
        let topic = image.topics.get(&topic).ok_or(ErrorCode::UnknownTopicId)?;
        let index = usize::try_from(partition).map_err(|_| ErrorCode::UnknownTopicOrPartition)?;
        let partition = topic.partitions.get(index).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        Ok(partition.stream)
    }

    /// The partition, if this broker leads it under the epoch that the client believes in (-1: any). KIP-320.
    pub(super) fn led(&self, stream: StreamId, believed: i32) -> Result<&Partition, ErrorCode> {
        let partition = self.partitions.get(&stream).ok_or(ErrorCode::NotLeaderOrFollower)?;
        match u32::try_from(believed) {
            Ok(epoch) if epoch < partition.epoch.0 => Err(ErrorCode::FencedLeaderEpoch),
            Ok(epoch) if epoch > partition.epoch.0 => Err(ErrorCode::UnknownLeaderEpoch),
            _ => Ok(partition),
        }
    }

    /// The log start offset of a stream whose partition is open.
    pub(super) fn start_of(&self, stream: StreamId) -> Offset {
        self.known_start(stream).expect("every open partition has its stream")
    }

    /// The log start offset of a stream, unless it is deleted.
    pub(super) fn known_start(&self, stream: StreamId) -> Option<Offset> {
        Some(self.image.as_ref()?.streams.get(&stream)?.start)
    }

    fn follow_image(&mut self, now: Now, out: &mut Effects<Effect>) {
        if self.me.is_some() {
            self.open_partitions(now, out);
            self.open_groups(now);
        }
        self.close_partitions(now, out);
    }

    fn open_partitions(&mut self, now: Now, out: &mut Effects<Effect>) {
        let (Some(me), Some(image)) = (self.me, &self.image) else { return };
        let mut loading = Vec::new();
        for (id, stream) in &image.streams {
            let is_mine = stream.owner == me.node && stream.state == StreamState::Open(me.epoch);
            if !is_mine || self.partitions.contains_key(id) {
                continue;
            }
            let states = &stream.producers;
            let known = || Producers::open(now, ProducerTable::default(), &self.limits);
            let producers = states.is_empty().then(known);
            self.partitions.insert(*id, Partition::open(stream.epoch, stream.end, producers, states.len()));
            if !states.is_empty() {
                loading.push((*id, &states[..]));
            }
        }
        self.states.load(&loading);
        self.load_states(now, out);
    }

    /// Asks for what is to be read of producers.
    pub(super) fn load_states(&mut self, now: Now, out: &mut Effects<Effect>) {
        for (op, call) in self.states.ask(now, &mut self.ops) {
            out.push(Effect::Store(op, call));
        }
    }

    /// Some of what is known of producers was read.
    pub(super) fn handle_state(&mut self, now: Now, op: OpId, result: StoreResult, out: &mut Effects<Effect>) {
        let image = self.image.as_ref();
        let current =
            |stream, end| image?.streams.get(&stream)?.producers.iter().find(|state| state.end == end).copied();
        for (stream, table) in self.states.handle(now, op, result, current) {
            let producers = Producers::open(now, table, &self.limits);
            let partition = self.partitions.get_mut(&stream).expect("a partition that is gone is not loaded");
            let earlier = partition.producers.replace(producers);
            assert!(earlier.is_none(), "producers are loaded once, before any of them writes");
        }
        self.load_states(now, out);
    }

    /// Partitions of deleted topics: who waits for them hears that they are gone, once all of them are. Whoever waits for
    /// several looks at the others, too.
    fn close_partitions(&mut self, now: Now, out: &mut Effects<Effect>) {
        let Some(image) = &self.image else { return };
        let gone: Vec<(StreamId, Partition)> =
            self.partitions.extract_if(.., |id, _| !image.streams.contains_key(id)).collect();
        for (stream, _) in &gone {
            self.cache.drop_stream(*stream);
            self.states.forget(*stream);
        }
        for (stream, partition) in gone {
            for part in partition.abandon() {
                sometimes!(Mark::DeletedInFlight);
                let outcome = ProduceOutcome::Failed(ErrorCode::UnknownTopicOrPartition.into());
                self.finish_part(part, outcome, out);
            }
            self.wake_fetches(now, stream, out);
        }
    }
}
