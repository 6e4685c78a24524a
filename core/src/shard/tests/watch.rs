//! What those see who watch groups.

use super::world::World;
use crate::kafka::{Api, GroupRequest, RequestBody};
use crate::limits::Limits;
use crate::shard::{Mail, WatchLimits, WatchedGroups, WatchedOffset};
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::{OffsetCommitRequest, OffsetFetchRequest, OffsetFetchResponse};
use kafka_protocol::protocol::StrBytes;

const ALL: WatchLimits = WatchLimits { groups: 100, offsets: 100, id: 100 };

/// Asks to commit an offset in each of these partitions of `orders`.
fn commit(world: &mut World, group: &str, offsets: &[(i32, i64)]) {
    let line = |(index, offset): &(i32, i64)| {
        OffsetCommitRequestPartition::default().with_partition_index(*index).with_committed_offset(*offset)
    };
    let topic = OffsetCommitRequestTopic::default()
        .with_name(StrBytes::from_static_str("orders").into())
        .with_partitions(offsets.iter().map(line).collect());
    let request = OffsetCommitRequest::default()
        .with_group_id(StrBytes::from_string(group.into()).into())
        .with_topics(vec![topic]);
    world.ask(Api::OffsetCommit, 7, RequestBody::Group(Box::new(GroupRequest::Commit(request))));
    world.mail(Mail::Granted(1 << 20));
}

/// Makes so many more records durable.
fn write(world: &mut World, records: u32) {
    world.produce("orders", 0, records);
    world.mail(Mail::Granted(1 << 20));
    world.write_out().expect("a batch");
}

/// Groups' log, and a topic with 7 and 0 records.
fn world() -> World {
    let mut world = World::new(&Limits::default());
    world.topic("__consumer_offsets", 1);
    world.topic("orders", 2);
    write(&mut world, 7);
    world
}

/// Partition, committed offset and lag of the group that is told.
fn offsets(told: &WatchedGroups) -> Vec<(i32, i64, Option<u64>)> {
    let line = |offset: &WatchedOffset| (offset.partition, offset.committed, offset.lag);
    told.groups.iter().flat_map(|group| group.offsets.iter().map(line)).collect()
}

#[test]
fn lag_is_what_is_durable_beyond_what_is_durably_committed() {
    let mut world = world();
    commit(&mut world, "readers", &[(0, 3), (1, 2)]);
    assert_eq!(offsets(&world.shard.watch_groups(ALL)), [], "it is not durable yet");
    world.write_out().expect("records of the groups");
    let told = world.shard.watch_groups(ALL);
    assert_eq!(offsets(&told), [(0, 3, Some(4)), (1, 2, Some(0))], "nobody is ahead of the log by a negative lag");
    let group = &told.groups[0];
    assert_eq!((&*group.id, group.state, group.members, group.generation, group.lag), ("readers", "Empty", 0, 0, 4));
    assert_eq!(told.states.into_iter().collect::<Vec<_>>(), [("Empty", 1)]);
    world.produce("orders", 0, 5);
    world.mail(Mail::Granted(1 << 20));
    assert_eq!(world.shard.watch_groups(ALL).groups[0].lag, 4, "appended is not applied");
    world.write_out().expect("a batch");
    assert_eq!(world.shard.watch_groups(ALL).groups[0].lag, 9);
}

#[test]
fn what_is_left_out_is_counted() {
    let mut world = world();
    for group in ["a", "b", "long-name"] {
        commit(&mut world, group, &[(0, 7), (1, 0)]);
        world.write_out().expect("records of the groups");
    }
    let told = |groups, offsets, id| {
        let told = world.shard.watch_groups(WatchLimits { groups, offsets, id });
        let each: Vec<usize> = told.groups.iter().map(|group| group.offsets.len()).collect();
        assert_eq!(told.states["Empty"], 3, "all are counted");
        (each, told.groups_left_out, told.offsets_left_out)
    };
    assert_eq!(told(3, 6, 9), (vec![2, 2, 2], 0, 0));
    assert_eq!(told(3, 6, 8), (vec![2, 2], 1, 2), "an id that is too long");
    assert_eq!(told(1, 6, 9), (vec![2], 2, 4), "too many groups");
    assert_eq!(told(3, 3, 9), (vec![2, 1, 0], 0, 3), "too many offsets");
}

#[test]
fn partitions_of_a_group_that_is_named_twice_are_told_each_time_and_all_of_it_once() {
    let mut world = world();
    commit(&mut world, "readers", &[(0, 1)]);
    world.write_out().expect("records of the groups");
    let group = |wanted: Option<&[i32]>| {
        let of = |wanted: &[i32]| {
            let topic = OffsetFetchRequestTopics::default().with_name(StrBytes::from_static_str("orders").into());
            vec![topic.with_partition_indexes(wanted.to_vec())]
        };
        OffsetFetchRequestGroup::default()
            .with_group_id(StrBytes::from_static_str("readers").into())
            .with_topics(wanted.map(of))
    };
    let groups = vec![group(Some(&[0])), group(Some(&[1])), group(None), group(Some(&[0])), group(None)];
    let request = OffsetFetchRequest::default().with_groups(groups);
    let number = world.ask(Api::OffsetFetch, 8, RequestBody::Group(Box::new(GroupRequest::Fetch(request))));
    let response: OffsetFetchResponse = world.answer(number, 8);
    let told = response.groups.iter().map(|group| {
        let lines = group.topics.iter().flat_map(|topic| &topic.partitions);
        lines.map(|line| (line.partition_index, line.committed_offset)).collect::<Vec<_>>()
    });
    let first = vec![(0, 1)];
    assert_eq!(told.collect::<Vec<_>>(), [first.clone(), vec![(1, -1)], first.clone(), first]);
}
