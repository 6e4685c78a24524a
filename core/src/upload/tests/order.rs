//! Whatever fails and in whichever order things complete, cuts are committed whole and in order.

use super::world::{Faults, Told, World, cut, recovered};
use crate::data_object::sample::range;
use crate::id::{CutNumber, Lsn};
use crate::machine::{Machine, Rng};
use crate::metadata::Command;
use crate::store::StoreOp;
use crate::upload::CutRange;
use alloc::vec;
use alloc::vec::Vec;

/// A cut of several streams, continuing them; now and then an empty one.
fn ranges(ends: &mut [u64; 5], rng: &mut Rng) -> Vec<CutRange> {
    let mut ranges = Vec::new();
    if rng.chance(1, 6) {
        return ranges;
    }
    for (stream, end) in ends.iter_mut().enumerate() {
        if rng.chance(1, 3) {
            continue;
        }
        let batches = if rng.chance(1, 3) { rng.between(5, 12) } else { rng.between(1, 2) };
        let range = range(stream as u64, *end, batches as usize, rng);
        *end = range.end.0;
        ranges.push(range);
    }
    ranges
}

#[test]
fn cuts_are_committed_whole_and_in_order() {
    let mut renewed = 0;
    for seed in 0..150 {
        let mut rng = Rng::new(seed).child("plan");
        let faults = Faults { store: rng.below(60), lease: rng.below(2) * rng.below(40) };
        let mut world = World::new(seed, faults);
        let mut ends = [0; 5];
        let old = rng.below(4);
        let new = rng.between(1, 12);
        let all = (1..=old).map(|number| (true, number)).chain((1..=new).map(|number| (false, number)));
        for (is_old, number) in all {
            let ranges = ranges(&mut ends, &mut rng);
            world.cut(if is_old { recovered(number + 5, ranges) } else { cut(number, ranges) });
            for _ in 0..rng.below(12) {
                world.step();
            }
        }
        world.run();
        assert_eq!(world.halts, [], "seed {seed}");
        assert_eq!(world.commits.len() as u64, old + new, "seed {seed}: everything is committed");
        let recovered = (1..=old).map(|number| Told::Node(CutNumber(number + 5)));
        let own = (1..=new).flat_map(|number| [Told::Wal(Lsn(number * 4096)), Told::Node(CutNumber(number))]);
        assert!(world.told.iter().copied().eq(recovered.chain(own)), "seed {seed}: {:?}", world.told);
        assert_eq!(world.uploader.uncommitted_bytes(), 0);
        assert_eq!(world.uploader.deadline(), None);
        renewed += world.lapsed;
    }
    assert!(renewed > 0, "some objects were uploaded twice");
}

fn puts(world: &World) -> usize {
    world.calls.iter().filter(|(_, call)| matches!(call.op, StoreOp::Put { .. })).count()
}

#[test]
fn so_many_cuts_at_once_and_no_more() {
    let mut rng = Rng::new(1);
    let mut world = World::new(1, Faults::default());
    for number in 1..=5 {
        world.cut(cut(number, vec![range(1, number * 100, 1, &mut rng)]));
    }
    assert_eq!((world.calls.len(), world.commands.len()), (0, 1), "nothing is put without an id");
    world.answer_command();
    assert_eq!(puts(&world), 2);
    // The second of the two ends: the third begins, and no commit is sent before the first is there.
    let (op, call) = world.calls.remove(1);
    let done = world.honest(&call);
    world.handle(crate::upload::Input::Store(op, done));
    assert_eq!(puts(&world), 2);
    assert!(world.commands.is_empty());
    let (op, call) = world.calls.remove(0);
    let done = world.honest(&call);
    world.handle(crate::upload::Input::Store(op, done));
    let [Command::Commit(first), Command::LeaseObjects { count: 3 }] = world.commands.make_contiguous() else {
        panic!("a commit, and a lease for the fourth: {:?}", world.commands)
    };
    assert_eq!(first.number, CutNumber(1));
    assert_eq!(world.told, []);
    world.answer_command();
    assert_eq!(world.told.len(), 2);
    world.run();
    assert_eq!(world.commits.len(), 5);
}

#[test]
fn requests_in_flight_are_bounded_within_a_cut_too() {
    let mut rng = Rng::new(1);
    let mut world = World::new(1, Faults::default());
    world.cut(cut(1, (0..20).map(|stream| range(stream, 0, 20, &mut rng)).collect()));
    let mut most = 0;
    while world.step() {
        most = most.max(world.calls.len());
    }
    assert_eq!(most, 8);
    assert_eq!(world.commits[0].objects.len(), 20, "each large stream has an object of its own");
}

#[test]
fn small_streams_share_an_object() {
    let mut rng = Rng::new(1);
    let mut world = World::new(1, Faults::default());
    let ranges = [(1, 1), (2, 20), (3, 1), (4, 20)].map(|(stream, batches)| range(stream, 0, batches, &mut rng));
    world.cut(cut(1, ranges.to_vec()));
    world.run();
    let streams =
        |at: usize| world.commits[0].objects[at].ranges.iter().map(|range| range.stream.0).collect::<Vec<_>>();
    assert_eq!([streams(0), streams(1), streams(2)], [vec![1, 3], vec![2], vec![4]]);
}

#[test]
fn an_empty_cut_is_committed_without_an_object() {
    let mut world = World::new(1, Faults::default());
    world.cut(cut(1, Vec::new()));
    assert!(world.calls.is_empty());
    world.run();
    assert_eq!(world.commits[0].objects, []);
    assert_eq!(world.told.len(), 2);
    assert!(world.objects.is_empty());
}
