//! Members: who joins when, who leads, who is thrown out.

use super::world::{Durability, GROUP, NEWEST, World, dynamic, instance};
use crate::group::{Join, Name};
use crate::kafka::ErrorCode;
use crate::limits::Limits;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Two members with assignments, the leader first, and their generation.
fn two(world: &mut World) -> (Name, Name, i32) {
    let (first, _) = world.stable();
    let second = world.join(3, dynamic(""));
    assert_eq!(world.heartbeat(&first, 1), ErrorCode::RebalanceInProgress);
    let again = world.join(3, dynamic(&first));
    let first = world.joined(again).expect("all are here");
    let second = world.joined(second).expect("all are here");
    assert_eq!((first.generation, second.generation, &first.leader), (2, 2, &first.member));
    assert_eq!((first.members.len(), second.members.len()), (2, 0), "only the leader hears of all");
    let waiting = world.sync(&second.member, 2, &[]);
    assert!(world.synced(waiting).is_none(), "the leader has not assigned yet");
    let leads = world.sync(&first.member, 2, &[(&first.member, "a"), (&second.member, "b")]);
    assert_eq!(world.synced(leads).expect("durable").assignment, "a");
    let waited = world.synced(waiting).map(|reply| reply.assignment);
    assert_eq!(waited.as_deref(), Some(&b"b"[..]));
    assert_eq!(world.state(), "Stable");
    (first.member, second.member, 2)
}

#[test]
fn the_first_rebalance_waits_for_more_members_and_longer_as_long_as_they_come() {
    let mut world = World::with(Limits::default());
    let first = world.join(3, dynamic(""));
    world.pass(secs(2));
    let second = world.join(3, dynamic(""));
    world.pass(secs(1));
    assert!(world.joined(first).is_none(), "somebody came: another 3 s");
    world.pass(secs(2));
    assert!(world.joined(first).is_none());
    world.pass(secs(1));
    let (first, second) = (world.joined(first).expect("in time"), world.joined(second).expect("in time"));
    assert_eq!((first.generation, second.generation), (1, 1));
    assert_eq!(first.members.len() + second.members.len(), 2);
}

#[test]
fn a_member_must_come_back_with_the_id_that_it_is_given_in_time() {
    let mut world = World::new();
    let number = world.join(4, dynamic(""));
    let given = world.joined(number).expect("at once");
    assert_eq!((given.error, given.generation), (ErrorCode::MemberIdRequired, -1));
    let number = world.join(4, dynamic(&given.member));
    assert_eq!(world.joined(number).expect("alone").error, ErrorCode::None);
    // One that does not come back holds up the next rebalance until its session ends.
    let number = world.join(4, dynamic(""));
    world.joined(number).expect("at once");
    let again = world.join(4, Join { session: secs(20), ..dynamic(&given.member) });
    assert!(world.joined(again).is_some(), "it is the leader, and nobody else is known");
    let number = world.join(4, dynamic("never-given"));
    assert_eq!(world.joined(number).expect("at once").error, ErrorCode::UnknownMemberId);
}

#[test]
fn an_id_that_nobody_came_back_with_is_forgotten_and_the_group_with_it() {
    let mut world = World::new();
    let number = world.join(4, dynamic(""));
    let given = world.joined(number).expect("at once").member;
    world.pass(secs(10));
    assert_eq!(world.state(), "Dead");
    let number = world.join(4, dynamic(&given));
    assert_eq!(world.joined(number).expect("at once").error, ErrorCode::UnknownMemberId);
    assert_eq!(world.records(), 0);
}

#[test]
fn nobody_hears_of_what_is_not_durable() {
    let mut world = World::new();
    world.durability = Durability::WhenTold;
    let join = world.join(3, dynamic(""));
    assert!(world.joined(join).is_none());
    assert!(world.persist());
    let member = world.joined(join).expect("durable").member;
    let sync = world.sync(&member, 1, &[(&member, "a")]);
    assert!(world.synced(sync).is_none());
    assert_eq!(world.state(), "CompletingRebalance");
    assert!(world.persist());
    assert_eq!(world.synced(sync).expect("durable").assignment, "a");
    let commit = world.commit(&member, 1, 5);
    assert_eq!((world.committed(commit), world.offset()), (None, None));
    assert!(world.persist());
    assert_eq!((world.committed(commit), world.offset()), (Some(ErrorCode::None), Some(5)));
}

#[test]
fn members_go_on_after_a_crash() {
    let mut world = World::new();
    let (first, second, generation) = two(&mut world);
    world.restart();
    assert_eq!(world.heartbeat(&first, generation), ErrorCode::None);
    assert_eq!(world.heartbeat(&second, generation), ErrorCode::None);
    let records = world.records();
    let number = world.sync(&second, generation, &[]);
    assert_eq!(world.synced(number).expect("stable").assignment, "b");
    let number = world.commit(&first, generation, 3);
    assert_eq!(world.committed(number), Some(ErrorCode::None));
    assert_eq!(world.records(), records + 1, "no rebalance");
    // A whole session is theirs, and no more.
    world.pass(secs(9));
    assert_eq!(world.heartbeat(&first, generation), ErrorCode::None);
    world.pass(secs(1));
    assert_eq!(world.heartbeat(&second, generation), ErrorCode::UnknownMemberId);
    assert_eq!(world.heartbeat(&first, generation), ErrorCode::RebalanceInProgress);
}

#[test]
fn a_generation_without_an_assignment_goes_on_waiting_for_it_after_a_crash() {
    let mut world = World::new();
    let (member, generation) = world.member();
    world.restart();
    assert_eq!(world.state(), "CompletingRebalance");
    let number = world.commit(&member, generation, 3);
    assert_eq!(world.committed(number), Some(ErrorCode::RebalanceInProgress));
    let number = world.sync(&member, generation, &[(&member, "all")]);
    assert_eq!(world.synced(number).expect("it leads").assignment, "all");
}

#[test]
fn a_member_that_asks_for_nothing_and_says_nothing_goes() {
    let mut world = World::new();
    let (first, second, _) = two(&mut world);
    // The second does not rejoin: the rebalance waits for it, up to its timeout.
    let third = world.join(3, dynamic(""));
    let again = world.join(3, dynamic(&first));
    for _ in 0..11 {
        world.pass(secs(5));
        world.heartbeat(&second, 2);
        assert!(world.joined(again).is_none());
    }
    world.pass(secs(5));
    assert_eq!(world.joined(again).expect("time is up").generation, 3);
    let third = world.joined(third).expect("time is up").member;
    assert_eq!(world.heartbeat(&second, 2), ErrorCode::UnknownMemberId);
    // The third never asks for its assignment.
    let leads = world.sync(&first, 3, &[(&first, "a"), (&third, "b")]);
    assert!(world.synced(leads).is_some());
    for _ in 0..12 {
        world.pass(secs(5));
        world.heartbeat(&first, 3);
        world.heartbeat(&third, 3);
    }
    assert_eq!(world.heartbeat(&third, 3), ErrorCode::UnknownMemberId);
    assert_eq!(world.heartbeat(&first, 3), ErrorCode::RebalanceInProgress);
}

#[test]
fn who_waits_for_others_lives_and_who_is_silent_does_not() {
    let mut world = World::new();
    let (first, second, generation) = two(&mut world);
    let waits = world.join(3, dynamic(&first));
    world.pass(secs(9));
    assert!(world.joined(waits).is_none());
    world.pass(secs(1));
    let reply = world.joined(waits).expect("the other is gone");
    assert_eq!((reply.generation, reply.members.len()), (generation + 1, 1));
    assert_eq!(world.heartbeat(&second, generation), ErrorCode::UnknownMemberId);
}

#[test]
fn only_members_of_the_current_generation_are_listened_to() {
    let mut world = World::new();
    let (member, generation) = world.stable();
    for wrong in [generation - 1, generation + 1] {
        assert_eq!(world.heartbeat(&member, wrong), ErrorCode::IllegalGeneration);
        let number = world.commit(&member, wrong, 1);
        assert_eq!(world.committed(number), Some(ErrorCode::IllegalGeneration));
        let number = world.sync(&member, wrong, &[]);
        assert_eq!(world.synced(number).expect("at once").error, ErrorCode::IllegalGeneration);
    }
    assert_eq!(world.heartbeat("stranger", generation), ErrorCode::UnknownMemberId);
    let number = world.commit("", -1, 1);
    assert_eq!(world.committed(number), Some(ErrorCode::UnknownMemberId), "the group has members");
    assert_eq!(world.offset(), None);
}

#[test]
fn a_static_member_that_comes_back_moves_nobody() {
    let mut world = World::new();
    let number = world.join(NEWEST, instance("", "one"));
    let first = world.joined(number).expect("alone");
    let number = world.sync(&first.member, 1, &[(&first.member, "all")]);
    world.synced(number).expect("it leads");
    for (version, skips, leader) in [(NEWEST, true, None), (8, false, Some(()))] {
        let before = world.coordinator.describe(GROUP).members[0].id.clone();
        let number = world.join(version, instance("", "one"));
        let reply = world.joined(number).expect("nobody is waited for");
        assert_eq!((reply.error, reply.generation, reply.skip_assignment), (ErrorCode::None, 1, skips));
        assert_eq!(reply.leader == before, leader.is_some(), "before version 9 it may not take itself for the leader");
        assert_ne!(reply.member, before);
        let heard = world.coordinator.heartbeat(world.now, GROUP, (&before, Some("one"), 1));
        assert_eq!(heard, Err(ErrorCode::FencedInstanceId));
        let number = world.sync(&reply.member, 1, &[]);
        assert_eq!(world.synced(number).expect("stable").assignment, "all");
        world.restart();
        assert_eq!(world.heartbeat(&reply.member, 1), ErrorCode::None);
    }
}

#[test]
fn a_static_member_that_comes_back_otherwise_moves_everybody() {
    let mut world = World::new();
    let number = world.join(NEWEST, instance("", "one"));
    let first = world.joined(number).expect("alone");
    let number = world.sync(&first.member, 1, &[(&first.member, "all")]);
    world.synced(number).expect("it leads");
    let protocols = vec![("sticky".into(), "s".into()), ("range".into(), "r".into())];
    let other = Join { protocols, ..instance("", "one") };
    let number = world.join(NEWEST, other);
    let reply = world.joined(number).expect("alone");
    assert_eq!((reply.generation, reply.protocol.as_deref()), (2, Some("sticky")));
}

#[test]
fn the_protocol_is_what_most_prefer_of_what_all_support() {
    let mut world = World::with(Limits::default());
    let with = |names: &[&str]| {
        let protocols = names.iter().map(|name| (Name::from(*name), "x".into()));
        Join { protocols: protocols.collect(), ..dynamic("") }
    };
    let wishes: [&[&str]; 3] = [&["a", "b", "c"], &["c", "b"], &["d", "c", "b"]];
    let numbers: Vec<_> = wishes.iter().map(|names| world.join(3, with(names))).collect();
    let odd = world.join(3, with(&["a"]));
    assert_eq!(world.joined(odd).expect("at once").error, ErrorCode::InconsistentGroupProtocol);
    let odd = world.join(3, Join { protocol_type: "connect".into(), ..with(&["b"]) });
    assert_eq!(world.joined(odd).expect("at once").error, ErrorCode::InconsistentGroupProtocol);
    world.pass(secs(3));
    world.pass(secs(3));
    for number in numbers {
        assert_eq!(world.joined(number).expect("in time").protocol.as_deref(), Some("c"));
    }
}

#[test]
fn sessions_are_bounded_and_groups_have_names() {
    let mut world = World::new();
    for session in [secs(5), secs(1801)] {
        let number = world.join(3, Join { session, ..dynamic("") });
        assert_eq!(world.joined(number).expect("at once").error, ErrorCode::InvalidSessionTimeout);
    }
    let asked = world.asked(3);
    let mut out = crate::group::Out::default();
    world.coordinator.join(world.now, asked, "", dynamic(""), &mut out);
    world.take(out);
    assert_eq!(world.joined(asked.number).expect("at once").error, ErrorCode::InvalidGroupId);
}

#[test]
fn several_leave_at_once_and_each_hears_for_itself() {
    let mut world = World::new();
    let (first, second, _) = two(&mut world);
    let left = world.leave(&[(&first, None), ("stranger", None), ("", Some("nobody"))]);
    let codes: Vec<ErrorCode> = left.members.iter().map(|(.., code)| *code).collect();
    assert_eq!(codes, [ErrorCode::None, ErrorCode::UnknownMemberId, ErrorCode::UnknownMemberId]);
    assert_eq!(world.heartbeat(&second, 2), ErrorCode::RebalanceInProgress);
    world.leave(&[(&second, None)]);
    assert_eq!(world.state(), "Empty");
    world.restart();
    assert_eq!(world.state(), "Empty");
    let (_, generation) = world.member();
    assert_eq!(generation, 4, "an empty generation counts");
}

#[test]
fn a_group_is_as_large_as_it_may_be() {
    let limits = Limits { group_size: 2, group_initial_rebalance_delay: Duration::ZERO, ..Limits::default() };
    let mut world = World::with(limits);
    let (first, ..) = two(&mut world);
    let number = world.join(3, dynamic(""));
    assert_eq!(world.joined(number).expect("at once").error, ErrorCode::GroupMaxSizeReached);
    let number = world.join(3, dynamic(&first));
    assert!(world.joined(number).is_none(), "members may rejoin");
    let large = Join { protocols: vec![("range".into(), vec![0; 600 << 10].into())], ..dynamic("") };
    let number = world.join(3, large);
    assert_eq!(world.joined(number).expect("at once").error, ErrorCode::GroupMaxSizeReached);
}

#[test]
fn a_stop_lets_nobody_wait() {
    let mut world = World::new();
    let (first, ..) = two(&mut world);
    let number = world.join(3, dynamic(&first));
    let mut out = crate::group::Out::default();
    world.coordinator.halt(&mut out);
    world.take(out);
    assert_eq!(world.joined(number).expect("told").error, ErrorCode::CoordinatorNotAvailable);
    assert_eq!(world.heartbeat(&first, 2), ErrorCode::CoordinatorNotAvailable);
    assert!(world.coordinator.is_quiescent());
}

#[test]
fn a_heartbeat_that_comes_while_the_group_loads_is_answered_as_if_all_were_well() {
    let mut world = World::new();
    let (member, generation) = world.stable();
    world.open_unread();
    assert_eq!(world.heartbeat(&member, generation), ErrorCode::None);
    world.restart();
    assert_eq!(world.heartbeat(&member, generation + 1), ErrorCode::IllegalGeneration);
}

#[test]
fn a_sync_that_comes_while_the_group_loads_is_told_to_join_again() {
    let mut world = World::new();
    let (member, generation) = world.stable();
    world.open_unread();
    let number = world.sync(&member, generation, &[]);
    assert_eq!(world.synced(number).expect("told").error, ErrorCode::RebalanceInProgress);
}

#[test]
fn watchers_hear_of_a_generation_when_it_is_durable() {
    let mut world = World::new();
    let generation = |world: &World| {
        world.coordinator.watch().next().map(|group| (group.id().clone(), group.members(), group.durable_generation()))
    };
    world.durability = Durability::WhenTold;
    world.join(3, dynamic(""));
    assert_eq!(generation(&world), Some((GROUP.into(), 1, 0)), "a crash would forget it");
    assert!(world.persist());
    assert_eq!(generation(&world), Some((GROUP.into(), 1, 1)));
    world.restart();
    assert_eq!(generation(&world), Some((GROUP.into(), 1, 1)));
    world.durability = Durability::AtOnce;
    world.pass(secs(60));
    assert_eq!(generation(&world), Some((GROUP.into(), 0, 2)), "nobody was heard of: it is empty");
}

#[test]
fn where_a_member_comes_from_is_told_and_kept() {
    let mut world = World::new();
    let hosts = |world: &World| -> Vec<Name> {
        world.coordinator.describe(GROUP).members.into_iter().map(|member| member.host).collect()
    };
    let number = world.join(5, Join { host: "/10.0.0.7".into(), ..instance("", "one") });
    let member = world.joined(number).expect("alone").member;
    world.sync_as(&member, Some("one"), 1, &[(&member, "all")]);
    assert_eq!(hosts(&world), ["/10.0.0.7".into()]);
    world.restart();
    assert_eq!(hosts(&world), ["/10.0.0.7".into()], "it is in the log");
    world.join(5, Join { host: "/10.0.0.8".into(), ..instance("", "one") });
    assert_eq!(hosts(&world), ["/10.0.0.8".into()], "the instance has come back from elsewhere");
    world.restart();
    assert_eq!(hosts(&world), ["/10.0.0.8".into()]);
}
