//! What is merged, what is split, and that it ends.

use super::model::{MIB, Model, rules};
use crate::compaction::check::check;
use crate::compaction::{Kind, Rules};
use crate::id::{ObjectId, Offset, StreamId};
use crate::machine::Rng;
use crate::metadata::{
    Answer, CleanupPolicy, Command, Compaction, Millis, ObjectState, Refusal, StateKind, TopicConfigs,
};
use alloc::vec::Vec;

const KIB: u64 = 1 << 10;

/// Records that stay.
fn kept() -> TopicConfigs {
    TopicConfigs { cleanup_policy: Some(CleanupPolicy::NONE), ..TopicConfigs::default() }
}

/// One topic of so many streams, and as many cuts of a kilobyte each.
fn small(streams: u32, cuts: usize) -> (Model, StreamId) {
    let mut model = Model::new(rules());
    let (_, first) = model.topic(streams, kept());
    for _ in 0..cuts {
        let all: Vec<_> = (0..u64::from(streams)).map(|at| (StreamId(first.0 + at), KIB, None)).collect();
        model.cut(&all);
    }
    (model, first)
}

#[test]
fn neighbours_in_time_become_one_object_and_contiguous_ranges_one_range() {
    let (mut model, first) = small(3, 3);
    assert_eq!(model.plan(), None, "three are not enough");
    let (mut model2, _) = small(3, 4);
    let plan = model2.plan().expect("four are");
    assert_eq!((plan.kind, plan.inputs().count(), plan.results()), (Kind::Merge, 4, 1));
    model2.compact_all();
    assert_eq!(model2.live(), 1);
    let stream = &model2.image.streams[&first];
    let (start, range) = stream.ranges.first_key_value().expect("it has one");
    assert_eq!((stream.ranges.len(), *start, range.end, range.bytes), (1, Offset(0), stream.end, 4 * KIB));
    model.compact_all();
    assert_eq!(model.live(), 3);
}

#[test]
fn a_large_run_gets_an_object_of_its_own_and_those_are_gathered() {
    let mut model = Model::new(rules());
    let (_, first) = model.topic(2, kept());
    for _ in 0..4 {
        model.cut(&[(first, 3 * MIB, None), (StreamId(first.0 + 1), KIB, None)]);
    }
    let plan = model.plan().expect("four shared objects");
    assert_eq!((plan.kind, plan.results()), (Kind::Merge, 2), "12 MiB of one stream stand alone");
    model.compact_all();
    assert_eq!((model.live(), model.plan()), (2, None));
    for _ in 0..3 {
        model.cut(&[(first, 12 * MIB, None)]);
    }
    let plan = model.plan().expect("four stream objects of the same size");
    assert_eq!((plan.kind, plan.inputs().count(), plan.results()), (Kind::Gather, 4, 1));
    model.compact_all();
    assert_eq!(model.image.streams[&first].ranges.len(), 1);
    // Up to the limit.
    for _ in 0..40 {
        model.cut(&[(first, 12 * MIB, None)]);
        model.compact_all();
    }
    let ranges = &model.image.streams[&first].ranges;
    assert!(ranges.values().all(|range| range.bytes <= 64 * MIB), "{ranges:?}");
    assert!((9..20).contains(&ranges.len()), "528 MiB in {} objects", ranges.len());
}

#[test]
fn records_that_were_shared_for_long_get_objects_of_their_own_and_those_that_fit_are_not_rewritten_again() {
    let (mut model, first) = small(5, 2);
    model.now += 3_599_000;
    assert_eq!(model.plan(), None);
    model.now += 2_000;
    let plan = model.plan().expect("they are old");
    assert_eq!((plan.kind, plan.inputs().count(), plan.results()), (Kind::ForceSplit, 2, 5));
    model.compact_all();
    assert_eq!(model.live(), 5);
    assert!((0..5).all(|at| model.image.streams[&StreamId(first.0 + at)].ranges.len() == 1));
    model.now += 1_000_000_000;
    assert_eq!(model.plan(), None);
}

#[test]
fn merging_does_not_make_records_younger() {
    let (mut model, _) = small(2, 4);
    model.now += 3_000_000;
    model.compact_all();
    model.now += 700_000;
    assert_eq!(model.plan().map(|plan| plan.kind), Some(Kind::ForceSplit));
}

#[test]
fn what_is_mostly_deleted_is_rewritten() {
    let mut model = Model::new(rules());
    let (doomed, first) = model.topic(1, kept());
    let (_, second) = model.topic(2, kept());
    model.cut(&[(first, 2 * MIB, None), (second, MIB, None), (StreamId(second.0 + 1), 10, None)]);
    assert_eq!(model.plan(), None);
    assert_eq!(model.send(Command::DeleteTopic { id: doomed }), Answer::Done);
    let plan = model.plan().expect("two of three megabytes are garbage");
    assert_eq!((plan.kind, plan.results()), (Kind::Clean, 1));
    model.compact_all();
    assert_eq!(model.image.objects.values().map(|object| object.size).max(), Some(MIB + 10 + 300));
}

#[test]
fn ranges_that_retention_lets_go_at_different_times_stay_apart() {
    const HOUR: i64 = 3_600_000;
    let mut model = Model::new(Rules { force_split: core::time::Duration::from_secs(1_000_000), ..rules() });
    let configs = TopicConfigs { retention_time: Some(Millis(8 * HOUR)), ..TopicConfigs::default() };
    let (_, first) = model.topic(1, configs);
    for _ in 0..40 {
        model.cut(&[(first, 10 * MIB, None)]);
        model.now += HOUR / 4;
        model.compact_all();
    }
    let ranges = model.image.streams[&first].ranges.len();
    assert!((10..=20).contains(&ranges), "ten hours are in {ranges} ranges");
    let spans = model.image.streams[&first].ranges.values().map(|range| range.bytes / (10 * MIB));
    assert!(spans.into_iter().all(|quarters| quarters <= 4), "none spans more than an hour");
}

#[test]
fn state_blocks_move_along_also_where_their_records_are_gone() {
    let mut model = Model::new(rules());
    let (_, first) = model.topic(2, kept());
    let second = StreamId(first.0 + 1);
    for _ in 0..2 {
        model.cut(&[(first, KIB, Some(StateKind::Range)), (second, KIB, None)]);
    }
    model.trim(first, model.image.streams[&first].end);
    for _ in 0..2 {
        model.cut(&[(second, KIB, Some(StateKind::Log)), (first, 10, Some(StateKind::Range))]);
    }
    model.compact_all();
    assert_eq!(model.live(), 1);
    let states = |stream| model.image.streams[&stream].producers.len();
    assert_eq!((states(first), states(second)), (4, 1));
}

/// Makes a sound command wrong.
type Break = fn(&mut Compaction);

/// Commands that are wrong in one way each.
#[test]
fn the_controller_takes_nothing_on_trust() {
    let (mut model, first) = small(2, 4);
    model.cut(&[(first, 20, Some(StateKind::Range)), (StreamId(first.0 + 1), 20, None)]);
    let plan = model.plan().expect("five objects");
    let sound = model.written(&plan);
    assert_eq!(check(&plan, &sound.results), Ok(()));
    let breaks: [(&str, Break); 9] = [
        ("an input is not named", |c| c.inputs.truncate(4)),
        ("a range is missing", |c| c.results[0].ranges.truncate(1)),
        ("a range is shorter", |c| c.results[0].ranges[0].end.0 -= 1),
        ("a range begins later", |c| c.results[0].ranges[1].start.0 += 1),
        ("bytes are missing", |c| c.results[0].ranges[1].bytes -= 1),
        ("a range is twice", |c| {
            c.results
                .push(crate::metadata::CompactedObject { id: ObjectId(c.results[0].id.0 + 1), ..c.results[0].clone() })
        }),
        ("a state block is missing", |c| c.results[0].states.clear()),
        ("a state block is twice", |c| {
            let state = c.results[0].states[0];
            c.results[0].states.push(state);
        }),
        ("a range of another stream", |c| c.results[0].ranges[0].stream.0 += 1),
    ];
    model.lease(1);
    for (why, break_it) in breaks {
        let mut broken = sound.clone();
        break_it(&mut broken);
        let mut refused = model.clone();
        assert!(matches!(refused.send(Command::Compact(broken.clone())), Answer::Refused(_)), "{why}");
        if why != "an input is not named" {
            assert!(check(&plan, &broken.results).is_err(), "{why}");
        }
        assert_eq!(refused.image.streams, model.image.streams, "{why}");
        assert_eq!(refused.image.objects, model.image.objects, "{why}");
    }
    let twice = model.clone();
    assert_eq!(model.send(Command::Compact(sound.clone())), Answer::Done);
    // Somebody else has rewritten the same objects meanwhile.
    let mut late = sound.clone();
    late.results[0].id = ObjectId(sound.results[0].id.0 + 1);
    assert!(matches!(model.send(Command::Compact(late)), Answer::Refused(Refusal::NotCovered { .. })));
    drop(twice);
}

#[test]
fn what_was_trimmed_or_deleted_meanwhile_is_dropped() {
    let mut model = Model::new(rules());
    let (doomed, first) = model.topic(1, kept());
    let (_, second) = model.topic(2, kept());
    for _ in 0..4 {
        model.cut(&[(first, 100, Some(StateKind::Range)), (second, 100, None), (StreamId(second.0 + 1), 100, None)]);
    }
    let plan = model.plan().expect("four objects");
    let compaction = model.written(&plan);
    let result = compaction.results[0].id;
    assert_eq!(model.send(Command::DeleteTopic { id: doomed }), Answer::Done);
    model.trim(second, Offset(15));
    model.trim(StreamId(second.0 + 1), Offset(40));
    let mut gone = model.clone();
    assert_eq!(model.send(Command::Compact(compaction.clone())), Answer::Done);
    let ranges = &model.image.streams[&second].ranges;
    assert_eq!(ranges.iter().map(|(start, range)| (start.0, range.end.0)).collect::<Vec<_>>(), [(10, 40)]);
    assert_eq!(ranges.values().map(|range| range.bytes).collect::<Vec<_>>(), [300], "of three cuts");
    assert_eq!(model.image.objects[&result].state, ObjectState::Live(1));
    assert!(compaction.inputs.iter().all(|id| matches!(model.image.objects[id].state, ObjectState::Destroyed(_))));

    gone.trim(second, Offset(40));
    gone.forget_destroyed();
    assert_eq!(gone.send(Command::Compact(compaction)), Answer::Done, "nothing is left of it");
    assert!(matches!(gone.image.objects[&result].state, ObjectState::Destroyed(_)));
}

#[test]
fn what_is_given_up_is_destroyed_and_only_what_is_leased_can_be() {
    let (mut model, _) = small(2, 1);
    let first = model.lease(2);
    assert_eq!(model.send(Command::AbandonObjects { ids: [first].into() }), Answer::Done);
    assert!(matches!(model.image.objects[&first].state, ObjectState::Destroyed(_)));
    let live = model.image.objects.iter().find(|(_, object)| matches!(object.state, ObjectState::Live(_)));
    let live = *live.expect("a cut").0;
    for id in [first, live, ObjectId(1 << 40)] {
        let refused = model.send(Command::AbandonObjects { ids: [ObjectId(first.0 + 1), id].into() });
        assert_eq!(refused, Answer::Refused(Refusal::NotLeased { id }));
    }
    assert!(matches!(model.image.objects[&ObjectId(first.0 + 1)].state, ObjectState::Leased(..)), "all or nothing");
}

/// Whatever is cut, trimmed and deleted: plans are sound, and there is an end to them.
#[test]
fn it_ends_and_few_objects_are_left() {
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let object = 1 << rng.between(12, 24);
        let mut model = Model::new(Rules {
            fan_in: rng.between(2, 6) as usize,
            object,
            split: 1 << rng.between(9, 22),
            force_split: core::time::Duration::from_secs(rng.between(10, 1_000)),
            data_block: 1 << rng.between(8, 16),
        });
        let mut topics = Vec::new();
        for _ in 0..rng.between(1, 4) {
            let retention = rng.chance(1, 2).then(|| Millis(rng.between(1, 10_000_000) as i64));
            let configs = TopicConfigs { retention_time: retention, ..kept() };
            topics.push(model.topic(rng.between(1, 5) as u32, configs));
        }
        for _ in 0..rng.between(10, 80) {
            model.now += rng.below(100_000) as i64;
            let streams: Vec<StreamId> = model.image.streams.keys().copied().collect();
            let mut parts = Vec::new();
            for stream in &streams {
                if rng.chance(2, 3) {
                    let kind = *rng.pick(&[None, None, Some(StateKind::Range), Some(StateKind::Log)]).expect("four");
                    let most = 1 << rng.between(4, 20);
                    parts.push((*stream, rng.between(1, most), kind));
                }
            }
            model.cut(&parts);
            if rng.chance(1, 5)
                && let Some(stream) = rng.pick(&streams)
            {
                let end = model.image.streams[stream].end.0;
                model.trim(*stream, Offset(rng.below(end + 1)));
            }
            if rng.chance(1, 40) && topics.len() > 1 {
                let (id, _) = topics.pop().expect("two of them");
                assert_eq!(model.send(Command::DeleteTopic { id }), Answer::Done);
            }
            if rng.chance(1, 3) {
                model.compact_all();
            }
        }
        model.compact_all();
        for (id, stream) in &model.image.streams {
            let bytes: u64 = stream.ranges.values().map(|range| range.bytes).sum();
            let most = (bytes / object + 2) * (model.rules.fan_in as u64 + 2) * 12;
            assert!((stream.ranges.len() as u64) < most, "seed {seed}: {id} has {} ranges", stream.ranges.len());
        }
    }
}
