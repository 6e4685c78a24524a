//! What the oracle must say, and what it must not.

use super::{Observation, Oracle, Place};

const TOPIC: &str = "group-0";

fn place() -> Place {
    Place { topic: TOPIC.into(), partition: 0 }
}

/// Feeds it what was seen, and returns the first invariant that is violated.
fn verdict(oracle: &mut Oracle, seen: impl IntoIterator<Item = Observation>) -> Result<(), &'static str> {
    seen.into_iter().try_for_each(|seen| oracle.observe(seen)).map_err(|violation| violation.invariant)
}

fn high_watermark(number: u64, hw: i64) -> [Observation; 2] {
    [Observation::Asked(place(), number), Observation::HighWatermark(place(), number, hw)]
}

fn written(write: u64, base: i64) -> [Observation; 2] {
    use super::{Outcome, WriteId};
    use crate::client::batch::{self, Shape};
    use karst_core::machine::{Payload, Rng};
    let shape = Shape { records: 2, value: 8, timestamp: 0, times: 0, key: 0 };
    let batch = batch::encode(WriteId(write), shape, &mut Rng::new(write));
    [
        Observation::Sent(place(), WriteId(write), Payload(batch)),
        Observation::Ended(place(), WriteId(write), Outcome::Acked(base)),
    ]
}

#[test]
fn a_topic_that_is_created_again_after_somebody_deleted_it_is_another_one() {
    let creating = || Observation::Creating(TOPIC.into(), 1);
    let begin = || creating_and_written(creating());
    // Nobody asked for it twice: there is one topic of that name, whose high watermark never goes back.
    let mut oracle = Oracle::default();
    assert_eq!(verdict(&mut oracle, begin()), Ok(()));
    assert_eq!(verdict(&mut oracle, [Observation::Deleting(TOPIC.into())]), Ok(()));
    assert_eq!(verdict(&mut oracle, high_watermark(2, 0)), Err("high-watermark-goes-back"));
    // Somebody who had not heard that it was created asks for it again, and nobody deletes it: it is still one.
    let mut oracle = Oracle::default();
    assert_eq!(verdict(&mut oracle, begin().into_iter().chain([creating()])), Ok(()));
    assert_eq!(verdict(&mut oracle, high_watermark(2, 0)), Err("high-watermark-goes-back"));
    // After a deletion the second time may have made another one, which is empty.
    let mut oracle = Oracle::default();
    assert_eq!(verdict(&mut oracle, begin()), Ok(()));
    assert_eq!(verdict(&mut oracle, [Observation::Deleting(TOPIC.into()), creating()]), Ok(()));
    assert_eq!(verdict(&mut oracle, high_watermark(2, 0)), Ok(()));
    assert_eq!(verdict(&mut oracle, written(2, 0)), Ok(()));
}

fn creating_and_written(creating: Observation) -> Vec<Observation> {
    [creating].into_iter().chain(written(1, 0)).chain(high_watermark(1, 2)).collect()
}

#[test]
fn a_partition_takes_what_is_read_of_it_and_more_only_below_its_start() {
    let told = |start, read, told| {
        let sized = Observation::Sized(place(), super::Size { start, read, told });
        verdict(&mut Oracle::default(), [Observation::Creating(TOPIC.into(), 1), sized])
    };
    for (start, read, size) in [(0, 0, 0), (0, 70, 70), (3, 70, 70), (3, 70, 90), (3, 0, 0)] {
        assert_eq!(told(start, read, size), Ok(()));
    }
    for (start, read, size) in [(0, 70, 71), (0, 70, 69), (3, 70, 69), (0, 0, -1)] {
        assert_eq!(told(start, read, size), Err("partition-size"));
    }
}
