use super::{Head, Name, Segment, Snapshot, Writer, fold};
use crate::controller::NodeCommand;
use crate::envelope::DecodeError;
use crate::id::{
    ClusterId, CommandSeq, CutNumber, FeatureLevel, Incarnation, Lsn, NodeEpoch, NodeId, ObjectId, Offset, Seq,
    StreamEpoch, StreamId, Term, TopicId, WalUuid,
};
use crate::machine::{Rng, WallTime};
use crate::metadata::FEATURE_LEVEL;
use crate::metadata::{
    CleanupPolicy, Command, Commit, CommitObject, CommitRange, CommitState, CompactedObject, CompactedRange,
    CompactedState, Compaction, ConfigName, ConfigNames, ConfigPatch, Entry, Image, InertName, NewTopic, RegisteredWal,
    StateKind, TimestampType, TopicConfigs, TopicName, WalKind,
};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;

const CLUSTER: ClusterId = ClusterId([0xc1; 16]);

/// A log with every kind of command and answer in it.
fn entries() -> Vec<Entry> {
    let ring = WalUuid([0x21; 16]);
    let range = |stream, end| CommitRange {
        stream: StreamId(stream),
        epoch: StreamEpoch(1),
        start: Offset(0),
        end: Offset(end),
        max_timestamp: WallTime(1_700_000_000_123),
        bytes: 777,
        producers: (stream == 1).then_some(CommitState { kind: StateKind::Range, at: 0x300, len: 99 }),
    };
    let ranges = vec![range(1, 10), range(2, 20)];
    let commit = Commit {
        epoch: NodeEpoch(1),
        recovery: None,
        number: CutNumber(1),
        lsn: Lsn(8192),
        objects: vec![
            CommitObject { id: ObjectId(1), size: 4096, ranges },
            CommitObject { id: ObjectId(2), size: 100, ranges: vec![range(3, 5)] },
        ],
    };
    let mut configs = TopicConfigs::default();
    for (name, value) in [
        (ConfigName::RetentionTime, "-1"),
        (ConfigName::RetentionBytes, "1000"),
        (ConfigName::MaxMessageBytes, "2000"),
        (ConfigName::TimestampType, "CreateTime"),
        (ConfigName::TimestampBeforeMax, "3000"),
        (ConfigName::TimestampAfterMax, "4000"),
        (ConfigName::CompressionType, "zstd"),
        (ConfigName::CleanupPolicy, "compact"),
        (ConfigName::MinInsyncReplicas, "2"),
        (ConfigName::Inert(InertName::SegmentBytes), "52428800"),
        (ConfigName::Inert(InertName::DirtyRatio), "0.25"),
    ] {
        configs.set(name, value).expect("legal");
    }
    let topic = |id, name, partitions| {
        let name = TopicName::parse(name).expect("legal");
        Command::CreateTopic(NewTopic { id: TopicId([id; 16]), name, partitions, configs: configs.clone() })
    };
    let patch = ConfigPatch {
        clear: ConfigNames::NONE.with(ConfigName::RetentionTime).with(ConfigName::Inert(InertName::DirtyRatio)),
        set: TopicConfigs { timestamp_type: Some(TimestampType::LogAppendTime), ..TopicConfigs::default() },
        append: CleanupPolicy::DELETE,
        subtract: CleanupPolicy::NONE,
    };
    let register = |wal, give_up| Command::Register { wal, host: "broker-1.example".into(), port: 9092, give_up };
    let held = RegisteredWal { uuid: ring, epoch: NodeEpoch(1), trim: Lsn(4096) };
    let commands = [
        (1, 0, 1, register(None, None)),
        (1, 1, 2, Command::NameWal { uuid: ring, kind: WalKind::Ring }),
        (1, 1, 3, topic(0x71, "orders", 2)),
        (1, 1, 4, topic(0x72, "gone", 1)),
        (1, 1, 5, Command::LeaseObjects { count: 4 }),
        (1, 1, 6, Command::Commit(commit)),
        (1, 1, 7, Command::TrimStream { stream: StreamId(1), epoch: StreamEpoch(1), start: Offset(3) }),
        (1, 1, 8, Command::GrowTopic { id: TopicId([0x71; 16]), partitions: 3 }),
        (1, 1, 9, Command::DeleteTopic { id: TopicId([0x72; 16]) }),
        (1, 1, 10, Command::ForgetObjects { ids: vec![ObjectId(2)] }),
        (1, 1, 11, Command::ForgetObjects { ids: vec![ObjectId(1)] }),
        (1, 1, 13, Command::OpenStreams),
        (2, 0, 1, register(Some(held), None)),
        (2, 2, 2, Command::ConfigureTopic { id: TopicId([0x71; 16]), patch }),
        (2, 2, 3, Command::EndRecovery { number: crate::id::RecoveryNumber(13) }),
        (2, 2, 4, Command::NameWal { uuid: WalUuid([0x22; 16]), kind: WalKind::Objects }),
        (2, 2, 5, Command::OpenStreams),
        (2, 2, 6, topic(0x73, "orders", 1)),
        (2, 2, 7, Command::LeaseProducers { count: 5 }),
        (2, 2, 8, Command::LeaseObjects { count: 2 }),
        (2, 2, 9, Command::Compact(compaction())),
        (2, 2, 10, Command::AbandonObjects { ids: vec![ObjectId(6)] }),
        (3, 0, 1, register(None, Some(WalUuid([0x22; 16])))),
        (3, 3, 2, Command::LeaseObjects { count: 1 }),
        (3, 3, 3, Command::CloseStreams),
    ];
    let entry = |(seq, (run, epoch, number, command))| Entry {
        seq: Seq(seq),
        at: WallTime(1_700_000_000_000 + seq as i64),
        by: NodeCommand {
            node: NodeId(1),
            incarnation: Incarnation([run; 16]),
            epoch: NodeEpoch(epoch),
            seq: CommandSeq(number),
            confirmed: CommandSeq(number.saturating_sub(2)),
            command: Box::new(command),
        },
    };
    (1..).zip(commands).map(entry).collect()
}

/// Object 1 is rewritten as object 5.
fn compaction() -> Compaction {
    let range =
        |stream, end| CompactedRange { stream: StreamId(stream), start: Offset(0), end: Offset(end), bytes: 777 };
    let states = vec![CompactedState { stream: StreamId(1), end: Offset(10), at: 0x280, len: 99 }];
    let result = CompactedObject { id: ObjectId(5), size: 3000, ranges: vec![range(1, 10), range(2, 20)], states };
    Compaction { inputs: vec![ObjectId(1)], results: vec![result] }
}

pub(in crate::controller) fn name(term: u64, seq: u64) -> Name {
    Name { term: Term(term), seq: Seq(seq), nonce: 0x0123_4567_89ab_cdef }
}

pub(in crate::controller) fn image(upto: usize) -> Image {
    let mut image = Image::new(CLUSTER, FeatureLevel(1));
    fold(&mut image, &entries()[..upto]).expect("dense");
    image.invariants();
    image
}

pub(in crate::controller) fn segment() -> Segment {
    Segment { cluster: CLUSTER, name: name(2, 12), entries: entries()[6..12].to_vec() }
}

pub(in crate::controller) fn head() -> Head {
    let writer = Writer {
        node: NodeId(1),
        epoch: NodeEpoch(2),
        incarnation: Incarnation([2; 16]),
        nonce: 0xfedc_ba98_7654_3210,
    };
    let inline = entries()[12..].to_vec();
    let (snapshot, segments) = (Some(name(1, 6)), vec![name(2, 12)]);
    let (feature_level, term, last) = (FeatureLevel(1), Term(3), Seq(25));
    Head { cluster: CLUSTER, feature_level, term, writer, last, snapshot, segments, inline }
}

fn assert_golden(what: &str, golden: &[u8], written: &Bytes) {
    let hex: String = written.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(golden == &**written, "GOLDEN {what} {hex}");
}

#[test]
fn version_1_stays_as_it_is() {
    let golden_head = include_bytes!("../../../../fixtures/metadata/v1/head.bin");
    let golden_segment = include_bytes!("../../../../fixtures/metadata/v1/segment.bin");
    let golden_snapshot = include_bytes!("../../../../fixtures/metadata/v1/snapshot.bin");
    assert_golden("head", golden_head, &head().encode());
    assert_golden("segment", golden_segment, &segment().encode());
    assert_golden("snapshot", golden_snapshot, &Snapshot::encode(name(1, 6), &image(6)));

    let head = Head::decode(&Bytes::from_static(golden_head)).expect("golden");
    let mut folded = Snapshot::decode(&Bytes::from_static(golden_snapshot), CLUSTER, name(1, 6)).expect("golden");
    let segment = Segment::decode(&Bytes::from_static(golden_segment), CLUSTER, name(2, 12)).expect("golden");
    fold(&mut folded, &segment.entries).expect("dense");
    fold(&mut folded, &head.inline).expect("dense");
    assert_eq!(folded, image(25));
}

#[test]
fn what_belongs_elsewhere_is_foreign() {
    let bytes = segment().encode();
    assert_eq!(Segment::decode(&bytes, ClusterId([0; 16]), name(2, 12)), Err(DecodeError::Foreign));
    assert_eq!(Segment::decode(&bytes, CLUSTER, name(1, 12)), Err(DecodeError::Foreign));
    assert_eq!(Head::decode(&bytes), Err(DecodeError::Foreign));
    let bytes = Snapshot::encode(name(1, 6), &image(6));
    assert_eq!(Snapshot::decode(&bytes, CLUSTER, name(1, 7)), Err(DecodeError::Foreign));
    let misnamed = Snapshot::encode(name(1, 7), &image(6));
    assert_eq!(Snapshot::decode(&misnamed, CLUSTER, name(1, 7)), Err(DecodeError::Malformed));
}

#[test]
fn a_head_that_does_not_fold_is_malformed() {
    let broken: [fn(&mut Head); 6] = [
        |head| head.last = Seq(23),
        |head| drop(head.inline.remove(2)),
        |head| head.segments.clear(),
        |head| head.segments.insert(0, name(2, 6)),
        |head| head.term = Term(1),
        |head| head.segments[0].term = Term(4),
    ];
    for breaks in broken {
        let mut head = head();
        breaks(&mut head);
        assert_eq!(Head::decode(&head.encode()), Err(DecodeError::Malformed));
    }
    let mut later = head();
    later.feature_level = FeatureLevel(FEATURE_LEVEL.0 + 1);
    assert_eq!(Head::decode(&later.encode()), Err(DecodeError::Unsupported));
}

#[test]
fn damaged_objects_are_errors() {
    let mut rng = Rng::new(3);
    let objects = [head().encode(), segment().encode(), Snapshot::encode(name(1, 6), &image(6))];
    for _ in 0..5000 {
        let mut bytes = rng.pick(&objects).expect("three").to_vec();
        let at = rng.below(bytes.len() as u64) as usize;
        if rng.chance(1, 4) {
            bytes.truncate(at);
        } else {
            bytes[at] ^= 1 << rng.below(8);
        }
        let bytes = Bytes::from(bytes);
        assert!(Head::decode(&bytes).is_err());
        assert!(Segment::decode(&bytes, CLUSTER, name(2, 12)).is_err());
        assert!(Snapshot::decode(&bytes, CLUSTER, name(1, 6)).is_err());
    }
}

#[test]
fn names_are_read_as_they_are_written() {
    let name = name(7, 300);
    assert_eq!(name.segment().0, "meta/segment/0000000000000007-000000000000012c-0123456789abcdef");
    assert_eq!(Name::parse("meta/segment/", &name.segment()), Some(name));
    for other in ["meta/segment/7-12c-1", "meta/segment/", "meta/head", "meta/segment/x-y-z", "meta/snapshot/1"] {
        assert_eq!(Name::parse("meta/segment/", &other.into()), None);
    }
}
