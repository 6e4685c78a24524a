//! Compressed batches: checked at once or by a job, in order, and whatever happens to the connection meanwhile.

use super::world::{World, limits};
use super::*;
use crate::kafka::batch::tests::{compressed, records};
use crate::kafka::compression::tests::CODECS;
use crate::kafka::{Codec, ErrorCode, RequestBody};

/// A sound batch of so many records.
fn sound(codec: Codec, count: u8) -> Vec<u8> {
    compressed(codec, count.into(), &records(count))
}

/// A batch with a record less than it says.
fn lying(codec: Codec) -> Vec<u8> {
    compressed(codec, 3, &records(2))
}

/// A world in which nothing is cheap, and jobs come back when told to.
fn slow() -> World {
    let mut world = World::with_idle_credit(&Limits { compute_inline: 0, ..limits() });
    world.hold_jobs = true;
    world
}

/// What the shard got as the `at`th request: the number of records of each batch, or why there are none.
fn got(world: &World, at: usize) -> Vec<Result<u32, ErrorCode>> {
    let RequestBody::Produce(produce) = &world.requests[at].request.body else { panic!("no produce") };
    let partitions = produce.topics.iter().flat_map(|topic| &topic.partitions);
    let batches = partitions.map(|partition| partition.records.as_ref());
    batches.map(|batch| batch.map(|batch| batch.header.record_count()).map_err(|refusal| refusal.code)).collect()
}

#[test]
fn cheap_batches_are_checked_at_once() {
    let mut world = World::new();
    world.hold_jobs = true;
    for codec in CODECS {
        world.receive(&produce_all(1, vec![sound(codec, 3), lying(codec), sound(codec, 4)]));
        assert_eq!(world.jobs(), 0, "{codec:?}");
        assert_eq!(got(&world, world.requests.len() - 1), [Ok(3), Err(ErrorCode::InvalidRecord), Ok(4)], "{codec:?}");
        world.answer_all("done");
    }
    world.close();
    world.assert_settled();
}

#[test]
fn others_are_checked_by_a_job_with_the_same_verdict() {
    for codec in CODECS {
        let mut world = slow();
        world.receive(&produce_all(1, vec![sound(codec, 3), lying(codec), sound(Codec::None, 5), b"junk".to_vec()]));
        assert_eq!((world.jobs(), world.requests.len()), (1, 0));
        world.release_job();
        let expected = [Ok(3), Err(ErrorCode::InvalidRecord), Ok(5), Err(ErrorCode::InvalidRecord)];
        assert_eq!(got(&world, 0), expected, "{codec:?}");
        world.answer(0, body("done"));
        assert_eq!(world.client, plain(1, "done"));
        world.close();
        world.assert_settled();
    }
}

#[test]
fn uncompressed_batches_need_no_job() {
    let mut world = slow();
    world.receive(&produce_all(1, vec![sound(Codec::None, 3)]));
    assert_eq!((world.jobs(), got(&world, 0)), (0, vec![Ok(3)]));
}

#[test]
fn a_short_batch_that_holds_much_is_not_cheap() {
    let mut world = World::with_idle_credit(&Limits { compute_inline: 1_000, inflated: 2 << 20, ..limits() });
    world.hold_jobs = true;
    // One record: a megabyte of zeros, in a batch that is far shorter.
    let value = 1 << 20;
    let head = [0x90, 0x80, 0x80, 0x01, 0, 0, 0, 1, 0x80, 0x80, 0x80, 0x01];
    let content = [&head[..], &vec![0; value + 1]].concat();
    let bomb = compressed(Codec::Zstd, 1, &content);
    assert!(bomb.len() < 900, "{}", bomb.len());
    world.receive(&produce_all(1, vec![bomb.clone(), sound(Codec::Gzip, 2)]));
    assert_eq!((world.jobs(), world.requests.len()), (1, 0), "to find out is not cheap");
    world.release_job();
    assert_eq!(got(&world, 0), [Err(ErrorCode::InvalidRecord), Ok(2)], "the record's length is wrong");
    world.answer(0, body("done"));

    let mut small = World::with_idle_credit(&Limits { compute_inline: 1_000, inflated: 4_000, ..limits() });
    small.hold_jobs = true;
    small.receive(&produce_all(1, vec![bomb]));
    assert_eq!((small.jobs(), got(&small, 0)), (0, vec![Err(ErrorCode::MessageTooLarge)]), "this much is cheap");
}

#[test]
fn a_batch_above_the_limit_is_not_looked_into() {
    let mut world = World::with_idle_credit(&Limits { compute_inline: 0, largest_batch: 70, ..limits() });
    world.hold_jobs = true;
    world.receive(&produce_all(1, vec![sound(Codec::Gzip, 60)]));
    assert_eq!((world.jobs(), got(&world, 0)), (0, vec![Err(ErrorCode::MessageTooLarge)]));
}

#[test]
fn what_comes_behind_a_job_waits_and_order_is_kept() {
    let mut world = slow();
    world.receive(&produce_all(1, vec![sound(Codec::Lz4, 1)]));
    let rest = [produce_all(2, vec![sound(Codec::None, 2)]), produce_all(3, vec![sound(Codec::Zstd, 3)]), fetch(4)];
    world.receive(&rest.concat());
    assert_eq!((world.jobs(), world.requests.len()), (1, 0));
    assert!(world.paused, "one request that can't start is enough to hold");
    world.release_job();
    assert_eq!((got(&world, 0), got(&world, 1)), (vec![Ok(1)], vec![Ok(2)]));
    assert_eq!((world.jobs(), world.requests.len()), (1, 2), "the third is looked into, though two are not answered");
    world.answer(1, body("two"));
    world.answer(0, body("one"));
    assert_eq!(world.requests.len(), 2, "the fetch waits for the third");
    world.release_job();
    assert_eq!(got(&world, 2), [Ok(3)]);
    world.answer(2, body("three"));
    world.answer(3, body("four"));
    assert_eq!(world.client, [plain(1, "one"), plain(2, "two"), plain(3, "three"), plain(4, "four")].concat());
    assert!(!world.paused);
    world.close();
    world.assert_settled();
}

#[test]
fn a_large_request_is_checked_part_by_part() {
    let mut rng = crate::machine::Rng::new(1);
    let noise: Vec<u8> = (0..150_000).map(|_| rng.next_u64() as u8).collect();
    let large = || compressed(Codec::Gzip, 1, &noise);
    let mut world = slow();
    world.receive(&produce_all(1, vec![large(), large(), large(), sound(Codec::Gzip, 2)]));
    let mut jobs = 0;
    while world.jobs() > 0 {
        assert_eq!(world.requests.len(), 0);
        world.release_job();
        jobs += 1;
    }
    assert_eq!(jobs, 3, "two large ones are too much for one job; a small one goes with the last");
    assert_eq!(got(&world, 0), [Err(ErrorCode::InvalidRecord); 3].into_iter().chain([Ok(2)]).collect::<Vec<_>>());
}

#[test]
fn credit_is_held_while_a_job_is_out_and_comes_back() {
    let mut world = slow();
    let request = produce_all(1, vec![sound(Codec::Gzip, 9), vec![b'r'; 3 * world::IDLE as usize]]);
    world.receive(&request);
    let extra = request.len() as u64 - 4 - world::IDLE;
    assert_eq!((world.jobs(), world.granted(Pool::Produce)), (1, extra));
    world.release_job();
    assert_eq!(world.granted(Pool::Produce), extra);
    world.answer(0, body("done"));
    assert_eq!((world.granted(Pool::Produce), world.granted(Pool::Control)), (0, world::IDLE));
}

#[test]
fn a_connection_that_ends_meanwhile_lets_its_job_come_back() {
    let mut world = slow();
    world.receive(&produce_all(1, vec![sound(Codec::Gzip, 3)]));
    world.close();
    assert_eq!(world.mail.last(), Some(&"opened"), "the session waits for its job");
    world.close();
    assert_eq!(world.session.deadline(), None);
    world.release_job();
    assert_eq!(got(&world, 0), [Ok(3)], "what has started is carried out");
    world.assert_settled();
    world.answer(0, body("nobody hears this"));
    assert_eq!(world.client, b"");

    let mut malformed = slow();
    malformed.receive(&[produce_all(1, vec![sound(Codec::Gzip, 3)]), vec![0xff; 4]].concat());
    assert!(malformed.why.is_some());
    malformed.release_job();
    assert_eq!(got(&malformed, 0), [Ok(3)]);
    malformed.close();
    malformed.assert_settled();
}

#[test]
fn a_halt_waits_for_a_job() {
    let mut world = slow();
    world.receive(&[produce_all(1, vec![sound(Codec::Gzip, 3)]), produce(2, 10)].concat());
    world.halt();
    assert_eq!(world.why, None);
    world.release_job();
    assert_eq!(world.requests.len(), 1, "what had not started does not");
    world.answer(0, body("one"));
    assert_eq!((&world.client, world.why.as_deref()), (&plain(1, "one"), Some("the broker stops")));
    world.close();
    world.assert_settled();
}

#[test]
#[should_panic(expected = "one effect, one completion")]
fn another_operations_outcome_is_our_mistake() {
    let mut world = slow();
    world.receive(&produce_all(1, vec![sound(Codec::Gzip, 3)]));
    world.misdeliver_job();
}

#[test]
#[should_panic(expected = "only a job that is out comes back")]
fn an_outcome_that_comes_twice_is_our_mistake() {
    let mut world = slow();
    world.receive(&produce_all(1, vec![sound(Codec::Gzip, 3)]));
    world.repeat_job();
}
