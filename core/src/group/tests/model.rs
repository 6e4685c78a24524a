//! Random members, crashes at any moment, and what must hold whatever they do.

use super::world::{Durability, NEWEST, World, dynamic, instance};
use crate::group::{JoinReply, Name};
use crate::kafka::ErrorCode;
use crate::limits::Limits;
use crate::machine::Rng;
use crate::session::RequestNumber;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

/// What is known of a group from what its members heard.
#[derive(Default)]
struct Known {
    leaders: BTreeMap<i32, Name>,
    assignments: BTreeMap<(i32, Name), Vec<u8>>,
    newest: i32,
    /// The last offset that was acknowledged.
    acked: Option<i64>,
    /// Commits that may have happened.
    maybe: Vec<i64>,
}

impl Known {
    fn joined(&mut self, reply: &JoinReply) {
        if reply.error != ErrorCode::None {
            return;
        }
        assert!(reply.generation >= self.newest, "generations do not go back");
        self.newest = reply.generation;
        // A static leader that comes back hears of itself under its new id, or its old one.
        if reply.members.is_empty() || reply.skip_assignment {
            return;
        }
        let leader = self.leaders.entry(reply.generation).or_insert_with(|| reply.member.clone());
        assert_eq!(*leader, reply.member, "a generation has one leader");
    }

    fn read(&mut self, found: Option<i64>) {
        let explained = found == self.acked || found.is_some_and(|found| self.maybe.contains(&found));
        assert!(explained, "found {found:?}, acknowledged {:?}, perhaps {:?}", self.acked, self.maybe);
        self.acked = found;
        self.maybe.clear();
    }
}

struct Member {
    id: Name,
    instance: Option<&'static str>,
    generation: i32,
    join: Option<RequestNumber>,
    sync: Option<RequestNumber>,
    leads: Vec<Name>,
}

fn step(world: &mut World, known: &mut Known, member: &mut Member, rng: &mut Rng, next: &mut i64) {
    if let Some(number) = member.join {
        let Some(reply) = world.joined(number) else { return };
        member.join = None;
        match reply.error {
            ErrorCode::None => {
                member.id = reply.member;
                member.generation = reply.generation;
                member.leads = reply.members.into_iter().map(|(id, ..)| id).collect();
                let stamp = rng.next_u64();
                let parts: Vec<_> = member.leads.iter().map(|id| alloc::format!("{id}:{stamp}")).collect();
                let all: Vec<_> = member.leads.iter().zip(&parts).map(|(id, part)| (&**id, part.as_str())).collect();
                let all = if reply.skip_assignment { Vec::new() } else { all };
                member.sync = Some(sync(world, member, &all));
            }
            ErrorCode::MemberIdRequired => member.id = reply.member,
            _ => member.id = Name::default(),
        }
        return;
    }
    if let Some(number) = member.sync {
        let Some(reply) = world.synced(number) else { return };
        member.sync = None;
        if reply.error != ErrorCode::None {
            member.generation = 0;
        } else if member.instance.is_none() {
            let key = (member.generation, member.id.clone());
            let before = known.assignments.entry(key).or_insert_with(|| reply.assignment.to_vec());
            assert_eq!(*before, reply.assignment, "a generation has one assignment");
        }
        return;
    }
    if member.generation == 0 {
        let join = match member.instance {
            Some(id) => instance(&member.id, id),
            None => dynamic(&member.id),
        };
        member.join = Some(world.join(NEWEST, join));
        return;
    }
    match rng.below(10) {
        0 => {
            world.leave(&[(&member.id, member.instance)]);
            (member.id, member.generation) = (Name::default(), 0);
        }
        1 => (member.id, member.generation) = (Name::default(), 0),
        2 => member.generation = 0,
        3..6 if member.instance.is_none() => {
            *next += 1;
            known.maybe.push(*next);
            let number = world.commit(&member.id, member.generation, *next);
            for _ in 0..rng.below(4) {
                world.persist();
            }
            if world.committed(number) == Some(ErrorCode::None) {
                known.acked = Some(*next);
                known.maybe.clear();
            }
        }
        _ => {
            let code = match member.instance {
                Some(id) => {
                    let who = (&*member.id, Some(id), member.generation);
                    world.coordinator.heartbeat(world.now, super::world::GROUP, who).err()
                }
                None => Some(world.heartbeat(&member.id, member.generation)),
            };
            if code.is_some_and(|code| code != ErrorCode::None) {
                member.generation = 0;
            }
            if matches!(code, Some(ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId)) {
                member.id = Name::default();
            }
        }
    }
}

fn sync(world: &mut World, member: &Member, all: &[(&str, &str)]) -> RequestNumber {
    world.sync_as(&member.id, member.instance, member.generation, all)
}

fn run(seed: u64) -> (i32, u64) {
    let mut rng = Rng::new(seed);
    let limits = Limits {
        group_log_garbage: 2_000,
        batch: 8_192,
        group_initial_rebalance_delay: Duration::from_secs(rng.below(2)),
        ..Limits::default()
    };
    let mut world = World::with(limits);
    world.durability = Durability::WhenTold;
    let mut known = Known::default();
    let (mut next, mut crashes) = (0, 0);
    let instances = [None, None, None, Some("one"), Some("two")];
    let new = |instance| Member { id: "".into(), instance, generation: 0, join: None, sync: None, leads: Vec::new() };
    let mut members: Vec<Member> = instances.into_iter().map(new).collect();
    for _ in 0..600 {
        let at = rng.below(members.len() as u64) as usize;
        step(&mut world, &mut known, &mut members[at], &mut rng, &mut next);
        world.heard.drain(..).for_each(|reply| known.joined(&reply));
        match rng.below(40) {
            0 => {
                crashes += 1;
                let late = world.offset();
                known.maybe.extend(late);
                world.restart();
                known.read(world.offset());
                for member in &mut members {
                    if member.join.take().is_some() || member.sync.take().is_some() {
                        member.generation = 0;
                    }
                }
            }
            1..4 => world.pass(Duration::from_secs(rng.below(12))),
            4..30 => {
                world.persist();
            }
            _ => {}
        }
    }
    (known.newest, crashes)
}

#[test]
fn whatever_members_do_and_whenever_it_crashes() {
    let (mut generations, mut crashes) = (0, 0);
    for seed in 0..150 {
        let (newest, crashed) = run(seed);
        generations += newest;
        crashes += crashed;
    }
    assert!(generations > 1_000 && crashes > 1_000, "{generations} generations, {crashes} crashes: too quiet a test");
}
