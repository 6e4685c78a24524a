//! Each rule by example, and all of them together under random commands.

use crate::controller::NodeCommand;
use crate::data_object;
use crate::id::{
    ClusterId, CommandSeq, CutNumber, FeatureLevel, Incarnation, Lsn, NodeEpoch, NodeId, ObjectId, Offset,
    PartitionIndex, RecoveryNumber, Seq, StreamEpoch, StreamId, TopicId, WalUuid,
};
use crate::machine::{Rng, WallTime};
use crate::metadata::workload::Workload;
use crate::metadata::{
    Answer, Command, Commit, CommitObject, CommitRange, CommitState, Entry, FEATURE_LEVEL, Image, NewTopic,
    ObjectState, Refusal, RegisteredWal, StateKind, StreamState, TopicConfigs, TopicName, WalKind, bounds,
};
use crate::producers::ProducerId;
use alloc::boxed::Box;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

mod give_up;

const NODE: NodeId = NodeId(1);
const RING: WalUuid = WalUuid([7; 16]);

/// A log with one broker that sends, and is told every answer.
struct Log {
    image: Image,
    incarnation: Incarnation,
    epoch: NodeEpoch,
    sent: CommandSeq,
}

impl Log {
    fn new() -> Self {
        let image = Image::new(ClusterId([1; 16]), FEATURE_LEVEL);
        Self { image, incarnation: Incarnation([0; 16]), epoch: NodeEpoch(0), sent: CommandSeq(0) }
    }

    /// A broker that registered and named its ring.
    fn serving() -> Self {
        let mut log = Self::new();
        log.restart(None);
        assert_eq!(log.send(Command::NameWal { uuid: RING, kind: WalKind::Ring }), Answer::Done);
        log
    }

    /// One that serves a topic of two partitions, streams 1 and 2, and leased objects 1 to 8.
    fn with_topic() -> Self {
        let mut log = Self::serving();
        assert_eq!(log.send(create("orders", 1, 2)), Answer::Done);
        assert_eq!(log.send(Command::LeaseObjects { count: 8 }), Answer::Leased { first: ObjectId(1), count: 8 });
        log
    }

    fn apply(&mut self, by: NodeCommand) -> Answer {
        let seq = self.image.seq.next();
        let answer = self.image.apply(&Entry { seq, at: WallTime(seq.0 as i64 * 10), by });
        self.image.invariants();
        answer
    }

    fn command(&self, seq: CommandSeq, command: Command) -> NodeCommand {
        let (incarnation, epoch) = (self.incarnation, self.epoch);
        NodeCommand { node: NODE, incarnation, epoch, seq, confirmed: CommandSeq(0), command: Box::new(command) }
    }

    fn send(&mut self, command: Command) -> Answer {
        self.sent = self.sent.next();
        self.apply(self.command(self.sent, command))
    }

    /// Sends what is refused, and checks that nothing but the FIFO moved.
    fn refused(&mut self, command: Command) -> Refusal {
        let mut before = self.image.clone();
        let Answer::Refused(refusal) = self.send(command) else { panic!("it should have been refused") };
        let (node, now) = (before.nodes.get_mut(&NODE).expect("known"), &self.image.nodes[&NODE]);
        (node.last_command, node.answers) = (now.last_command, now.answers.clone());
        (before.seq, before.at) = (self.image.seq, self.image.at);
        assert_eq!(before, self.image);
        refusal
    }

    /// A new incarnation registers with that ring.
    fn restart(&mut self, wal: Option<RegisteredWal>) -> Answer {
        self.register(wal, None)
    }

    /// The same, giving up a ring that is lost.
    fn register(&mut self, wal: Option<RegisteredWal>, give_up: Option<WalUuid>) -> Answer {
        let incarnation = Incarnation([self.incarnation.0[0] + 1; 16]);
        let register = Command::Register { wal, host: "a".into(), port: 9092, give_up };
        let by = NodeCommand { incarnation, epoch: NodeEpoch(0), ..self.command(CommandSeq(1), register) };
        let answer = self.apply(by);
        if let Answer::Registered { epoch, .. } = answer {
            (self.incarnation, self.epoch, self.sent) = (incarnation, epoch, CommandSeq(1));
        }
        answer
    }

    fn stream(&self, id: u64) -> &crate::metadata::StreamImage {
        &self.image.streams[&StreamId(id)]
    }

    fn state(&self, object: u64) -> Option<ObjectState> {
        self.image.objects.get(&ObjectId(object)).map(|object| object.state)
    }
}

fn create(name: &str, id: u8, partitions: u32) -> Command {
    let name = TopicName::parse(name).expect("legal");
    Command::CreateTopic(NewTopic { id: TopicId([id; 16]), name, partitions, configs: TopicConfigs::default() })
}

fn range(stream: u64, start: u64, end: u64) -> CommitRange {
    CommitRange {
        stream: StreamId(stream),
        epoch: StreamEpoch(1),
        start: Offset(start),
        end: Offset(end),
        max_timestamp: WallTime(0),
        bytes: 100,
        producers: None,
    }
}

fn object(id: u64, ranges: &[CommitRange]) -> CommitObject {
    CommitObject { id: ObjectId(id), size: 1000, ranges: ranges.to_vec() }
}

/// Cut `number` of epoch 1, up to LSN 100 times that.
fn cut(number: u64, objects: Vec<CommitObject>) -> Commit {
    Commit { epoch: NodeEpoch(1), recovery: None, number: CutNumber(number), lsn: Lsn(number * 100), objects }
}

fn committed(number: u64, objects: Vec<CommitObject>) -> Command {
    Command::Commit(cut(number, objects))
}

fn ring(trim: u64) -> Option<RegisteredWal> {
    Some(RegisteredWal { uuid: RING, epoch: NodeEpoch(1), trim: Lsn(trim) })
}

#[test]
fn a_repeated_command_is_answered_again_without_effect() {
    let mut log = Log::serving();
    let lease = log.command(CommandSeq(3), Command::LeaseObjects { count: 2 });
    let first = Answer::Leased { first: ObjectId(1), count: 2 };
    assert_eq!(log.apply(lease.clone()), first);
    assert_eq!(log.apply(lease), first);
    assert_eq!(log.image.next_object, ObjectId(3));
}

#[test]
fn a_gap_is_refused_and_leaves_the_number_free() {
    let mut log = Log::serving();
    let early = log.command(CommandSeq(4), Command::LeaseObjects { count: 2 });
    assert_eq!(log.apply(early), Answer::Refused(Refusal::SequenceGap));
    log.sent = CommandSeq(2);
    assert!(matches!(log.send(Command::LeaseObjects { count: 2 }), Answer::Leased { .. }));
}

#[test]
fn confirmed_answers_are_dropped() {
    let mut log = Log::serving();
    let mut by = log.command(CommandSeq(3), Command::OpenStreams);
    by.confirmed = CommandSeq(1);
    log.apply(by);
    let kept: Vec<u64> = log.image.nodes[&NODE].answers.keys().map(|seq| seq.0).collect();
    assert_eq!(kept, [2, 3]);
}

#[test]
fn a_refusal_takes_its_number_and_is_answered_again() {
    let mut log = Log::serving();
    let delete = log.command(CommandSeq(3), Command::DeleteTopic { id: TopicId([9; 16]) });
    assert_eq!(log.apply(delete.clone()), Answer::Refused(Refusal::UnknownTopic));
    assert_eq!(log.image.nodes[&NODE].last_command, CommandSeq(3));
    assert_eq!(log.apply(delete), Answer::Refused(Refusal::UnknownTopic));
}

#[test]
fn who_is_not_the_current_incarnation_is_fenced() {
    let mut log = Log::serving();
    let old = log.command(CommandSeq(3), Command::LeaseObjects { count: 1 });
    log.restart(ring(0));
    assert_eq!(log.apply(old), Answer::Refused(Refusal::Fenced));
    assert_eq!(log.image.next_object, ObjectId(1));
    let mut unknown = log.command(CommandSeq(1), Command::OpenStreams);
    unknown.node = NodeId(9);
    assert_eq!(log.apply(unknown), Answer::Refused(Refusal::Fenced));
    let mut early = log.command(CommandSeq(2), Command::OpenStreams);
    early.epoch = NodeEpoch(1);
    assert_eq!(log.apply(early), Answer::Refused(Refusal::Fenced));
}

#[test]
fn registration_fences_and_orders_the_recovery_of_what_named_a_ring() {
    let mut log = Log::new();
    let Answer::Registered { epoch, recoveries } = log.restart(None) else { panic!() };
    assert_eq!((epoch, recoveries), (NodeEpoch(1), vec![]));
    // Epoch 1 never named a ring: nothing to recover.
    let Answer::Registered { epoch, recoveries } = log.restart(None) else { panic!() };
    assert_eq!((epoch, recoveries), (NodeEpoch(2), vec![]));
    log.send(Command::NameWal { uuid: RING, kind: WalKind::Ring });
    let wal = Some(RegisteredWal { uuid: RING, epoch: NodeEpoch(2), trim: Lsn(0) });
    let Answer::Registered { epoch, recoveries } = log.restart(wal) else { panic!() };
    let number = RecoveryNumber(log.image.seq.0);
    assert_eq!((epoch, recoveries.len()), (NodeEpoch(3), 1));
    assert_eq!((recoveries[0].number, recoveries[0].epoch, recoveries[0].wal), (number, NodeEpoch(2), RING));
    // Not recovered yet: ordered anew, and the older order is void.
    let Answer::Registered { recoveries, .. } = log.restart(wal) else { panic!() };
    assert!(recoveries[0].number > number);
    assert_eq!(log.refused(Command::EndRecovery { number }), Refusal::RecoverySuperseded);
    assert_eq!(log.refused(Command::NameWal { uuid: WalUuid([8; 16]), kind: WalKind::Ring }), Refusal::NotRecovered);
    assert_eq!(log.send(Command::EndRecovery { number: recoveries[0].number }), Answer::Done);
    assert_eq!(log.send(Command::NameWal { uuid: WalUuid([8; 16]), kind: WalKind::Ring }), Answer::Done);
}

#[test]
fn a_blank_lost_or_older_ring_is_refused_and_changes_nothing() {
    let mut log = Log::with_topic();
    log.send(committed(1, vec![object(1, &[range(1, 0, 5)])]));
    let before = log.image.clone();
    let other = |uuid, epoch| Some(RegisteredWal { uuid, epoch: NodeEpoch(epoch), trim: Lsn(0) });
    let wrong = Answer::Refused(Refusal::WrongWal { expected: RING });
    assert_eq!(log.restart(None), wrong);
    assert_eq!(log.restart(other(WalUuid([9; 16]), 1)), wrong);
    assert_eq!(log.restart(other(RING, 0)), wrong);
    assert_eq!(log.restart(ring(101)), Answer::Refused(Refusal::WalAhead { known: Lsn(100) }));
    assert_eq!(log.restart(other(RING, 2)), Answer::Refused(Refusal::WalAhead { known: Lsn(0) }));
    assert_eq!((&before.nodes, &before.streams), (&log.image.nodes, &log.image.streams));
    // The old incarnation goes on.
    assert_eq!(log.send(committed(2, vec![])), Answer::Done);
    assert!(matches!(log.restart(ring(50)), Answer::Registered { .. }));
}

#[test]
fn streams_open_only_under_an_epoch_that_named_its_ring() {
    let mut log = Log::new();
    log.restart(None);
    assert_eq!(log.refused(Command::OpenStreams), Refusal::NotRecovered);
    assert_eq!(log.refused(create("orders", 1, 1)), Refusal::NotRecovered);
    log.send(Command::NameWal { uuid: RING, kind: WalKind::Ring });
    assert_eq!(log.send(create("orders", 1, 1)), Answer::Done);
    assert_eq!(
        log.refused(Command::NameWal { uuid: WalUuid([8; 16]), kind: WalKind::Ring }),
        Refusal::WrongWal { expected: RING }
    );
    assert_eq!(log.send(Command::NameWal { uuid: RING, kind: WalKind::Ring }), Answer::Done);
}

#[test]
fn a_recovery_commits_closes_and_reopens_under_the_next_epoch() {
    let mut log = Log::with_topic();
    log.send(committed(1, vec![object(1, &[range(1, 0, 5)])]));
    let Answer::Registered { recoveries, .. } = log.restart(ring(0)) else { panic!() };
    let number = recoveries[0].number;
    assert_eq!((recoveries[0].trim, recoveries[0].last_cut), (Lsn(100), CutNumber(1)));
    // What epoch 1 leased has expired; the recoverer leases its own.
    assert_eq!(log.state(2), None);
    assert_eq!(log.send(Command::LeaseObjects { count: 1 }), Answer::Leased { first: ObjectId(9), count: 1 });
    let found = cut(2, vec![object(9, &[range(1, 5, 9), range(2, 0, 1)])]);
    assert_eq!(log.refused(Command::Commit(found.clone())), Refusal::Fenced);
    let stale = Commit { recovery: Some(RecoveryNumber(number.0 - 1)), ..found.clone() };
    assert_eq!(log.refused(Command::Commit(stale)), Refusal::RecoverySuperseded);
    let found = Commit { recovery: Some(number), ..found };
    let expired = Commit { objects: vec![object(2, &[range(1, 5, 9)])], ..found.clone() };
    assert_eq!(log.refused(Command::Commit(expired)), Refusal::NotLeased { id: ObjectId(2) });
    assert_eq!(log.send(Command::Commit(found)), Answer::Done);
    assert_eq!(log.send(Command::EndRecovery { number }), Answer::Done);
    assert_eq!((log.stream(1).state, log.stream(1).end), (StreamState::Closed, Offset(9)));
    log.send(Command::NameWal { uuid: WalUuid([8; 16]), kind: WalKind::Ring });
    assert_eq!(log.send(Command::OpenStreams), Answer::Done);
    assert_eq!((log.stream(1).state, log.stream(1).epoch), (StreamState::Open(NodeEpoch(2)), StreamEpoch(2)));
    let end_of = |stream, epoch| log.stream(stream).epochs.end_of(StreamEpoch(epoch), Offset(50));
    assert_eq!((end_of(1, 1), end_of(2, 1)), (Some((StreamEpoch(1), Offset(9))), Some((StreamEpoch(1), Offset(1)))));
    assert_eq!((end_of(1, 2), end_of(1, 3)), (Some((StreamEpoch(2), Offset(50))), None));
}

/// A broker whose WAL is in the bucket has died after its first cut; the number of the recovery.
fn with_wal_to_recover() -> (Log, RecoveryNumber) {
    let mut log = Log::new();
    log.restart(None);
    assert_eq!(log.send(Command::NameWal { uuid: RING, kind: WalKind::Objects }), Answer::Done);
    assert_eq!(log.send(create("orders", 1, 2)), Answer::Done);
    assert_eq!(log.send(Command::LeaseObjects { count: 1 }), Answer::Leased { first: ObjectId(1), count: 1 });
    log.send(committed(1, vec![object(1, &[range(1, 0, 5)])]));
    let Answer::Registered { recoveries, .. } = log.restart(None) else { panic!("it has nothing to show") };
    (log, recoveries[0].number)
}

/// The cut of a recovery that is the object at this SEQ.
fn adopting(epoch: u64, seq: u64, number: RecoveryNumber) -> Commit {
    let id = data_object::id_in_wal(NODE, NodeEpoch(epoch), Lsn(seq)).expect("these are small");
    let object = CommitObject { id, size: 1000, ranges: vec![range(1, 5, 9), range(2, 0, 1)] };
    Commit { recovery: Some(number), lsn: Lsn(seq + 1), ..cut(2, vec![object]) }
}

#[test]
fn a_recovery_commits_objects_of_its_wal_as_they_are_and_once() {
    let (mut log, number) = with_wal_to_recover();
    let found = adopting(1, 100, number);
    let id = found.objects[0].id;
    assert_eq!(log.send(Command::Commit(found)), Answer::Done);
    assert_eq!(log.image.objects[&id].state, ObjectState::Live(2));
    assert_eq!((log.stream(1).end, log.stream(2).end), (Offset(9), Offset(1)));
    let mut again = Commit { number: CutNumber(3), ..adopting(1, 100, number) };
    again.objects[0].ranges = vec![range(1, 9, 12)];
    assert_eq!(log.refused(Command::Commit(again)), Refusal::NotLeased { id }, "it is below the trim point");
    assert_eq!(log.send(Command::EndRecovery { number }), Answer::Done);
    assert_eq!(log.send(Command::DeleteTopic { id: TopicId([1; 16]) }), Answer::Done);
    assert!(matches!(log.image.objects[&id].state, ObjectState::Destroyed(_)));
    assert_eq!(log.send(Command::ForgetObjects { ids: vec![id] }), Answer::Done);
}

#[test]
fn what_is_not_an_object_of_the_wal_that_is_recovered_is_not_committed_as_one() {
    let (mut log, number) = with_wal_to_recover();
    let not_leased = |commit: &Commit| Refusal::NotLeased { id: commit.objects[0].id };
    // Of another epoch; below the trim point; beyond the cut; beside something else; without a recovery.
    let other = Commit { epoch: NodeEpoch(1), ..adopting(2, 100, number) };
    let below = Commit { lsn: Lsn(101), ..adopting(1, 99, number) };
    let beyond = Commit { lsn: Lsn(101), ..adopting(1, 101, number) };
    let mut beside = adopting(1, 100, number);
    beside.objects.push(CommitObject { ranges: Vec::new(), ..beside.objects[0].clone() });
    for commit in [other, below, beyond, beside] {
        assert_eq!(log.refused(Command::Commit(commit.clone())), not_leased(&commit));
    }
    let own = Commit { recovery: None, ..adopting(1, 100, number) };
    assert_eq!(log.refused(Command::Commit(own)), Refusal::Fenced);
    // Where the WAL is a ring, or the cluster of an older level, there are none.
    let mut older = with_wal_to_recover();
    older.0.image.feature_level = FeatureLevel(1);
    let commit = adopting(1, 100, older.1);
    assert_eq!(older.0.refused(Command::Commit(commit.clone())), not_leased(&commit));
    let mut of_ring = Log::with_topic();
    of_ring.send(committed(1, vec![object(1, &[range(1, 0, 5)])]));
    let Answer::Registered { recoveries, .. } = of_ring.restart(ring(0)) else { panic!("it shows its ring") };
    let commit = adopting(1, 100, recoveries[0].number);
    assert_eq!(of_ring.refused(Command::Commit(commit.clone())), not_leased(&commit));
}

#[test]
fn a_clean_close_leaves_nothing_to_recover_and_any_ring_will_do() {
    let mut log = Log::with_topic();
    assert_eq!(log.send(Command::CloseStreams), Answer::Done);
    assert_eq!(log.stream(1).state, StreamState::Closed);
    let Answer::Registered { recoveries, .. } = log.restart(None) else { panic!() };
    assert_eq!(recoveries, []);
}

#[test]
fn all_topics_together_have_no_more_streams_than_memory_is_for() {
    let mut log = Log::serving();
    let create = |name: &str, id: u8, partitions| {
        let name = TopicName::parse(name).expect("a legal name");
        Command::CreateTopic(NewTopic { id: TopicId([id; 16]), name, partitions, configs: TopicConfigs::default() })
    };
    assert_eq!(log.send(create("most", 1, bounds::PARTITIONS - 1)), Answer::Done);
    assert_eq!(log.refused(create("more", 2, 2)), Refusal::InvalidPartitions);
    assert_eq!(log.send(create("last", 3, 1)), Answer::Done);
    let grow = Command::GrowTopic { id: TopicId([3; 16]), partitions: 2 };
    assert_eq!(log.refused(grow), Refusal::InvalidPartitions);
}

#[test]
fn topics_are_created_grown_and_deleted() {
    let mut log = Log::with_topic();
    assert_eq!(log.refused(create("orders", 2, 1)), Refusal::TopicExists);
    assert_eq!(log.refused(create("other", 1, 1)), Refusal::Invalid);
    assert_eq!(log.refused(create("none", 2, 0)), Refusal::InvalidPartitions);
    assert_eq!(log.refused(create("huge", 2, bounds::PARTITIONS + 1)), Refusal::InvalidPartitions);
    let id = TopicId([1; 16]);
    assert_eq!(log.refused(Command::GrowTopic { id, partitions: 2 }), Refusal::InvalidPartitions);
    assert_eq!(log.send(Command::GrowTopic { id, partitions: 3 }), Answer::Done);
    let (stream, image) = log.image.stream_of(id, PartitionIndex(2)).expect("it grew");
    assert_eq!((stream, image.state, image.epoch), (StreamId(3), StreamState::Open(NodeEpoch(1)), StreamEpoch(1)));
    log.send(committed(1, vec![object(1, &[range(1, 0, 5)]), object(2, &[range(2, 0, 5), range(3, 0, 5)])]));
    log.send(create("more", 2, 1));
    assert_eq!(log.send(Command::DeleteTopic { id }), Answer::Done);
    let now = log.image.at;
    assert_eq!([log.state(1), log.state(2)], [Some(ObjectState::Destroyed(now)); 2]);
    assert_eq!(log.image.topic_named(&TopicName::parse("orders").expect("legal")), None);
    assert_eq!(log.send(create("orders", 3, 1)), Answer::Done);
    assert_eq!(log.stream(5).partition, PartitionIndex(0), "stream ids are not used again");
}

#[test]
fn cuts_are_taken_once_and_in_order() {
    let mut log = Log::with_topic();
    let first = committed(1, vec![object(1, &[range(1, 0, 5), range(2, 0, 3)])]);
    assert_eq!(log.send(first.clone()), Answer::Done);
    assert_eq!(log.state(1), Some(ObjectState::Live(2)));
    let before = log.image.streams.clone();
    assert_eq!(log.send(first), Answer::Done, "a number not above the last is done already");
    assert_eq!(before, log.image.streams);
    assert_eq!(log.refused(committed(3, vec![])), Refusal::CutGap { expected: CutNumber(2) });
    let back = Commit { lsn: Lsn(99), ..cut(2, vec![]) };
    assert_eq!(log.refused(Command::Commit(back)), Refusal::Invalid);
    assert_eq!(log.send(committed(2, vec![])), Answer::Done);
    let epoch = &log.image.nodes[&NODE].epochs[&NodeEpoch(1)];
    assert_eq!((epoch.trim, epoch.last_cut), (Lsn(200), CutNumber(2)));
    assert_eq!(log.stream(1).range_at(Offset(4)).map(|(at, range)| (at, range.end)), Some((Offset(0), Offset(5))));
    assert_eq!(log.stream(1).range_at(Offset(5)), None);
}

#[test]
fn a_commit_that_does_not_fit_changes_nothing() {
    let mut log = Log::with_topic();
    log.send(committed(1, vec![object(1, &[range(1, 0, 5)])]));
    let stream = StreamId(1);
    let past = Refusal::NotContiguous { stream, end: Offset(5) };
    let other_epoch = CommitRange { epoch: StreamEpoch(2), ..range(1, 5, 6) };
    for bad in [range(1, 6, 7), range(1, 4, 7), range(1, 5, 5), range(1, 7, 5), range(1, 0, 5), other_epoch] {
        assert_eq!(log.refused(committed(2, vec![object(2, &[range(2, 0, 1), bad])])), past);
    }
    let twice = vec![object(2, &[range(1, 5, 6)]), object(3, &[range(1, 5, 6)])];
    assert_eq!(log.refused(committed(2, twice)), Refusal::NotContiguous { stream, end: Offset(6) });
    let live = committed(2, vec![object(1, &[range(1, 5, 6)])]);
    assert_eq!(log.refused(live), Refusal::NotLeased { id: ObjectId(1) });
    let same = committed(2, vec![object(2, &[range(1, 5, 6)]), object(2, &[range(1, 6, 7)])]);
    assert_eq!(log.refused(same), Refusal::NotLeased { id: ObjectId(2) });
    let split = vec![object(2, &[range(1, 5, 6)]), object(3, &[range(1, 6, 7)])];
    assert_eq!(log.send(committed(2, split)), Answer::Done);
}

#[test]
fn a_deleted_stream_does_not_block_the_rest_of_a_cut() {
    let mut log = Log::with_topic();
    log.send(create("gone", 2, 1));
    log.send(Command::DeleteTopic { id: TopicId([2; 16]) });
    let objects = vec![object(1, &[range(3, 0, 9), range(1, 0, 5)]), object(2, &[range(3, 9, 12)])];
    assert_eq!(log.send(committed(1, objects)), Answer::Done);
    assert_eq!(log.state(1), Some(ObjectState::Live(1)));
    assert_eq!(log.state(2), Some(ObjectState::Destroyed(log.image.at)));
    assert_eq!(log.stream(1).end, Offset(5));
}

#[test]
fn a_trim_may_pass_the_committed_end() {
    let mut log = Log::with_topic();
    let trim = |start| Command::TrimStream { stream: StreamId(1), epoch: StreamEpoch(1), start: Offset(start) };
    log.send(committed(1, vec![object(1, &[range(1, 0, 100)]), object(2, &[range(2, 0, 1)])]));
    assert_eq!(log.send(trim(50)), Answer::Done);
    assert_eq!((log.stream(1).start, log.stream(1).end), (Offset(50), Offset(100)));
    assert_eq!(log.stream(1).range_at(Offset(49)), None);
    assert!(log.stream(1).range_at(Offset(50)).is_some());
    assert_eq!(log.send(trim(20)), Answer::Done);
    assert_eq!(log.stream(1).start, Offset(50), "a trim never goes back");
    assert_eq!(log.send(trim(150)), Answer::Done);
    assert_eq!((log.stream(1).start, log.stream(1).end), (Offset(150), Offset(150)));
    assert_eq!(log.stream(1).epochs.end_of(StreamEpoch(0), Offset(200)), Some((StreamEpoch(0), Offset(150))));
    assert_eq!(log.state(1), Some(ObjectState::Destroyed(log.image.at)));
    // What was on its way: one range below the start, one that the start cuts through.
    let objects = vec![object(3, &[range(1, 100, 120)]), object(4, &[range(1, 120, 200)])];
    assert_eq!(log.send(committed(2, objects)), Answer::Done);
    assert_eq!(log.state(3), Some(ObjectState::Destroyed(log.image.at)));
    let (first, found) = log.stream(1).range_at(Offset(150)).expect("committed");
    assert_eq!((first, found.end, found.object), (Offset(120), Offset(200), ObjectId(4)));
    assert_eq!(log.stream(1).range_at(Offset(149)), None);

    assert_eq!(log.refused(trim(bounds::OFFSET.0 + 1)), Refusal::Invalid);
    let stale = Command::TrimStream { stream: StreamId(1), epoch: StreamEpoch(2), start: Offset(160) };
    assert_eq!(log.refused(stale), Refusal::UnknownStream);
}

#[test]
fn only_destroyed_objects_are_forgotten() {
    let mut log = Log::with_topic();
    log.send(committed(1, vec![object(1, &[range(1, 0, 5)]), object(2, &[])]));
    let forget = |ids: &[u64]| Command::ForgetObjects { ids: ids.iter().map(|id| ObjectId(*id)).collect() };
    assert_eq!(log.refused(forget(&[2, 1])), Refusal::Invalid);
    assert_eq!(log.refused(forget(&[2, 3])), Refusal::Invalid);
    assert_eq!(log.image.destroyed_by(log.image.at).collect::<Vec<_>>(), [ObjectId(2)]);
    assert_eq!(log.send(forget(&[2])), Answer::Done);
    assert!(!log.image.objects.contains_key(&ObjectId(2)));
    assert_eq!(log.send(forget(&[2])), Answer::Done);
}

#[test]
fn leases_are_bounded() {
    let mut log = Log::serving();
    for count in [0, bounds::LEASE + 1, u32::MAX] {
        assert_eq!(log.refused(Command::LeaseObjects { count }), Refusal::Invalid);
    }
}

#[test]
fn random_logs_keep_the_image_sound() {
    let mut kinds = alloc::collections::BTreeMap::<alloc::string::String, u32>::new();
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let mut image = Image::new(ClusterId::draw(&mut rng), FEATURE_LEVEL);
        let mut workload = Workload::new(rng.child("workload"), 3);
        for seq in 1..=200 {
            let by = workload.next(&image);
            let before = image.clone();
            let answer = image.apply(&Entry { seq: Seq(seq), at: WallTime(rng.below(1000) as i64), by: by.clone() });
            image.invariants();
            never_goes_back(&before, &image);
            let answer = format!("{answer:?}");
            let kind = |text: &str| text.split(['(', ' ', '{']).take(2).collect::<Vec<_>>().join(" ");
            *kinds.entry(format!("{} {}", kind(&format!("{:?}", by.command)), kind(&answer))).or_default() += 1;
        }
    }
    // The workload reaches what it is for.
    let seen = |text: &str| kinds.iter().filter(|(kind, _)| kind.contains(text)).map(|(_, n)| n).sum::<u32>();
    for text in ["Commit Commit Done", "EndRecovery  Done", "OpenStreams Done", "TrimStream  Done", "NotContiguous"] {
        assert!(seen(text) > 20, "{text}: {kinds:#?}");
    }
}

fn never_goes_back(before: &Image, after: &Image) {
    assert!(before.at <= after.at && before.next_object <= after.next_object);
    for (id, node) in &before.nodes {
        assert!(node.epoch <= after.nodes[id].epoch);
    }
    for (id, old) in &before.streams {
        let Some(new) = after.streams.get(id) else { continue };
        assert!(old.epoch <= new.epoch && old.end <= new.end && old.start <= new.start, "{id}: {old:?} {new:?}");
    }
    for (id, object) in &before.objects {
        match (object.state, after.objects.get(id).map(|object| object.state)) {
            (ObjectState::Destroyed(was), Some(now)) => assert_eq!(now, ObjectState::Destroyed(was), "{id}"),
            (ObjectState::Live(_), now) => assert!(!matches!(now, None | Some(ObjectState::Leased(..))), "{id}"),
            _ => {}
        }
    }
}

/// A range whose object tells of its stream's producers.
fn telling(kind: StateKind, range: CommitRange) -> CommitRange {
    CommitRange { producers: Some(CommitState { kind, at: 500, len: 90 }), ..range }
}

fn commit_of(number: u64, id: u64, ranges: &[CommitRange]) -> Command {
    Command::Commit(Commit {
        epoch: NodeEpoch(1),
        recovery: None,
        number: CutNumber(number),
        lsn: Lsn(number * 4096),
        objects: vec![object(id, ranges)],
    })
}

fn told(log: &Log, stream: u64) -> Vec<(u64, u64)> {
    log.stream(stream).producers.iter().map(|state| (state.end.0, state.object.0)).collect()
}

#[test]
fn what_is_said_of_producers_outlives_the_records() {
    let mut log = Log::with_topic();
    log.send(commit_of(1, 1, &[telling(StateKind::Range, range(1, 0, 10)), range(2, 0, 5)]));
    log.send(commit_of(2, 2, &[telling(StateKind::Range, range(1, 10, 20))]));
    assert_eq!(told(&log, 1), [(10, 1), (20, 2)]);
    // Everything is deleted, also what is not committed yet.
    log.send(Command::TrimStream { stream: StreamId(1), epoch: StreamEpoch(1), start: Offset(30) });
    assert_eq!((log.stream(1).ranges.len(), told(&log, 1)), (0, vec![(10, 1), (20, 2)]));
    assert_eq!((log.state(1), log.state(2)), (Some(ObjectState::Live(2)), Some(ObjectState::Live(1))));
    log.send(commit_of(3, 3, &[telling(StateKind::Range, range(1, 20, 30))]));
    assert_eq!((log.stream(1).ranges.len(), told(&log, 1)), (0, vec![(10, 1), (20, 2), (30, 3)]));
    assert_eq!(log.state(3), Some(ObjectState::Live(1)));
    // One that tells all takes their place.
    log.send(commit_of(4, 4, &[telling(StateKind::Log, range(1, 30, 40))]));
    assert_eq!((told(&log, 1), log.state(4)), (vec![(40, 4)], Some(ObjectState::Live(2))));
    assert!(matches!(log.state(2), Some(ObjectState::Destroyed(_))));
    assert_eq!(log.state(1), Some(ObjectState::Live(1)), "the other stream's range is left");
    log.send(Command::DeleteTopic { id: TopicId([1; 16]) });
    assert!((1..=4).all(|id| matches!(log.state(id), Some(ObjectState::Destroyed(_)))));
}

#[test]
fn producer_ids_are_leased_once() {
    let mut log = Log::with_topic();
    let leased = |first, count| Answer::LeasedProducers { first: ProducerId(first), count };
    assert_eq!(log.send(Command::LeaseProducers { count: 5 }), leased(0, 5));
    assert_eq!(log.send(Command::LeaseProducers { count: 1 }), leased(5, 1));
    for count in [0, bounds::LEASE + 1] {
        assert_eq!(log.refused(Command::LeaseProducers { count }), Refusal::Invalid);
    }
}
