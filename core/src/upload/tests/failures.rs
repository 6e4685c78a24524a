//! Each way in which an upload can fail.

use super::world::{Faults, World, cut};
use crate::data_object::sample::range;
use crate::machine::{Machine, Rng};
use crate::mail::Halt;
use crate::metadata::{Answer, Refusal};
use crate::store::{Cause, ETag, Fatal, Key, StoreDone, StoreError, StoreOp, StoreResult};
use crate::upload::{Input, Mail};
use alloc::string::String;
use alloc::vec;
use bytes::Bytes;

/// A world in which the put of the first cut's only object is in flight.
fn putting() -> World {
    let mut world = World::new(1, Faults::default());
    world.cut(cut(1, vec![range(1, 0, 3, &mut Rng::new(1))]));
    world.answer_command();
    assert!(matches!(world.calls[0].1.op, StoreOp::Put { .. }));
    world
}

fn timeout() -> StoreResult {
    Err(StoreError::Ambiguous(Cause::Timeout))
}

/// The object of the put in flight.
fn offered(world: &World) -> (Key, Bytes) {
    match &world.calls[0].1.op {
        StoreOp::Put { key, body, .. } => (key.clone(), body.to_bytes()),
        other => panic!("{other:?} is no put"),
    }
}

/// Lets the back-off pass.
fn wait(world: &mut World) {
    let due = world.uploader.deadline().expect("it waits for something");
    assert!(due.at.0 > world.now, "it rests before it tries again");
    world.now = due.at.0 - 1;
    world.handle(Input::Tick);
    assert!(world.calls.is_empty(), "not before its time");
    world.now = due.at.0;
    world.handle(Input::Tick);
}

fn halted(world: &World) -> &Halt {
    let [halt] = world.halts.as_slice() else { panic!("the uploader fails once: {:?}", world.halts) };
    assert_eq!(world.told, [], "a failed uploader lets go of nothing");
    assert_eq!(world.uploader.deadline(), None);
    halt
}

#[test]
fn an_earlier_put_of_ones_own_is_success() {
    let mut world = putting();
    let (key, body) = offered(&world);
    world.complete_with(timeout());
    wait(&mut world);
    world.objects.insert(key, body);
    world.run();
    assert_eq!((world.commits.len(), world.halts.len()), (1, 0));
}

#[test]
fn an_object_of_anothers_is_noticed_even_after_an_ambiguous_put() {
    let mut world = putting();
    let (key, body) = offered(&world);
    let mut other = body.to_vec();
    other[body.len() - 1] ^= 1;
    world.objects.insert(key, other.into());
    world.complete_with(timeout());
    world.run();
    assert!(matches!(halted(&world), Halt::Bucket(_)));
}

#[test]
fn bytes_damaged_on_the_way_back_are_read_again() {
    let mut world = putting();
    let (key, body) = offered(&world);
    world.objects.insert(key, body.clone());
    world.complete_with(timeout());
    wait(&mut world);
    world.complete_with(Err(StoreError::Exists));
    let damaged = StoreDone::Got { body: body.slice(..20).into(), etag: ETag(String::new()), total: body.len() as u64 };
    world.complete_with(Ok(damaged));
    wait(&mut world);
    world.run();
    assert_eq!((world.commits.len(), world.halts.len()), (1, 0));
}

#[test]
fn a_taken_name_is_not_ones_own_without_an_earlier_attempt() {
    let mut world = putting();
    let (key, body) = offered(&world);
    world.objects.insert(key, body);
    world.complete_with(Err(StoreError::Exists));
    assert!(matches!(halted(&world), Halt::Bucket(_)));
}

#[test]
fn an_object_that_vanished_is_put_again() {
    let mut world = putting();
    world.complete_with(timeout());
    wait(&mut world);
    world.complete_with(Err(StoreError::Exists));
    world.complete_with(Err(StoreError::Missing));
    wait(&mut world);
    world.run();
    assert_eq!((world.commits.len(), world.objects.len()), (1, 1));
}

#[test]
fn a_full_store_is_waited_for() {
    let mut world = putting();
    for _ in 0..50 {
        world.complete_with(Err(StoreError::Fatal(Fatal::NoSpace)));
        wait(&mut world);
    }
    world.run();
    assert_eq!((world.commits.len(), world.halts.len()), (1, 0));
}

#[test]
fn what_never_passes_stops_the_node() {
    let hopeless = [Fatal::NoBucket, Fatal::ReadOnly, Fatal::BadRequest].map(StoreError::Fatal);
    for error in hopeless.into_iter().chain([StoreError::Denied, StoreError::Missing]) {
        let mut world = putting();
        world.cut(cut(2, vec![range(1, 100, 3, &mut Rng::new(1))]));
        world.complete_with(Err(error));
        let Halt::Bucket(said) = halted(&world) else { panic!("{error:?} is about the bucket") };
        assert!(said.contains("To mend it"), "{said}");
        // What still completes is taken without a word.
        while !world.calls.is_empty() {
            world.complete_any();
        }
        assert!(world.commands.is_empty() && world.halts.len() == 1);
    }
}

fn refused(refusal: Refusal) -> World {
    let mut world = putting();
    world.complete_any();
    world.commands.pop_front().expect("the commit is asked for");
    world.handle(Input::Mail(Mail::Answered(Answer::Refused(refusal))));
    world
}

#[test]
fn a_fenced_uploader_says_so() {
    assert!(matches!(halted(&refused(Refusal::Fenced)), Halt::Fenced(_)));
    let mut world = World::new(1, Faults::default());
    world.cut(cut(1, vec![range(1, 0, 3, &mut Rng::new(1))]));
    world.handle(Input::Mail(Mail::Answered(Answer::Refused(Refusal::Fenced))));
    assert!(matches!(halted(&world), Halt::Fenced(_)));
}

#[test]
fn any_other_refusal_stops_the_node() {
    let gap = Refusal::CutGap { expected: crate::id::CutNumber(3) };
    for refusal in [gap, Refusal::RecoverySuperseded, Refusal::NotLeased { id: crate::id::ObjectId(777) }] {
        assert!(matches!(halted(&refused(refusal)), Halt::Bucket(_)));
    }
}

#[test]
fn an_ended_lease_means_another_id() {
    let mut world = refused(Refusal::NotLeased { id: crate::id::ObjectId(1) });
    assert_eq!(world.halts, []);
    world.run();
    let ids: vec::Vec<_> = world.commits[0].objects.iter().map(|object| object.id.0).collect();
    assert!(ids.len() == 1 && ids[0] > 3, "an id of a later lease: {ids:?}");
}

#[test]
fn large_objects_get_more_time() {
    use core::time::Duration;
    let second = Duration::from_secs(1);
    assert_eq!(crate::store::attempt(second, 0), second);
    assert_eq!(crate::store::attempt(second, 64 << 20), 9 * second);
    assert_eq!(crate::store::attempt(Duration::MAX, u64::MAX), Duration::MAX);
}
