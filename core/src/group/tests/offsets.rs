//! Offsets: kept, deleted, expired; and the log that keeps them, written again.

use super::world::{Durability, GROUP, STREAM, World, dynamic};
use crate::group::{Name, Out, Reply, partition_of};
use crate::kafka::ErrorCode;
use crate::limits::Limits;
use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn keep(world: &mut World, topic: &str, offset: i64) {
    let number = world.commit_in(topic, "", -1, offset);
    assert_eq!(world.committed(number), Some(ErrorCode::None));
}

fn delete_group(world: &mut World) -> ErrorCode {
    let asked = world.asked(2);
    let mut out = Out::default();
    world.coordinator.delete(world.now, asked, vec![GROUP.into(), GROUP.into()], &mut out);
    world.take(out);
    match world.replies.remove(&asked.number) {
        Some(Reply::DeleteGroups(groups)) => {
            assert_eq!(groups.len(), 1, "a group is answered once");
            groups[0].1
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_group_belongs_where_java_says() {
    assert_eq!(partition_of("", 50), 0);
    // "polygenelubricants".hashCode() is Integer.MIN_VALUE.
    assert_eq!(partition_of("polygenelubricants", 50), 0);
    assert_eq!(partition_of("a", 50), 97 % 50);
    assert_eq!(partition_of("test-group", 50), 12);
}

#[test]
fn what_is_committed_survives() {
    let mut world = World::new();
    keep(&mut world, "t", 5);
    keep(&mut world, "t", 3);
    world.restart();
    assert_eq!(world.offset(), Some(3), "a consumer may go back, a crash may not");
}

#[test]
fn a_commit_that_is_not_durable_counts_for_nothing_after_a_crash() {
    let mut world = World::new();
    keep(&mut world, "t", 5);
    world.durability = Durability::WhenTold;
    let number = world.commit("", -1, 9);
    assert_eq!(world.committed(number), None);
    world.restart();
    assert_eq!(world.offset(), Some(5));
}

#[test]
fn live_keys_are_written_again_and_the_rest_is_cut_off() {
    let limits = Limits { group_log_garbage: 4_000, batch: 2_000, ..Limits::default() };
    let mut world = World::with(limits);
    let topics: Vec<alloc::string::String> = (0..20).map(|at| alloc::format!("topic-{at}")).collect();
    let mut most = 0;
    for round in 0..200 {
        keep(&mut world, &topics[round % 7], round as i64);
        most = most.max(world.logged());
    }
    assert!(world.start.0 > 0, "the log was cut off");
    assert!(most < 12_000, "{most} bytes");
    for restarted in [false, true] {
        if restarted {
            world.restart();
        }
        for (at, topic) in topics.iter().enumerate() {
            let last = (0..200).rev().find(|round| round % 7 == at);
            assert_eq!(world.offset_in(topic), last.map(|round| round as i64), "{topic}");
        }
    }
    assert!(world.coordinator.is_quiescent());
}

#[test]
fn what_is_on_its_way_is_not_hidden_by_what_is_written_again() {
    let limits = Limits { group_log_garbage: 400, ..Limits::default() };
    let mut world = World::with(limits);
    keep(&mut world, "t", 1);
    world.durability = Durability::WhenTold;
    let numbers: Vec<_> = (2..12).map(|offset| world.commit("", -1, offset)).collect();
    while world.persist() {}
    for number in numbers {
        assert_eq!(world.committed(number), Some(ErrorCode::None));
    }
    world.restart();
    assert_eq!(world.offset(), Some(11));
}

#[test]
fn a_group_that_is_deleted_is_gone_with_what_was_on_its_way() {
    let mut world = World::new();
    keep(&mut world, "t", 1);
    let (member, _) = world.stable();
    assert_eq!(delete_group(&mut world), ErrorCode::NonEmptyGroup);
    world.leave(&[(&member, None)]);
    world.durability = Durability::WhenTold;
    world.commit_in("other", "", -1, 7);
    let asked = world.asked(2);
    let mut out = Out::default();
    world.coordinator.delete(world.now, asked, vec![GROUP.into()], &mut out);
    world.take(out);
    let number = world.commit("", -1, 7);
    assert_eq!(world.committed(number), Some(ErrorCode::CoordinatorNotAvailable), "it is being deleted");
    while world.persist() {}
    assert_eq!(world.state(), "Dead");
    world.durability = Durability::AtOnce;
    world.restart();
    assert_eq!((world.offset(), world.offset_in("other"), world.state()), (None, None, "Dead"));
    assert_eq!(delete_group(&mut world), ErrorCode::GroupIdNotFound);
}

#[test]
fn offsets_go_with_their_topic() {
    let mut world = World::new();
    keep(&mut world, "t", 1);
    keep(&mut world, "other", 2);
    world.durability = Durability::WhenTold;
    world.commit("", -1, 3);
    let mut out = Out::default();
    world.coordinator.topics_deleted(world.now, &BTreeSet::from([Name::from("t")]), &mut out);
    world.take(out);
    while world.persist() {}
    assert_eq!((world.offset(), world.offset_in("other")), (None, Some(2)));
    world.restart();
    assert_eq!((world.offset(), world.offset_in("other")), (None, Some(2)));
}

#[test]
fn offsets_of_what_is_consumed_can_not_be_deleted() {
    let mut world = World::new();
    keep(&mut world, "t", 1);
    keep(&mut world, "other", 2);
    let (member, _) = world.stable();
    let delete = |world: &mut World| {
        let asked = world.asked(0);
        let mut out = Out::default();
        let lines = vec![("t".into(), vec![(0, false)]), ("other".into(), vec![(0, false), (9, true)])];
        world.coordinator.delete_offsets(world.now, asked, GROUP, lines, &mut out);
        world.take(out);
        match world.replies.remove(&asked.number) {
            Some(Reply::DeleteOffsets(code, topics)) => {
                (code, topics.into_iter().flat_map(|(_, lines)| lines).map(|(_, code)| code).collect::<Vec<_>>())
            }
            other => panic!("{other:?}"),
        }
    };
    let (none, unknown) = (ErrorCode::None, ErrorCode::UnknownTopicOrPartition);
    assert_eq!(delete(&mut world), (none, vec![ErrorCode::GroupSubscribedToTopic, none, unknown]));
    assert_eq!((world.offset(), world.offset_in("other")), (Some(1), None));
    world.leave(&[(&member, None)]);
    assert_eq!(delete(&mut world), (none, vec![none, none, unknown]));
    assert_eq!(world.offset(), None);
}

#[test]
fn offsets_expire_a_week_after_the_last_member_left() {
    let mut world = World::new();
    let (member, generation) = world.stable();
    let number = world.commit(&member, generation, 1);
    assert_eq!(world.committed(number), Some(ErrorCode::None));
    for _ in 0..(8 * 24 * 3600 / 9) {
        world.pass(Duration::from_secs(9));
        world.heartbeat(&member, generation);
    }
    assert_eq!(world.offset(), Some(1), "a group with members keeps what it consumes");
    world.leave(&[(&member, None)]);
    world.pass(DAY * 7 - Duration::from_secs(1_000));
    assert_eq!(world.offset(), Some(1));
    world.pass(Duration::from_secs(1_000));
    assert_eq!(world.offset(), None);
    world.pass(DAY);
    assert_eq!(world.state(), "Dead");
    world.restart();
    assert_eq!((world.offset(), world.state()), (None, "Dead"));
}

#[test]
fn a_jump_of_the_clock_expires_nothing() {
    let mut world = World::new();
    keep(&mut world, "t", 1);
    world.now.wall.0 += 1_000 * 24 * 3600 * 1_000;
    world.pass(DAY);
    assert_eq!(world.offset(), Some(1));
    world.restart();
    world.pass(DAY * 6);
    assert_eq!(world.offset(), Some(1), "nor does a start");
    world.pass(DAY);
    assert_eq!(world.offset(), None);
}

#[test]
fn a_commit_in_flight_is_not_deleted_by_the_expiry_of_the_one_before() {
    let mut world = World::new();
    keep(&mut world, "t", 1);
    world.pass(DAY * 6);
    world.durability = Durability::WhenTold;
    world.commit("", -1, 2);
    world.pass(DAY * 2);
    while world.persist() {}
    assert_eq!(world.offset(), Some(2));
    world.restart();
    assert_eq!(world.offset(), Some(2));
}

#[test]
fn members_join_while_offsets_wait() {
    let mut world = World::new();
    world.durability = Durability::WhenTold;
    world.commit("", -1, 2);
    let number = world.join(3, dynamic(""));
    assert_eq!(world.coming(), 2);
    while world.persist() {}
    assert!(world.joined(number).is_some());
    assert_eq!(STREAM.0, 9);
}

#[test]
fn a_failed_log_is_heard_in_any_order_and_nobody_waits_for_it() {
    let mut world = World::new();
    let (member, generation) = world.stable();
    world.durability = Durability::WhenTold;
    let commits: Vec<_> = (1..=3).map(|offset| world.commit(&member, generation, offset)).collect();
    world.fail();
    for number in commits {
        assert_ne!(world.committed(number).expect("answered"), ErrorCode::None);
    }
    assert_eq!(world.offset(), None);
}
