//! Metadata alone: one broker that cuts, trims, and commits what the planner wants, without any bytes.

use super::sketched;
use crate::compaction::{Kind, Plan, Rules, plan};
use crate::controller::NodeCommand;
use crate::id::{
    ClusterId, CommandSeq, CutNumber, Incarnation, Lsn, NodeEpoch, NodeId, ObjectId, Offset, StreamEpoch, StreamId,
    TopicId, WalUuid,
};
use crate::machine::WallTime;
use crate::metadata::{
    Answer, Command, Commit, CommitObject, CommitRange, CommitState, Compaction, Entry, FEATURE_LEVEL, Image, NewTopic,
    ObjectState, StateKind, TopicConfigs, TopicName, WalKind,
};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;

pub(super) const NODE: NodeId = NodeId(1);

/// A megabyte.
pub(super) const MIB: u64 = 1 << 20;

pub(super) fn rules() -> Rules {
    Rules {
        fan_in: 4,
        object: 64 * MIB,
        split: 8 * MIB,
        force_split: core::time::Duration::from_secs(3_600),
        data_block: 1 << 19,
    }
}

/// The metadata, and who writes it.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) image: Image,
    pub(super) rules: Rules,
    /// Milliseconds.
    pub(super) now: i64,
    /// Whether everything is checked after each entry: that takes as long as the image is large.
    pub(super) checks: bool,
    sent: CommandSeq,
    cuts: CutNumber,
    topics: u8,
    /// Requests to the store, were there one.
    pub(super) requests: Requests,
    pub(super) by_kind: BTreeMap<Kind, u64>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Requests {
    pub(super) puts: u64,
    pub(super) gets: u64,
    /// Bytes of cuts, and of rewritten objects.
    pub(super) ingested: u64,
    pub(super) rewritten: u64,
}

impl Model {
    pub(super) fn new(rules: Rules) -> Self {
        let mut model = Self {
            image: Image::new(ClusterId([1; 16]), FEATURE_LEVEL),
            rules,
            now: 0,
            checks: true,
            sent: CommandSeq(0),
            cuts: CutNumber(0),
            topics: 0,
            requests: Requests::default(),
            by_kind: BTreeMap::new(),
        };
        let registered = model.send(Command::Register { wal: None, give_up: None, host: "a".into(), port: 9092 });
        assert!(matches!(registered, Answer::Registered { .. }));
        assert_eq!(model.send(Command::NameWal { uuid: WalUuid([7; 16]), kind: WalKind::Ring }), Answer::Done);
        model
    }

    /// A topic; its streams are consecutive, and the first is returned.
    pub(super) fn topic(&mut self, partitions: u32, configs: TopicConfigs) -> (TopicId, StreamId) {
        self.topics += 1;
        let first = self.image.next_stream;
        let (id, name) = (TopicId([self.topics; 16]), alloc::format!("topic-{}", self.topics));
        let name = TopicName::parse(&name).expect("legal");
        let answer = self.send(Command::CreateTopic(NewTopic { id, name, partitions, configs }));
        assert_eq!(answer, Answer::Done);
        (id, first)
    }

    pub(super) fn send(&mut self, command: Command) -> Answer {
        self.sent = self.sent.next();
        let epoch = self.image.nodes.get(&NODE).map_or(NodeEpoch(0), |node| node.epoch);
        let by = NodeCommand {
            node: NODE,
            incarnation: Incarnation([1; 16]),
            epoch,
            seq: self.sent,
            confirmed: CommandSeq(self.sent.0 - 1),
            command: Box::new(command),
        };
        let answer = self.image.apply(&Entry { seq: self.image.seq.next(), at: WallTime(self.now), by });
        if self.checks {
            self.image.invariants();
        }
        answer
    }

    pub(super) fn lease(&mut self, count: usize) -> ObjectId {
        match self.send(Command::LeaseObjects { count: count as u32 }) {
            Answer::Leased { first, .. } => first,
            other => panic!("{other:?}"),
        }
    }

    /// A cut with so many bytes of each of these streams, ten of which are one offset; with what it says about producers.
    pub(super) fn cut(&mut self, parts: &[(StreamId, u64, Option<StateKind>)]) {
        let range = |image: &Image, (stream, bytes, state): &(StreamId, u64, Option<StateKind>)| {
            let known = image.streams.get(stream).map_or(Offset(0), |stream| stream.end);
            CommitRange {
                stream: *stream,
                epoch: StreamEpoch(1),
                start: known,
                end: Offset(known.0 + bytes.div_ceil(10)),
                max_timestamp: image.at,
                bytes: *bytes,
                producers: state.map(|kind| CommitState { kind, at: 50, len: 20 }),
            }
        };
        let ranges: Vec<CommitRange> = parts.iter().map(|part| range(&self.image, part)).collect();
        let (large, small): (Vec<_>, Vec<_>) = ranges.into_iter().partition(|range| range.bytes >= self.rules.split);
        let groups = large.into_iter().map(|range| vec![range]).chain((!small.is_empty()).then_some(small));
        let groups: Vec<Vec<CommitRange>> = groups.collect();
        if groups.is_empty() {
            return;
        }
        let first = self.lease(groups.len());
        let object = |(id, ranges): (u64, Vec<CommitRange>)| {
            let size = ranges.iter().map(|range| range.bytes).sum::<u64>() + 200;
            CommitObject { id: ObjectId(id), size, ranges }
        };
        let objects: Vec<CommitObject> = (first.0..).zip(groups).map(object).collect();
        self.requests.puts += objects.len() as u64;
        self.requests.ingested += parts.iter().map(|(_, bytes, _)| bytes).sum::<u64>();
        self.cuts = self.cuts.next();
        let (epoch, number, lsn) = (NodeEpoch(1), self.cuts, Lsn(self.cuts.0 * 10));
        let commit = Command::Commit(Commit { epoch, recovery: None, number, lsn, objects });
        assert_eq!(self.send(commit), Answer::Done);
    }

    pub(super) fn trim(&mut self, stream: StreamId, start: Offset) {
        let trim = Command::TrimStream { stream, epoch: StreamEpoch(1), start };
        assert_eq!(self.send(trim), Answer::Done);
    }

    pub(super) fn plan(&self) -> Option<Plan> {
        plan(&self.image, NODE, WallTime(self.now), &self.rules, &BTreeSet::new())
    }

    /// The plan as it is written, under ids of its own.
    pub(super) fn written(&mut self, plan: &Plan) -> Compaction {
        let first = self.lease(plan.results());
        sketched(plan, first)
    }

    /// Rewrites until there is nothing to do.
    pub(super) fn compact_all(&mut self) {
        let mut rounds = 0;
        while let Some(plan) = self.plan() {
            rounds += 1;
            assert!(rounds < 10_000, "it ends: {:?} of {:?}", plan.kind, plan.inputs().collect::<Vec<_>>());
            *self.by_kind.entry(plan.kind).or_default() += 1;
            let bytes: u64 = plan.results.iter().map(super::super::plan::PlannedResult::bytes).sum();
            // One for each index; and of each object what one new object after the other takes.
            let inputs = plan.inputs().count() as u64;
            let hands = 1 + bytes / self.rules.object;
            self.requests.gets += inputs * (1 + hands) + bytes / (8 * MIB);
            self.requests.puts += plan.results() as u64;
            self.requests.rewritten += bytes;
            let compaction = self.written(&plan);
            assert_eq!(self.send(Command::Compact(compaction)), Answer::Done);
        }
        self.forget_destroyed();
    }

    pub(super) fn forget_destroyed(&mut self) {
        let ids: Vec<ObjectId> = self.image.destroyed_by(WallTime(i64::MAX)).collect();
        if !ids.is_empty() {
            assert_eq!(self.send(Command::ForgetObjects { ids }), Answer::Done);
        }
    }

    pub(super) fn live(&self) -> usize {
        self.image.objects.values().filter(|object| matches!(object.state, ObjectState::Live(_))).count()
    }
}
