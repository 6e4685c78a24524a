//! Who leads, as clients hear it that believe something else.

use super::world::{CONN, World};
use crate::id::PartitionIndex;
use crate::kafka::{Api, ErrorCode, RequestBody};
use crate::limits::Limits;
use crate::shard::Mail;
use alloc::boxed::Box;
use alloc::vec;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{FetchRequest, FetchResponse, ProduceResponse};

/// The error of a fetch in a partition under an epoch; who leads and under which epoch, and where that is.
type Told = (i16, i32, i32, alloc::vec::Vec<(i32, alloc::string::String, i32)>);

fn fetched(world: &mut World, version: i16, believed: i32) -> Told {
    let id = uuid::Uuid::from_bytes(world.id_of("orders").0);
    let partition = FetchPartition::default().with_current_leader_epoch(believed).with_partition_max_bytes(100);
    let topic =
        FetchTopic::default().with_topic_id(id).with_partitions(vec![partition.clone(), partition.with_partition(1)]);
    let request = FetchRequest::default().with_topics(vec![topic]);
    let number = world.ask(Api::Fetch, version, RequestBody::Fetch(Box::new(request)));
    let response: FetchResponse = world.answer(number, version);
    let [first, second] = &response.responses[0].partitions[..] else { panic!("two were asked for") };
    assert_eq!(first.current_leader, second.current_leader);
    let endpoints = response.node_endpoints.iter().map(|node| (*node.node_id, node.host.as_str().into(), node.port));
    (first.error_code, *first.current_leader.leader_id, first.current_leader.leader_epoch, endpoints.collect())
}

fn here() -> alloc::vec::Vec<(i32, alloc::string::String, i32)> {
    vec![(1, "broker".into(), 9092)]
}

#[test]
fn a_fetch_under_an_older_epoch_hears_of_the_leader_since_version_16() {
    let mut world = World::new(&Limits::default());
    world.topic("orders", 2);
    assert_eq!(fetched(&mut world, 17, 1), (0, -1, -1, vec![]));
    assert_eq!(fetched(&mut world, 16, 0), (ErrorCode::FencedLeaderEpoch.code(), 1, 1, here()));
    assert_eq!(fetched(&mut world, 15, 0), (ErrorCode::FencedLeaderEpoch.code(), -1, -1, vec![]));
    assert_eq!(fetched(&mut world, 17, 2), (ErrorCode::UnknownLeaderEpoch.code(), -1, -1, vec![]));
}

#[test]
fn a_produce_to_a_broker_that_does_not_lead_hears_of_the_leader_since_version_10() {
    let mut world = World::new(&Limits::default());
    world.topic("orders", 1);
    world.mail(Mail::Drain);
    for (version, leader, endpoints) in [(9, (-1, -1), 0), (10, (1, 1), 1), (13, (1, 1), 1)] {
        let number = world.produce_in("orders", version);
        let response: ProduceResponse = world.answer(number, version);
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!(partition.error_code, ErrorCode::NotLeaderOrFollower.code());
        assert_eq!((*partition.current_leader.leader_id, partition.current_leader.leader_epoch), leader);
        assert_eq!(response.node_endpoints.len(), endpoints);
        assert!(response.node_endpoints.iter().all(|node| (node.host.as_str(), node.port) == ("broker", 9092)));
    }
}

#[test]
fn a_leader_that_is_not_known_has_no_place() {
    let mut world = World::new(&Limits::default());
    world.topic("orders", 1);
    let stream = world.stream("orders", PartitionIndex(0));
    let leader = world.shard.leader_of(stream).expect("it is known");
    let nobody = crate::kafka::CurrentLeader { node: None, ..leader };
    assert_eq!(world.shard.endpoints_of(CONN, [nobody].into_iter()), []);
    assert_eq!(world.shard.endpoints_of(CONN, [leader, nobody, leader].into_iter()).len(), 1, "each once");
    assert_eq!(nobody.node_id(), -1);
}
