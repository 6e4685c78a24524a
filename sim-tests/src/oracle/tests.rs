//! What the oracle must say, and what it must not.

use super::{Aside, Observation, Oracle, Place};
use karst_runtime_sim::clock::BEGINNING;

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
    // Too young to go by age.
    let shape = Shape { records: 2, value: 8, timestamp: BEGINNING.0, times: 0, key: 0 };
    let batch = batch::encode(WriteId(write), shape, &mut Rng::new(write));
    [
        Observation::Sent(place(), WriteId(write), Payload(batch)),
        Observation::Ended(place(), WriteId(write), Outcome::Acked(base), Aside(None)),
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

#[test]
fn what_a_lost_wal_took_is_forgiven_and_nothing_else() {
    use super::{Loss, Question, Told, WriteId};
    // Two records each, at offsets 0, 2 and 4; the last two writes are lost.
    let begin = || {
        let mut oracle = Oracle::default();
        let writes = written(1, 0).into_iter().chain(written(2, 2)).chain(written(3, 4));
        let seen = [Observation::Creating(TOPIC.into(), 1)].into_iter().chain(writes).chain(high_watermark(1, 6));
        assert_eq!(verdict(&mut oracle, seen), Ok(()));
        assert_eq!(verdict(&mut oracle, [Observation::Asked(place(), 2)]), Ok(()));
        oracle.lose(&[Loss { topic: TOPIC.into(), partition: 0, partitions: 1, end: 2, epoch: 3, was_heard: true }]);
        oracle
    };
    let after = |seen: Vec<Observation>| verdict(&mut begin(), seen);
    assert_eq!(after(high_watermark(3, 2).into()), Ok(()));
    assert_eq!(after(high_watermark(3, 1).into()), Err("high-watermark-goes-back"));
    assert_eq!(after(vec![Observation::HighWatermark(place(), 2, 0)]), Ok(()), "asked before");
    assert_eq!(after(vec![Observation::ReadAll(place(), 0, 1)]), Err("lost-write"));
    assert_eq!(after(written(4, 2).into()), Ok(()), "its offset is given again");
    assert_eq!(after(vec![Observation::AckedAgain(place(), WriteId(2), 2)]), Err("lost-write-returns"));
    assert_eq!(after(vec![Observation::AckedAgain(place(), WriteId(1), 0)]), Ok(()));
    let ends = |epoch, told| {
        after(vec![Observation::Asked(place(), 3), Observation::Told(place(), 3, Question::Epoch(epoch), told)])
    };
    assert_eq!(ends(3, Told::EpochEnd(3, 2)), Ok(()));
    assert_eq!(ends(2, Told::EpochEnd(2, 0)), Ok(()));
    assert_eq!(ends(4, Told::EpochEnd(4, 6)), Ok(()));
    assert_eq!(ends(3, Told::EpochEnd(3, 6)), Err("truncation-is-noticed"));
    assert_eq!(ends(3, Told::Nothing), Err("truncation-is-noticed"));
}

#[test]
fn a_group_forgets_only_with_the_part_of_its_log_that_lost_something() {
    use super::{CommitId, GroupSeen, Landed, Loss};
    let see = |seen| Observation::Group(TOPIC.into(), seen);
    let verdict_after = |partition, was_heard| {
        let mut oracle = Oracle::default();
        let committed =
            [GroupSeen::Committing(CommitId(1), 0, 7, 1), GroupSeen::Committed(CommitId(1), 0, Landed::Acked)];
        assert_eq!(verdict(&mut oracle, committed.map(see)), Ok(()));
        let topic = "__consumer_offsets".into();
        oracle.lose(&[Loss { topic, partition, partitions: 2, end: 0, epoch: 1, was_heard }]);
        verdict(&mut oracle, [GroupSeen::AskedForOffsets(1), GroupSeen::Offsets(1, vec![(0, -1)])].map(see))
    };
    assert_eq!(verdict_after(0, true), Ok(()));
    assert_eq!(verdict_after(0, false), Err("committed-offset-lost"));
    assert_eq!(verdict_after(1, true), Err("committed-offset-lost"));
}

#[test]
fn a_violation_names_what_it_is_about() {
    use super::{CommitId, ConfigEnd, ConfigId, GroupSeen, Landed, Size, Trim, TrimId, Upto};
    let about = |seen: Vec<Observation>| {
        let mut oracle = Oracle::default();
        let violation = seen.into_iter().find_map(|seen| oracle.observe(seen).err()).expect("something is wrong");
        let told =
            violation.about.iter().map(|tags| tags.iter().map(ToString::to_string).collect::<Vec<_>>().join(","));
        (violation.invariant, told.collect::<Vec<_>>().join(" "))
    };
    let after = |seen: Vec<Observation>| {
        about(creating_and_written(Observation::Creating(TOPIC.into(), 1)).into_iter().chain(seen).collect())
    };
    let group = |seen| Observation::Group(TOPIC.into(), seen);
    let committed = vec![
        group(GroupSeen::Committing(CommitId(1), 0, 7, 1)),
        group(GroupSeen::Committed(CommitId(1), 0, Landed::Acked)),
        group(GroupSeen::AskedForOffsets(1)),
        group(GroupSeen::Offsets(1, vec![(0, -1)])),
    ];
    assert_eq!(about(committed), ("committed-offset-lost", "group=group-0".into()));
    let configured = vec![
        Observation::Configuring(TOPIC.into(), ConfigId(1), [("retention.ms".into(), Some("5".into()))].into()),
        Observation::Configured(TOPIC.into(), ConfigId(1), ConfigEnd::Done),
        Observation::AskedForConfigs(TOPIC.into(), 5),
        Observation::Configs(TOPIC.into(), 5, vec![("retention.ms".into(), Some("6".into()))]),
    ];
    assert_eq!(after(configured), ("acked-config-lost", "topic=group-0".into()));
    let listed =
        vec![Observation::Created(TOPIC.into()), Observation::AskedForTopics(5), Observation::Listed(5, Vec::new())];
    assert_eq!(after(listed), ("acked-topic-lost", "topic=group-0".into()));
    let trimming = |upto, start| {
        let trimmed = Observation::Trimmed(place(), TrimId(1), Trim::Done(start));
        vec![Observation::Trimming(place(), TrimId(1), Upto::Offset(upto)), trimmed]
    };
    assert_eq!(after(trimming(2, 1)), ("acked-trim-lost", "partition=group-0-0,offset=1".into()));
    let asked = |number| Observation::Asked(place(), number);
    let back = [trimming(2, 2), vec![asked(5), Observation::LogStart(place(), 5, 1)]].concat();
    assert_eq!(after(back), ("log-start-goes-back", "partition=group-0-0,offset=1".into()));
    let sized = vec![Observation::Sized(place(), Size { start: 0, read: 1, told: 2 })];
    assert_eq!(after(sized), ("partition-size", "partition=group-0-0".into()));
}
