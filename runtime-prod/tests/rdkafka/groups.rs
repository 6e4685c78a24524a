//! Consumer groups, through kill -9.

use super::{PATIENCE, client, create_topic, eventually, produce, runtime};
use crate::broker::Broker;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeSet;
use std::time::Duration;

fn member(broker: &Broker, group: &str, topic: &str) -> BaseConsumer {
    let settings = [
        ("group.id", group),
        ("enable.auto.commit", "false"),
        ("auto.offset.reset", "earliest"),
        ("heartbeat.interval.ms", "200"),
    ];
    let member: BaseConsumer = client(broker, &settings);
    member.subscribe(&[topic]).expect("subscribed");
    member
}

/// Polls the members until they have seen so many records, and adds them. Errors of connections pass.
fn read(members: &[&BaseConsumer], seen: &mut BTreeSet<(i32, i64)>, count: usize) {
    eventually("the group reads on", || {
        for member in members {
            while let Some(message) = member.poll(Duration::from_millis(10)) {
                seen.extend(message.ok().map(|message| (message.partition(), message.offset())));
            }
        }
        (seen.len() >= count).then_some(())
    });
}

/// Commits, again if the group rebalances or the broker is away.
fn commit(member: &BaseConsumer, topic: &str, offsets: &[(i32, i64)]) {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in offsets {
        list.add_partition_offset(topic, *partition, Offset::Offset(*offset)).expect("an offset");
    }
    eventually("a commit", || {
        member.poll(Duration::ZERO);
        member.commit(&list, CommitMode::Sync).ok()
    });
}

fn committed(broker: &Broker, group: &str, topic: &str, partitions: i32) -> Vec<Offset> {
    let asker: BaseConsumer = client(broker, &[("group.id", group)]);
    let mut list = TopicPartitionList::new();
    list.add_partition_range(topic, 0, partitions - 1);
    let found = eventually("committed offsets", || asker.committed_offsets(list.clone(), PATIENCE).ok());
    found.elements().iter().map(rdkafka::topic_partition_list::TopicPartitionListElem::offset).collect()
}

fn assigned(member: &BaseConsumer) -> BTreeSet<i32> {
    let assignment = member.assignment().expect("known");
    assignment.elements().iter().map(|element| element.partition()).collect()
}

#[test]
fn a_group_goes_on_through_a_kill_where_it_was() {
    let (runtime, mut broker) = (runtime(), Broker::start());
    create_topic(&runtime, &broker, "shared", 4);
    let producer = client(&broker, &[]);
    produce(&runtime, &producer, "shared", 4, 0..40);
    let one = member(&broker, "readers", "shared");
    let mut seen = BTreeSet::new();
    read(&[&one], &mut seen, 40);
    assert_eq!(assigned(&one).len(), 4, "it is alone");
    commit(&one, "shared", &[(0, 10), (1, 10), (2, 10), (3, 10)]);

    let two = member(&broker, "readers", "shared");
    eventually("two members share", || {
        [&one, &two].into_iter().for_each(|member| drop(member.poll(Duration::from_millis(20))));
        (assigned(&one).len() == 2 && assigned(&two).len() == 2).then_some(())
    });
    let before = (assigned(&one), assigned(&two));
    assert!(before.0.is_disjoint(&before.1));

    broker.kill_and_start();
    assert_eq!(committed(&broker, "readers", "shared", 4), [Offset::Offset(10); 4]);
    produce(&runtime, &producer, "shared", 4, 40..80);
    read(&[&one, &two], &mut seen, 80);
    assert_eq!((assigned(&one), assigned(&two)), before, "a death of the broker moves nothing");
    for (member, partitions) in [(&one, before.0), (&two, before.1)] {
        let offsets: Vec<_> = partitions.into_iter().map(|partition| (partition, 20)).collect();
        commit(member, "shared", &offsets);
    }

    drop(two);
    eventually("the one that stays gets all", || {
        drop(one.poll(Duration::from_millis(20)));
        (assigned(&one).len() == 4).then_some(())
    });
    drop(one);
    produce(&runtime, &producer, "shared", 4, 80..120);
    let three = member(&broker, "readers", "shared");
    let mut rest = BTreeSet::new();
    read(&[&three], &mut rest, 40);
    assert_eq!(rest, (0..4).flat_map(|partition| (20..30).map(move |offset| (partition, offset))).collect());
}
