//! Random commands that make sense often enough, for tests.

use super::{
    CleanupPolicy, Command, Commit, CommitObject, CommitRange, CommitState, ConfigNames, ConfigPatch, EpochImage,
    Image, InertName, Millis, NewTopic, NodeImage, ObjectState, RegisteredWal, StateKind, StreamState, TimestampType,
    TopicConfigs, TopicName, WalKind,
};
use crate::compaction::{self, Rules};
use crate::controller::NodeCommand;
use crate::id::{
    CommandSeq, CutNumber, Incarnation, Lsn, NodeEpoch, NodeId, ObjectId, Offset, RecoveryNumber, StreamEpoch,
    StreamId, TopicId, WalUuid,
};
use crate::machine::{Rng, WallTime};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

/// Draws commands of a few nodes against the newest image.
#[derive(Debug)]
pub(crate) struct Workload {
    rng: Rng,
    nodes: u64,
}

impl Workload {
    pub(crate) fn new(rng: Rng, nodes: u64) -> Self {
        Self { rng, nodes }
    }

    /// The next command of a random node: mostly the one that its FIFO expects, sometimes an old one, a gap, or one of
    /// another incarnation or epoch.
    pub(crate) fn next(&mut self, image: &Image) -> NodeCommand {
        let id = NodeId(self.rng.below(self.nodes) as u32);
        let Some(node) = image.nodes.get(&id) else { return self.registration(id, None) };
        if self.rng.chance(1, 25) {
            return self.registration(id, Some(node));
        }
        let command = self.command(image, id, node);
        let mut sent = NodeCommand {
            node: id,
            incarnation: node.incarnation,
            epoch: node.epoch,
            seq: node.last_command.next(),
            confirmed: CommandSeq(node.last_command.0.saturating_sub(self.rng.below(4))),
            command: Box::new(command),
        };
        match self.rng.below(40) {
            0 => sent.seq = CommandSeq(self.rng.below(sent.seq.0)),
            1 => sent.seq = sent.seq.next(),
            2 => sent.incarnation = Incarnation::draw(&mut self.rng),
            3 => sent.epoch = NodeEpoch(self.rng.below(sent.epoch.0)),
            _ => {}
        }
        sent
    }

    fn registration(&mut self, id: NodeId, node: Option<&NodeImage>) -> NodeCommand {
        let named = node.and_then(|node| node.epochs.first_key_value());
        let mut wal = named.map(|(epoch, image)| RegisteredWal {
            uuid: image.wal,
            epoch: *epoch,
            trim: Lsn(self.rng.between(0, image.trim.0)),
        });
        if let Some(wal) = &mut wal {
            match self.rng.below(8) {
                0 => wal.uuid = WalUuid::draw(&mut self.rng),
                1 => wal.trim = Lsn(wal.trim.0 + 10_000),
                _ => {}
            }
        }
        let wal = wal.filter(|_| !self.rng.chance(1, 10));
        let known = named.map(|(_, image)| image.wal);
        let lost = if self.rng.chance(1, 4) { Some(WalUuid::draw(&mut self.rng)) } else { known };
        let give_up = lost.filter(|_| self.rng.chance(1, 8));
        NodeCommand {
            node: id,
            incarnation: Incarnation::draw(&mut self.rng),
            epoch: NodeEpoch(0),
            seq: CommandSeq(1),
            confirmed: CommandSeq(0),
            command: Box::new(Command::Register { wal, host: "broker".into(), port: 9092, give_up }),
        }
    }

    fn command(&mut self, image: &Image, id: NodeId, node: &NodeImage) -> Command {
        let unrecovered = node.epochs.iter().find_map(|(epoch, image)| Some((*epoch, image, image.recovery?)));
        match (unrecovered, node.epochs.get(&node.epoch)) {
            (Some((epoch, left, number)), _) => match self.rng.below(4) {
                0 => Command::EndRecovery { number },
                1 => Command::LeaseObjects { count: self.rng.between(1, 4) as u32 },
                2 => self.commit(image, id, node, epoch, Some(number), left),
                _ => self.anything(image, id, node),
            },
            (None, None) if self.rng.chance(1, 2) => self.name_wal(),
            (None, Some(current)) => match self.rng.below(12) {
                0 => Command::OpenStreams,
                1 => self.new_topic(),
                2..=3 => Command::LeaseObjects { count: self.rng.between(1, 4) as u32 },
                4..=8 => self.commit(image, id, node, node.epoch, None, current),
                _ => self.anything(image, id, node),
            },
            (None, None) => self.anything(image, id, node),
        }
    }

    /// Any kind, whether or not its time has come.
    fn anything(&mut self, image: &Image, id: NodeId, node: &NodeImage) -> Command {
        let topics: Vec<TopicId> = image.topics.keys().copied().collect();
        let topic = self.rng.pick(&topics).copied().unwrap_or_default();
        match self.rng.below(19) {
            0 => self.name_wal(),
            1 => Command::EndRecovery { number: RecoveryNumber(self.rng.below(image.seq.0 + 2)) },
            2 => Command::OpenStreams,
            3 if self.rng.chance(1, 3) => Command::CloseStreams,
            4 => Command::GrowTopic { id: topic, partitions: self.rng.below(6) as u32 },
            5 => Command::DeleteTopic { id: topic },
            6 => Command::LeaseObjects { count: self.rng.below(3) as u32 },
            7 => self.forget(image),
            8 => {
                let (wal, kind) = (WalUuid::default(), WalKind::Ring);
                let zero = EpochImage { wal, kind, trim: Lsn(0), last_cut: CutNumber(3), recovery: None };
                let epoch = NodeEpoch(self.rng.below(node.epoch.0 + 1));
                let number = self.rng.chance(1, 2).then(|| RecoveryNumber(self.rng.below(image.seq.0 + 1)));
                self.commit(image, id, node, epoch, number, &zero)
            }
            9 => self.new_topic(),
            10 => self.configure(topic),
            11..=13 => self.compact(image, id, node),
            14 => Command::AbandonObjects { ids: self.leased(image, id, node).take(1).collect() },
            _ => self.trim(image),
        }
    }

    fn new_topic(&mut self) -> Command {
        let name: String = format!("topic-{}", self.rng.below(12));
        let name = TopicName::parse(&name).expect("letters, digits and a hyphen");
        let partitions = self.rng.below(5) as u32;
        let configs = self.configs();
        Command::CreateTopic(NewTopic { id: TopicId::draw(&mut self.rng), name, partitions, configs })
    }

    fn configs(&mut self) -> TopicConfigs {
        TopicConfigs {
            retention_time: self.rng.chance(1, 3).then(|| Millis(self.rng.below(1 << 40) as i64 - 1)),
            timestamp_type: self.rng.chance(1, 3).then_some(TimestampType::LogAppendTime),
            cleanup_policy: self.rng.chance(1, 3).then_some(CleanupPolicy::NONE),
            inert: self.inert(),
            ..TopicConfigs::default()
        }
    }

    fn inert(&mut self) -> BTreeMap<InertName, String> {
        let count = self.rng.below(3) as usize;
        let names = (0..count).filter_map(|_| self.rng.pick(InertName::ALL).copied());
        names.map(|name| (name, name.default_text().into())).collect()
    }

    fn configure(&mut self, id: TopicId) -> Command {
        let clear = ConfigNames(self.rng.next_u64());
        let (append, subtract) = (CleanupPolicy::DELETE, CleanupPolicy::NONE);
        Command::ConfigureTopic { id, patch: ConfigPatch { clear, set: self.configs(), append, subtract } }
    }

    fn trim(&mut self, image: &Image) -> Command {
        let streams: Vec<StreamId> = image.streams.keys().copied().collect();
        let stream = self.rng.pick(&streams).copied().unwrap_or_default();
        let (epoch, end) = image.streams.get(&stream).map_or((StreamEpoch(0), 0), |s| (s.epoch, s.end.0));
        Command::TrimStream { stream, epoch, start: Offset(self.rng.below(end + 8)) }
    }

    /// Mostly what a compactor would commit; sometimes it holds less, or more.
    fn compact(&mut self, image: &Image, id: NodeId, node: &NodeImage) -> Command {
        let force_split = Duration::from_millis(self.rng.below(2_000));
        let rules = Rules { fan_in: 2, object: 1 << 14, split: 1 << 12, force_split, data_block: 1 << 10 };
        let plan = compaction::plan(image, id, image.at, &rules, &BTreeSet::new());
        let leased: Vec<ObjectId> = self.leased(image, id, node).collect();
        let Some(plan) = plan else { return Command::LeaseObjects { count: 3 } };
        let mut sketched = compaction::tests::sketched(&plan, ObjectId(0));
        for (at, result) in sketched.results.iter_mut().enumerate() {
            result.id = leased.get(at).copied().unwrap_or(ObjectId(self.rng.below(image.next_object.0 + 1)));
        }
        match self.rng.below(8) {
            0 => sketched.inputs.truncate(1),
            1 => sketched.results.truncate(1),
            2 => sketched.results[0].ranges.iter_mut().for_each(|range| range.end.0 += 1),
            3 => sketched.results[0].ranges.iter_mut().for_each(|range| range.stream.0 += 1),
            _ => {}
        }
        Command::Compact(sketched)
    }

    fn leased(&self, image: &Image, id: NodeId, node: &NodeImage) -> impl Iterator<Item = ObjectId> {
        let leased = ObjectState::Leased(id, node.epoch);
        image.objects.iter().filter(move |(_, object)| object.state == leased).map(|(id, _)| *id)
    }

    fn forget(&mut self, image: &Image) -> Command {
        let destroyed: Vec<ObjectId> = image.destroyed_by(WallTime(i64::MAX)).take(3).collect();
        let any = ObjectId(self.rng.below(image.next_object.0 + 1));
        Command::ForgetObjects { ids: if self.rng.chance(1, 4) { vec![any] } else { destroyed } }
    }

    fn name_wal(&mut self) -> Command {
        let uuid = WalUuid::draw(&mut self.rng);
        let kind = if uuid.0[0].is_multiple_of(2) { WalKind::Ring } else { WalKind::Objects };
        Command::NameWal { uuid, kind }
    }

    /// A cut of an epoch, with a range for some of the streams that are open under it.
    fn commit(
        &mut self,
        image: &Image,
        id: NodeId,
        node: &NodeImage,
        epoch: NodeEpoch,
        recovery: Option<RecoveryNumber>,
        left: &EpochImage,
    ) -> Command {
        let leased = ObjectState::Leased(id, node.epoch);
        let mut objects: Vec<CommitObject> = image
            .objects
            .iter()
            .filter(|(_, object)| object.state == leased)
            .take(2)
            .map(|(id, _)| CommitObject { id: *id, size: 1000, ranges: vec![] })
            .collect();
        for (id, stream) in image.streams_of(id).filter(|(_, s)| s.state != StreamState::Closed) {
            if self.rng.chance(1, 3) {
                continue;
            }
            let Some(object) = self.rng.pick(&[0, 1]).and_then(|at| objects.get_mut(*at)) else { continue };
            let jump = if self.rng.chance(1, 60) { 3 } else { 0 };
            let back = if self.rng.chance(1, 60) { 1 } else { 0 };
            let start = Offset((stream.end.0 + jump).saturating_sub(back));
            object.ranges.push(CommitRange {
                stream: id,
                epoch: stream.epoch,
                start,
                end: Offset(start.0 + self.rng.between(1, 20)),
                max_timestamp: WallTime(self.rng.below(1 << 40) as i64),
                bytes: self.rng.below(5000),
                producers: self.state(),
            });
        }
        if let (Some(object), true) = (objects.first_mut(), self.rng.chance(1, 10)) {
            // Of a stream that was deleted.
            let (start, end) = (Offset(1), Offset(2));
            let (stream, epoch) = (StreamId(1 << 40), StreamEpoch(1));
            let (max_timestamp, producers) = (WallTime(0), self.state());
            object.ranges.push(CommitRange { stream, epoch, start, end, max_timestamp, bytes: 1, producers });
        }
        let number = match self.rng.below(15) {
            0 => left.last_cut,
            1 => left.last_cut.next().next(),
            _ => left.last_cut.next(),
        };
        let lsn = Lsn(left.trim.0 + self.rng.below(5000));
        Command::Commit(Commit { epoch, recovery, number, lsn, objects })
    }

    fn state(&mut self) -> Option<CommitState> {
        let kind = *self.rng.pick(&[StateKind::Range, StateKind::Range, StateKind::Log])?;
        self.rng.chance(1, 2).then_some(CommitState { kind, at: self.rng.below(1000), len: 100 })
    }
}
