//! One controller by example (here), several of them with every fault (`fight`).

mod bucket;
mod fight;
mod world;

use super::NodeCommand;
use super::log::Name;
use crate::id::{ClusterId, CommandSeq, Incarnation, NodeEpoch, NodeId, Seq, Term};
use crate::limits::Limits;
use crate::machine::WallTime;
use crate::mail::Halt;
use crate::metadata::{Answer, Command, Refusal};
use crate::store::{Cause, Fatal, Key, StoreError, StoreOp};
use alloc::boxed::Box;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;
use world::World;

fn world() -> World {
    World::new(1, Limits::default())
}

/// One broker, that leads and rests.
fn leading() -> World {
    let mut world = world();
    world.start();
    world.settle();
    assert!(world.brokers[0].leads());
    world
}

fn command(seq: u64, command: Command) -> NodeCommand {
    let incarnation = Incarnation([5; 16]);
    let epoch = NodeEpoch(u64::from(seq > 1));
    let (seq, confirmed) = (CommandSeq(seq), CommandSeq(0));
    NodeCommand { node: NodeId(1), incarnation, epoch, seq, confirmed, command: Box::new(command) }
}

fn register() -> NodeCommand {
    command(1, Command::Register { wal: None, host: "a".into(), port: 1, give_up: None })
}

fn lease(seq: u64) -> NodeCommand {
    command(seq, Command::LeaseObjects { count: 1 })
}

fn is_put(op: &StoreOp, name: &str) -> bool {
    matches!(op, StoreOp::Put { key, .. } if key.0 == name)
}

fn ambiguous() -> StoreError {
    StoreError::Ambiguous(Cause::Timeout)
}

/// The first broker heard these entries, and leads on.
fn assert_leads_on(world: &World, heard: &[u64]) {
    assert_eq!(seqs(world, 0), heard);
    assert!(world.brokers[0].leads(), "{:?}", world.brokers[0].failed);
}

fn seqs(world: &World, at: usize) -> Vec<u64> {
    world.brokers[at].heard.iter().map(|(entry, _)| entry.seq.0).collect()
}

fn refused(world: &World) -> &str {
    match &world.brokers[0].failed {
        Some(Halt::Bucket(why)) => why,
        other => panic!("expected a refused bucket, not {other:?}"),
    }
}

#[test]
fn an_empty_bucket_is_initialised_once() {
    let world = leading();
    let head = world.bucket.head().expect("created");
    assert_eq!((head.term, head.last, head.inline.len()), (Term(1), Seq(0), 0));
    assert_eq!((world.bucket.swaps, world.bucket.objects.len()), (1, 1));
    assert_eq!(world.brokers[0].replica.as_ref().map(|image| image.cluster), Some(head.cluster));
}

#[test]
fn objects_that_are_not_karsts_do_not_matter() {
    let mut world = world();
    for key in ["probe/1", "photos/cat.jpg", "metadata"] {
        world.bucket.objects.insert(key.into(), (Bytes::new(), 0));
    }
    world.start();
    world.settle();
    assert!(world.brokers[0].leads());
}

#[test]
fn a_bucket_that_lost_its_head_is_refused() {
    for key in ["meta/segment/x", "data/1", "wal/1/1/1"] {
        let mut world = world();
        world.bucket.objects.insert(key.into(), (Bytes::new(), 0));
        world.start();
        world.settle();
        assert!(refused(&world).contains(key), "{}", refused(&world));
        assert_eq!(world.bucket.swaps, 0);
    }
}

#[test]
fn an_empty_bucket_is_left_empty_if_the_wal_knows_a_cluster() {
    let mut world = world();
    world.bucket.objects.insert("probe/1".into(), (Bytes::new(), 0));
    world.start_of(Some(ClusterId([7; 16])));
    world.settle();
    let why = refused(&world);
    assert!(why.contains("the bucket is empty") && why.contains(&format!("{}", ClusterId([7; 16]))), "{why}");
    assert_eq!((world.bucket.swaps, world.bucket.objects.len()), (0, 1));
}

#[test]
fn a_bucket_of_another_cluster_keeps_its_head_and_its_leader() {
    let mut world = leading();
    world.start_of(Some(ClusterId([7; 16])));
    world.settle();
    match &world.brokers[1].failed {
        Some(Halt::WalRefused(why)) => assert!(why.contains("belong together"), "{why}"),
        other => panic!("expected a refused WAL, not {other:?}"),
    }
    assert_eq!(world.bucket.head().map(|head| head.term), Some(Term(1)));
    world.send(0, register());
    world.settle();
    assert_leads_on(&world, &[1]);
}

#[test]
fn a_bucket_of_the_wals_cluster_is_led() {
    let mut world = leading();
    let cluster = world.bucket.head().map(|head| head.cluster);
    world.start_of(cluster);
    world.settle();
    assert!(world.brokers[1].leads(), "{:?}", world.brokers[1].failed);
}

#[test]
fn a_head_that_appears_meanwhile_is_taken() {
    let mut world = world();
    world.start();
    world.start();
    // The first finds nothing and lists; the second initialises the bucket before that.
    world.answer_only(0, Err(StoreError::Missing));
    while world.bucket.swaps == 0 {
        world.do_only(1);
    }
    world.settle();
    assert!(world.brokers[0].leads());
    assert_eq!(world.bucket.head().map(|head| head.term), Some(Term(2)));
}

#[test]
fn a_restart_claims_the_next_term_and_knows_everything() {
    let mut world = leading();
    world.send(0, register());
    world.send(0, lease(2));
    world.settle();
    world.kill(0);
    world.start();
    world.settle();
    assert_eq!(world.bucket.head().map(|head| (head.term, head.last)), Some((Term(2), Seq(2))));
    assert_eq!(world.brokers[0].replica, world.bucket.image);
}

#[test]
fn what_arrives_during_a_swap_rides_in_the_next() {
    let mut world = leading();
    world.send(0, register());
    for seq in 2..=5 {
        world.send(0, lease(seq));
    }
    assert!(is_put(&world.do_only(0), "meta/head"));
    assert_leads_on(&world, &[1]);
    assert!(is_put(&world.do_only(0), "meta/head"));
    assert_leads_on(&world, &[1, 2, 3, 4, 5]);
    assert!(world.brokers[0].in_flight.is_empty());
}

#[test]
fn nothing_is_heard_before_it_is_durable() {
    let mut world = leading();
    world.send(0, register());
    world.answer_only(0, Err(ambiguous()));
    world.send(0, lease(2));
    assert_eq!(seqs(&world, 0), []);
    assert_eq!(world.brokers[0].controller.image().map(|image| image.seq), Some(Seq(0)));
}

#[test]
fn an_ambiguous_swap_is_read_back() {
    // Applied, or not.
    for applied in [true, false] {
        let mut world = leading();
        world.send(0, register());
        if applied {
            let (_, op) = world.only_op(0);
            world.bucket.apply(&op).expect("it holds");
        }
        let first = world.answer_only(0, Err(ambiguous()));
        world.tick();
        assert!(matches!(world.do_only(0), StoreOp::Get { .. }));
        if !applied {
            world.tick();
            assert_eq!(world.do_only(0), first, "the same bytes under the same condition");
        }
        assert_leads_on(&world, &[1]);
    }
}

#[test]
fn a_412_about_ones_own_put_is_success() {
    let mut world = leading();
    world.send(0, register());
    let (_, op) = world.only_op(0);
    world.bucket.apply(&op).expect("it holds");
    world.answer_only(0, Err(StoreError::Exists));
    assert!(matches!(world.do_only(0), StoreOp::Get { .. }));
    assert_leads_on(&world, &[1]);
}

#[test]
fn a_late_put_between_read_and_retry_is_found() {
    let mut world = leading();
    world.send(0, register());
    let late = world.answer_only(0, Err(ambiguous()));
    world.tick();
    world.do_only(0);
    world.tick();
    world.bucket.apply(&late).expect("it still holds");
    assert!(is_put(&world.do_only(0), "meta/head"));
    assert_leads_on(&world, &[]);
    world.do_only(0);
    assert_leads_on(&world, &[1]);
    assert_eq!(world.bucket.swaps, 2);
}

#[test]
fn a_conflict_and_a_full_disk_are_asked_again() {
    for error in [StoreError::Conflict, StoreError::Fatal(Fatal::NoSpace)] {
        let mut world = leading();
        world.send(0, register());
        for _ in 0..30 {
            world.answer_only(0, Err(error));
            world.tick();
        }
        world.do_only(0);
        assert_leads_on(&world, &[1]);
    }
}

#[test]
fn a_second_leader_deposes_the_first() {
    let mut world = leading();
    world.start();
    world.settle();
    assert!(world.brokers[1].leads());
    world.send(0, register());
    world.settle();
    assert!(matches!(world.brokers[0].failed, Some(Halt::Fenced(_))));
    assert_eq!((seqs(&world, 0), world.bucket.log.len()), (vec![], 0));
    assert!(world.brokers[1].failed.is_none());
}

#[test]
fn an_idle_leader_finds_out_when_it_looks_around() {
    let mut world = leading();
    world.start();
    world.settle();
    world.pass(world.limits.scrub_interval);
    world.settle();
    assert!(matches!(world.brokers[0].failed, Some(Halt::Fenced(_))));
    assert!(world.brokers[1].leads());
}

#[test]
fn entries_under_a_successors_head_succeeded() {
    let mut world = leading();
    world.send(0, register());
    let (_, op) = world.only_op(0);
    world.bucket.apply(&op).expect("it holds");
    world.answer_only(0, Err(ambiguous()));
    world.start();
    while !world.brokers[1].leads() {
        let (id, op) = world.only_op(1);
        let result = world.bucket.apply(&op);
        world.complete(1, id, result);
    }
    world.tick();
    world.settle();
    assert!(matches!(world.brokers[0].failed, Some(Halt::Fenced(_))));
    assert_eq!(seqs(&world, 0), [1]);
}

#[test]
fn lost_rights_and_a_lost_head_end_it() {
    for error in [StoreError::Denied, StoreError::Fatal(Fatal::NoBucket), StoreError::Fatal(Fatal::ReadOnly)] {
        let mut world = leading();
        world.send(0, register());
        world.answer_only(0, Err(error));
        assert!(refused(&world).contains("start the broker again") || refused(&world).contains("start it again"));
    }
    let mut world = leading();
    world.bucket.objects.clear();
    world.send(0, register());
    world.do_only(0);
    world.tick();
    world.do_only(0);
    assert!(refused(&world).contains("meta/head was deleted"));
}

#[test]
fn a_command_under_way_is_not_appended_twice() {
    let mut world = leading();
    world.send(0, register());
    world.send(0, register());
    world.send(0, lease(2));
    world.send(0, lease(2));
    world.settle();
    assert_eq!(seqs(&world, 0), [1, 2]);
    // From now on it is answered again.
    world.send(0, lease(2));
    world.settle();
    let answers: Vec<&Answer> = world.brokers[0].heard.iter().map(|(_, answer)| answer).collect();
    assert_eq!(answers[1], answers[2]);
    world.send(0, lease(9));
    world.settle();
    let refusal = world.brokers[0].heard.last().map(|(_, answer)| answer.clone());
    assert_eq!(refusal, Some(Answer::Refused(Refusal::SequenceGap)));
}

#[test]
fn times_never_go_back() {
    let mut world = leading();
    world.now.wall = WallTime(5000);
    world.send(0, register());
    world.settle();
    world.now.wall = WallTime(-5000);
    world.send(0, lease(2));
    world.settle();
    let times: Vec<i64> = world.bucket.log.iter().map(|entry| entry.at.0).collect();
    assert_eq!(times, [5000, 5000]);
}

#[test]
fn an_idle_leader_writes_nothing() {
    let mut world = leading();
    let before = world.bucket.swaps;
    for _ in 0..20 {
        world.pass(world.limits.scrub_interval);
        world.settle();
    }
    assert_eq!(world.bucket.swaps, before);
}

/// A leader whose head holds one entry, with up to two segments before that.
fn small(entries: u64) -> World {
    let limits = Limits { head_inline: 1, segments: 2, ..Limits::default() };
    let mut world = World::new(1, limits);
    world.start();
    world.send(0, register());
    world.settle();
    for seq in 2..=entries {
        world.send(0, lease(seq));
        world.settle();
    }
    world
}

#[test]
fn inline_entries_become_segments_and_those_a_snapshot() {
    let shape = |entries| {
        let head = small(entries).bucket.head().expect("there");
        (head.snapshot.map(|name| name.seq.0), head.segments.len(), head.inline.len())
    };
    assert_eq!([shape(1), shape(3), shape(4)], [(None, 0, 1), (None, 2, 1), (Some(3), 0, 1)]);
    assert_eq!([shape(6), shape(7)], [(Some(3), 2, 1), (Some(6), 0, 1)]);
}

#[test]
fn what_the_head_dropped_is_deleted_after_the_retention() {
    let mut world = small(4);
    assert_eq!(world.bucket.orphans().len(), 2);
    world.pass(world.limits.deleted_retention - Duration::from_millis(1));
    assert!(world.brokers[0].in_flight.is_empty());
    world.pass(Duration::from_millis(1));
    let delete = world.answer_only(0, Err(ambiguous()));
    world.tick();
    assert_eq!(world.do_only(0), delete);
    world.settle();
    assert_eq!(world.bucket.orphans(), []);
}

#[test]
fn what_a_predecessor_left_is_scrubbed_and_nothing_else() {
    let mut world = small(4);
    let name = |term| Name { term: Term(term), seq: Seq(2), nonce: 7 };
    let stray: Vec<Key> = vec![name(0).segment(), name(1).snapshot()];
    let kept: Vec<Key> = vec![name(9).segment(), "meta/segment/readme".into()];
    for key in stray.iter().chain(&kept) {
        world.bucket.objects.insert(key.clone(), (Bytes::new(), 0));
    }
    world.kill(0);
    world.start();
    world.settle();
    assert_eq!(world.bucket.orphans().len(), 6, "for slow readers");
    world.pass(world.limits.deleted_retention);
    world.settle();
    assert_eq!(world.bucket.orphans(), kept);
}

#[test]
fn a_missing_segment_is_corrupt_only_under_an_unchanged_head() {
    let mut world = small(3);
    let head = world.bucket.head().expect("there");
    world.kill(0);
    world.start();
    world.do_only(0);
    // Somebody else went on, and dropped what is to be read.
    world.answer_only(0, Err(StoreError::Missing));
    world.do_only(0);
    assert!(refused(&world).contains(&head.segments[0].segment().0));

    let mut world = small(3);
    world.kill(0);
    world.start();
    world.do_only(0);
    world.start();
    while !world.brokers[1].leads() {
        world.do_only(1);
    }
    world.answer_only(0, Err(StoreError::Missing));
    world.do_only(0);
    assert_eq!(world.brokers[0].failed, None);
    world.settle();
    assert!(world.brokers[0].leads());
}

#[test]
fn damage_and_later_versions_are_refused_by_name() {
    let mut world = small(3);
    let key = world.bucket.head().expect("there").segments[1].segment();
    world.kill(0);
    let (bytes, _) = world.bucket.objects.get_mut(&key).expect("there");
    let mut damaged = bytes.to_vec();
    damaged[20] ^= 1;
    *bytes = damaged.into();
    world.start();
    for _ in 0..3 {
        world.do_only(0);
    }
    assert!(refused(&world).starts_with(&key.0), "{}", refused(&world));
}
