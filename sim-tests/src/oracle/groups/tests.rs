//! What may become of a group's offsets and generations.

use super::{CommitId, GroupModel, GroupSeen, Kept, Landed, Moment, Span};
use karst_runtime_sim::time::SimTime;
use std::time::Duration;

/// A group whose offsets go when it had no members for a second.
#[derive(Default)]
struct Group(GroupModel, u64);

impl Group {
    fn see(&mut self, millis: u64, seen: GroupSeen) -> Result<(), &'static str> {
        let span = Span::new(Duration::from_secs(1), 0);
        let at = Moment { now: SimTime(millis * 1_000_000), span };
        self.0.observe("g", seen, Kept::Certainly, at).map_err(|violation| violation.invariant)
    }

    fn lives(&mut self, millis: u64) {
        self.see(millis, GroupSeen::Lives(Duration::ZERO)).expect("nothing contradicts it");
    }

    fn joins(&mut self, millis: u64, asker: u32, generation: i32, leader: &str) -> Result<(), &'static str> {
        self.see(millis, GroupSeen::Joining(asker))?;
        let (who, leader) = (format!("m{asker}"), leader.to_owned());
        self.see(millis, GroupSeen::Joined { asker, who, generation, leader, floor: 0 })
    }

    /// Commits an offset of partition 0.
    fn commits(&mut self, millis: u64, offset: i64, generation: i32) -> Result<(), &'static str> {
        self.1 += 1;
        let id = CommitId(self.1);
        self.see(millis, GroupSeen::Committing(id, 0, offset, generation))?;
        self.see(millis, GroupSeen::Committed(id, 0, Landed::Acked))
    }

    fn finds(&mut self, millis: u64, offset: i64) -> Result<(), &'static str> {
        self.see(millis, GroupSeen::AskedForOffsets(1))?;
        self.see(millis, GroupSeen::Offsets(1, vec![(0, offset)]))
    }
}

#[test]
fn offsets_go_only_when_nobody_may_have_been_there_for_the_whole_span() {
    for (next, judged) in [(1_999, Err("committed-offset-lost")), (2_000, Ok(()))] {
        let mut group = Group::default();
        group.joins(900, 1, 1, "m1").expect("it is the first");
        group.commits(1_000, 1_001, 1).expect("it is a member");
        group.lives(next);
        assert_eq!(group.finds(next + 1, -1), judged, "somebody is heard of again at {next}");
    }
    // Who is told late that it was a member when it asked was one then.
    let mut group = Group::default();
    group.joins(900, 1, 1, "m1").expect("it is the first");
    group.commits(1_000, 1_001, 1).expect("it is a member");
    group.see(1_900, GroupSeen::Lives(Duration::from_millis(100))).expect("a member");
    group.see(2_700, GroupSeen::Lives(Duration::from_millis(1_000))).expect("a member");
    assert_eq!(group.finds(2_799, -1), Err("committed-offset-lost"));
    assert_eq!(group.finds(2_800, -1), Ok(()), "from 1800 on nobody is known to have been there");
}

#[test]
fn offsets_that_were_committed_since_are_there() {
    let mut group = Group::default();
    group.joins(0, 1, 1, "m1").expect("it is the first");
    group.commits(0, 9_001, 1).expect("it is a member");
    group.joins(1_500, 1, 2, "m1").expect("it comes back");
    group.lives(1_500);
    group.commits(1_600, 1_001, 2).expect("it begins again");
    assert_eq!(group.finds(1_700, 1_001), Ok(()), "the one before is gone");
    assert_eq!(group.finds(1_700, -1), Err("committed-offset-lost"));
}

#[test]
fn an_earlier_generation_commits_nothing() {
    let mut group = Group::default();
    group.joins(0, 1, 1, "m1").expect("it is the first");
    group.commits(1, 1_001, 1).expect("it is a member");
    group.see(2, GroupSeen::Committing(CommitId(77), 0, 2_001, 1)).expect("on its way");
    group.joins(3, 2, 2, "m2").expect("it comes along");
    assert_eq!(group.see(4, GroupSeen::Committed(CommitId(77), 0, Landed::Acked)), Ok(()), "it may have come before");
    assert_eq!(group.commits(5, 3_001, 1), Err("generation-checked"));
}

#[test]
fn a_generation_has_one_leader_unless_the_group_may_be_another() {
    let mut group = Group::default();
    group.joins(0, 1, 1, "m1").expect("it is the first");
    assert_eq!(group.joins(1, 2, 1, "m2"), Ok(()), "nothing was kept of the first one");
    group.commits(2, 1_001, 1).expect("it is a member");
    assert_eq!(group.joins(3, 3, 1, "m3"), Err("one-leader"));
}

#[test]
fn an_answer_that_was_long_on_its_way_may_be_of_the_group_before() {
    let told = |asker: u32, leader: &str| {
        let (who, leader) = (format!("m{asker}"), leader.to_owned());
        GroupSeen::Joined { asker, who, generation: 1, leader, floor: 0 }
    };
    for (begins, judged) in [(0, Ok(())), (2, Err("one-leader"))] {
        let mut group = Group::default();
        for millis in 0..3 {
            if millis == begins {
                group.see(millis, GroupSeen::Joining(2)).expect("whoever likes");
            }
            if millis == 1 {
                group.joins(1, 1, 1, "m1").expect("nobody else was heard of");
                group.commits(1, 1_001, 1).expect("it is a member");
            }
        }
        assert_eq!(group.see(3, told(2, "m2")), judged, "it began to join at {begins}");
    }
    // The first one had offsets all the time: there is one group.
    let mut group = Group::default();
    group.joins(0, 1, 1, "m1").expect("nobody else was heard of");
    group.commits(0, 1_001, 1).expect("it is a member");
    group.see(0, GroupSeen::Joining(2)).expect("whoever likes");
    group.see(0, GroupSeen::Joining(3)).expect("whoever likes");
    let second = GroupSeen::Joined { asker: 3, who: "m3".into(), generation: 2, leader: "m3".into(), floor: 0 };
    group.see(1, second).expect("it is the next");
    let other = GroupSeen::Joined { asker: 2, who: "m2".into(), generation: 2, leader: "m2".into(), floor: 0 };
    assert_eq!(group.see(2, other), Err("one-leader"));
}

#[test]
fn another_group_under_the_same_leader_has_other_owners() {
    let assigned = |who: &str| GroupSeen::Assigned { who: who.into(), generation: 1, owned: vec![1] };
    for (after, judged) in [(500, Err("one-owner")), (3_000, Ok(()))] {
        let mut group = Group::default();
        group.joins(0, 1, 1, "m1").expect("nobody else was heard of");
        group.joins(0, 2, 1, "m1").expect("it is led by the first");
        group.see(0, assigned("m2")).expect("nobody else has it");
        group.commits(0, 1_001, 1).expect("it is a member");
        group.joins(after, 1, 1, "m1").expect("the same leader");
        group.joins(after, 3, 1, "m1").expect("it is led by the first");
        group.commits(after, 1_002, 1).expect("it is a member");
        assert_eq!(group.see(after + 1, assigned("m3")), judged, "{after}");
    }
}

#[test]
fn an_assignment_of_the_group_before_says_nothing_of_this_one() {
    let assigned = |group: &mut Group, millis, who: &str| {
        let (who, owned) = (who.to_owned(), vec![0]);
        group.see(millis, GroupSeen::Assigned { who, generation: 2, owned })
    };
    let mut group = Group::default();
    group.joins(0, 1, 1, "m1").expect("it is the first");
    group.joins(10, 2, 2, "m1").expect("another one");
    // The group is gone, and comes again: the answer with m2's assignment was still on its way.
    group.joins(5_000, 3, 1, "m3").expect("another group");
    assigned(&mut group, 5_001, "m2").expect("it is of the group before");
    group.joins(5_002, 3, 2, "m3").expect("it joins again");
    group.commits(5_003, 1_001, 2).expect("it is a member");
    assigned(&mut group, 5_004, "m3").expect("nobody else has it");
    group.joins(5_005, 4, 2, "m3").expect("two in one generation");
    assert_eq!(assigned(&mut group, 5_006, "m4"), Err("one-owner"));
}
