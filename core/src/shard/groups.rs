//! Between consumer groups and the rest of the shard: their records go the way of all records, their log is read as
//! fetches are, and its topic is created and cut off by commands.

use super::api::{ProduceOutcome, Question, unasked_topic};
use super::appends::{Times, Waiting};
use super::joins::{Asked, Begun};
use super::{Effect, Mode, Shard, to};
use crate::data_object::{Extent, Origin, Read, ReadBatches, ReadError, ReadId};
use crate::group::{self, Append, AppendId, Coordinator, Load, Out, Reply};
use crate::id::{Offset, PartitionIndex, StreamId, TopicId};
use crate::kafka::{Batch, Batches};
use crate::limits::Limits;
use crate::machine::{Effects, Now, Payload, Rng};
use crate::mail::Mail as To;
use crate::metadata::{Answer, Command, TopicName};
use crate::node::Asker;
use crate::session;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

/// Whose batches these are.
#[derive(Debug)]
pub(super) enum Appender {
    /// A produce request's.
    Client(super::api::Produced),
    /// The groups'.
    Groups(AppendId),
}

/// What the shard keeps for the groups.
#[derive(Debug)]
pub(super) struct Groups {
    pub(super) coordinator: Coordinator,
    /// What they want done since the last look.
    pub(super) out: Out,
    written: Vec<(AppendId, Vec<ProduceOutcome>)>,
    streams: BTreeMap<AppendId, StreamId>,
    /// Partitions of their log.
    own: BTreeSet<StreamId>,
    reads: BTreeMap<ReadId, u32>,
    trims: BTreeMap<u64, StreamId>,
    /// The command that creates their topic, while it is under way.
    creation: Option<u64>,
    /// Whether partitions may want to be read.
    loads: bool,
    /// Whether offsets of topics that went while nobody looked may be there.
    is_unswept: bool,
}

/// At most so much is read of the log at once.
const READ: u64 = 1 << 20;

impl Groups {
    pub(super) fn new(limits: &Limits, rng: &Rng) -> Self {
        Self {
            coordinator: Coordinator::new(limits, rng.child("groups")),
            out: Out::default(),
            written: Vec::new(),
            streams: BTreeMap::new(),
            own: BTreeSet::new(),
            reads: BTreeMap::new(),
            trims: BTreeMap::new(),
            creation: None,
            loads: false,
            is_unswept: false,
        }
    }

    /// Whether a stream is a partition of their log: nobody else writes there.
    pub(super) fn owns(&self, stream: StreamId) -> bool {
        self.own.contains(&stream)
    }

    /// Batches are durable, or never will be.
    pub(super) fn written(&mut self, id: AppendId, outcomes: Vec<ProduceOutcome>) {
        self.written.push((id, outcomes));
    }

    /// The cluster's answer to a command. Whether that was one of theirs.
    pub(super) fn answered(&mut self, tag: u64, answer: &Answer) -> bool {
        if self.creation == Some(tag) {
            self.creation = None;
            if let Answer::Refused(refusal) = answer {
                tracing::warn!(?refusal, "the topic of consumer groups can't be created");
            }
            return true;
        }
        let Some(stream) = self.trims.remove(&tag) else { return false };
        self.coordinator.trimmed(stream);
        true
    }

    /// Which partition of the log a read was for.
    pub(super) fn take_read(&mut self, read: ReadId) -> Option<u32> {
        self.reads.remove(&read)
    }

    /// A read of the log has ended.
    pub(super) fn loaded(&mut self, now: Now, partition: u32, result: Result<ReadBatches, ReadError>) {
        self.loads = true;
        match result {
            Ok(read) => {
                let batches: Vec<Batch> = read.into_batches().filter_map(|batch| parse(&batch.batch)).collect();
                if batches.is_empty() {
                    return self.coordinator.load_failed(now, partition);
                }
                self.coordinator.loaded(now, partition, &batches, &mut self.out);
            }
            // It was rewritten, and is found where the metadata says by now.
            Err(ReadError::Gone) => self.coordinator.load_failed(now, partition),
            Err(error) => {
                tracing::error!(partition, "the groups' log can't be read: {error}");
                self.coordinator.load_failed(now, partition);
            }
        }
    }

    pub(super) fn topics_deleted(&mut self, now: Now, topics: &BTreeSet<Arc<str>>) {
        self.coordinator.topics_deleted(now, topics, &mut self.out);
    }

    pub(super) fn tick(&mut self, now: Now) {
        self.coordinator.tick(now, &mut self.out);
        self.loads = true;
    }

    pub(super) fn halt(&mut self) {
        self.coordinator.halt(&mut self.out);
    }

    pub(super) fn is_quiescent(&self) -> bool {
        self.coordinator.is_quiescent()
            && self.written.is_empty()
            && self.reads.is_empty()
            && self.trims.is_empty()
            && self.creation.is_none()
    }
}

impl Shard {
    /// Partitions of the groups' log that are open here are read, so that groups can be served.
    pub(super) fn open_groups(&mut self, now: Now) {
        let Some(image) = &self.image else { return };
        let Some((id, topic)) = TopicName::parse(group::TOPIC).and_then(|name| image.topic_named(&name)) else {
            return;
        };
        let count = u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX);
        self.groups.coordinator.set_partitions(count);
        for index in 0..count {
            let Some((stream, described)) = image.stream_of(id, PartitionIndex(index)) else { continue };
            if self.partitions.contains_key(&stream) && self.groups.own.insert(stream) {
                self.groups.coordinator.open(now, index, stream, described.start);
                self.groups.loads = true;
                self.groups.is_unswept = true;
            }
        }
    }

    /// Creates the groups' topic, unless it is there or on its way.
    pub(super) fn create_groups_topic(&mut self, out: &mut Effects<Effect>) {
        let Some(name) = TopicName::parse(group::TOPIC) else { return };
        let exists = self.image.as_ref().is_none_or(|image| image.names.contains_key(&name));
        if exists || self.groups.creation.is_some() || !self.takes_records() {
            return;
        }
        let tag = self.topics.tag();
        self.groups.creation = Some(tag);
        let new = unasked_topic(TopicId::draw(&mut self.rng), name, &self.limits);
        self.send_command(Asker::Shard(tag), Command::CreateTopic(new), out);
    }

    /// Ends every input: does what the groups want, and tells them what came of it.
    pub(super) fn drive_groups(&mut self, now: Now, out: &mut Effects<Effect>) {
        loop {
            for (id, outcomes) in core::mem::take(&mut self.groups.written) {
                self.groups_written(now, id, &outcomes);
            }
            if core::mem::take(&mut self.groups.loads) {
                self.load_groups(now, out);
            }
            let wanted = core::mem::take(&mut self.groups.out);
            for asked in wanted.parked {
                out.push(to(To::Session(asked.conn, session::Mail::Parked(asked.number))));
            }
            for (asked, reply) in wanted.replies {
                self.reply(now, asked, reply, out);
            }
            for append in wanted.appends {
                self.append_groups(now, append, out);
            }
            for (stream, start) in wanted.trims {
                self.trim_groups(stream, start, out);
            }
            if self.groups.written.is_empty() && !self.groups.loads {
                return;
            }
        }
    }

    fn reply(&mut self, now: Now, asked: Asked, reply: Reply, out: &mut Effects<Effect>) {
        self.groups.coordinator.unpark(asked.conn);
        if self.credit.knows(asked.conn) {
            self.ask_question(now, asked, Question::Reply(reply), out);
        }
    }

    fn groups_written(&mut self, now: Now, id: AppendId, outcomes: &[ProduceOutcome]) {
        let stream = self.groups.streams.remove(&id);
        let end = stream.and_then(|stream| self.high_watermark(stream)).unwrap_or_default();
        let is_durable = |outcome: &ProduceOutcome| matches!(outcome, ProduceOutcome::Durable { .. });
        match outcomes.first() {
            Some(ProduceOutcome::Durable { base, .. }) if outcomes.iter().all(is_durable) => {
                self.groups.coordinator.durable(now, id, *base, end, &mut self.groups.out);
            }
            _ => self.groups.coordinator.failed(id, &mut self.groups.out),
        }
    }

    fn append_groups(&mut self, now: Now, append: Append, out: &mut Effects<Effect>) {
        let Append { id, stream, at, batches } = append;
        self.groups.streams.insert(id, stream);
        let Begun::Open(join) = self.produces.begin(Appender::Groups(id), batches.iter().map(|_| None).collect())
        else {
            unreachable!("records are written in one batch at least")
        };
        for (index, (records, batch)) in batches.into_iter().enumerate() {
            let part = self.produces.part(join, index);
            let batch = Payload(batch);
            let (conn, times, sequenced, unpaid) = (None, Times::AsSent(at), None, 0);
            self.appends.push(Waiting { conn, stream, records, times, batch, sequenced, part, unpaid });
        }
        self.append_granted(now, out);
    }

    fn trim_groups(&mut self, stream: StreamId, start: Offset, out: &mut Effects<Effect>) {
        let epoch = self.partitions.get(&stream).map(|partition| partition.epoch);
        let Some(epoch) = epoch.filter(|_| start > self.start_of(stream) && self.mode == Mode::Open) else {
            return self.groups.coordinator.trimmed(stream);
        };
        let tag = self.topics.tag();
        self.groups.trims.insert(tag, stream);
        self.send_command(Asker::Shard(tag), Command::TrimStream { stream, epoch, start }, out);
    }

    /// Reads on in partitions of the log that are not known yet.
    fn load_groups(&mut self, now: Now, out: &mut Effects<Effect>) {
        while let Some(load) = self.groups.coordinator.next_load() {
            self.load_from(now, load, out);
        }
        if self.groups.is_unswept && self.groups.coordinator.is_loaded() {
            self.groups.is_unswept = false;
            let names = self.image.as_ref().map(|image| &image.names);
            let is_there = |topic: &Arc<str>| {
                TopicName::parse(topic).is_some_and(|name| names.is_some_and(|names| names.contains_key(&name)))
            };
            let mut gone = self.groups.coordinator.topics();
            gone.retain(|topic| !is_there(topic));
            if !gone.is_empty() {
                self.groups.topics_deleted(now, &gone);
            }
        }
    }

    fn load_from(&mut self, now: Now, load: Load, out: &mut Effects<Effect>) {
        let Load { partition, stream, from } = load;
        let end = self.high_watermark(stream).unwrap_or_default();
        if from >= end {
            return self.groups.coordinator.loaded(now, partition, &[], &mut self.groups.out);
        }
        if self.cache.first(stream).is_some_and(|first| from >= first) {
            let cached = self.cache.read(stream, from, READ);
            let batches: Vec<Batch> = cached.iter().filter_map(|batch| parse(&batch.batch)).collect();
            return self.groups.coordinator.loaded(now, partition, &batches, &mut self.groups.out);
        }
        let image = self.image.as_ref().expect("partitions are led by the image");
        let Some((_, range)) = image.streams.get(&stream).and_then(|stream| stream.range_at(from)) else {
            return self.groups.coordinator.load_failed(now, partition);
        };
        let id = self.fetches.next_read();
        let read = Read {
            id,
            origin: Origin::Groups(partition),
            cluster: image.cluster,
            object: range.object,
            stream,
            offset: from,
            extent: Extent::Bytes(READ),
            // Its batches are the broker's own.
            room: u64::MAX,
        };
        self.groups.reads.insert(id, partition);
        self.begin_reads(now, vec![read], out);
    }
}

fn parse(batch: &Payload) -> Option<Batch> {
    Batches::new(batch.0.clone()).next()
}
