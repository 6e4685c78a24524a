//! Questions of administrators.

use super::world::World;
use crate::data_object::sample;
use crate::id::{Offset, PartitionIndex, StreamEpoch};
use crate::kafka::{AdminRequest, Api, RequestBody};
use crate::limits::Limits;
use crate::machine::Rng;
use crate::metadata::Command;
use crate::shard::Mail;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use kafka_protocol::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::delete_acls_request::DeleteAclsFilter;
use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::describe_user_scram_credentials_request::UserName;
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, BrokerId, CreateAclsRequest,
    CreateAclsResponse, DeleteAclsRequest, DeleteAclsResponse, DescribeAclsRequest, DescribeAclsResponse,
    DescribeClientQuotasRequest, DescribeClientQuotasResponse, DescribeLogDirsRequest, DescribeLogDirsResponse,
    DescribeProducersRequest, DescribeProducersResponse, DescribeTransactionsRequest, DescribeTransactionsResponse,
    DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse, ElectLeadersRequest,
    ElectLeadersResponse, ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
    ListTransactionsRequest, ListTransactionsResponse, TopicName, TransactionalId,
};
use kafka_protocol::protocol::{Decodable, StrBytes};

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.into())
}

fn name(name: &str) -> TopicName {
    TopicName(text(name))
}

fn ask<T: Decodable>(world: &mut World, api: Api, version: i16, request: AdminRequest) -> T {
    let number = world.ask(api, version, RequestBody::Admin(Box::new(request)));
    world.answer(number, version)
}

/// Sizes by partition, as the answer has them in that version.
fn sizes(world: &mut World, version: i16, topics: Option<&[(&str, &[i32])]>) -> BTreeMap<String, i64> {
    let topic = |(topic, partitions): &(&str, &[i32])| {
        DescribableLogDirTopic::default().with_topic(name(topic)).with_partitions(partitions.to_vec())
    };
    let topics = topics.map(|topics| topics.iter().map(topic).collect());
    let request = AdminRequest::LogDirs(DescribeLogDirsRequest::default().with_topics(topics));
    let response: DescribeLogDirsResponse = ask(world, Api::DescribeLogDirs, version, request);
    assert_eq!((response.error_code, response.results.len()), (0, 1), "there is one place");
    let place = &response.results[0];
    assert_eq!((place.error_code, place.log_dir.as_str()), (0, "s3://abc"));
    assert_eq!((place.total_bytes, place.usable_bytes), (-1, -1), "a bucket has no size");
    let mut sizes = BTreeMap::new();
    for topic in &place.topics {
        assert!(!topic.partitions.is_empty(), "a topic of which there is nothing is left out");
        for partition in &topic.partitions {
            assert_eq!((partition.offset_lag, partition.is_future_key), (0, false));
            let at = alloc::format!("{}-{}", topic.name.as_str(), partition.partition_index);
            assert_eq!(sizes.insert(at, partition.partition_size), None, "each is told once");
        }
    }
    sizes
}

fn of(sizes: &[(&str, i64)]) -> BTreeMap<String, i64> {
    sizes.iter().map(|(name, size)| (name.to_string(), *size)).collect()
}

/// The length of the batch that [`World::write`] writes.
fn written(records: u32) -> i64 {
    i64::try_from(sample::batch(1, 1, 0, records, 10, &mut Rng::new(9)).batch.len()).expect("small")
}

fn stored() -> World {
    let mut world = World::storing_at("s3://abc", &Limits::default());
    world.topic("b", 2);
    world.topic("a", 1);
    world
}

#[test]
fn partitions_are_as_large_as_what_is_stored_of_them() {
    let mut world = stored();
    let (three, four) = (written(3), written(4));
    let number = world.produce("b", 0, 3);
    assert_eq!(sizes(&mut world, 4, None), of(&[("a-0", 0), ("b-0", 0), ("b-1", 0)]), "nothing is durable");
    assert!(!world.is_answered(number));
    let mut world = stored();
    world.write("b", 0, &[3, 4]);
    for version in 1..=4 {
        assert_eq!(sizes(&mut world, version, None), of(&[("a-0", 0), ("b-0", three + four), ("b-1", 0)]));
    }
    // Of the first batch an object is made, which says that it has 100 bytes.
    world.commit("b", 0, &[(0, 3)]);
    assert_eq!(sizes(&mut world, 4, None)["b-0"], 100 + four, "each record counts once");
    let mut world = stored();
    world.write("b", 0, &[3, 4]);
    world.commit("b", 0, &[(0, 3), (3, 7)]);
    assert_eq!(sizes(&mut world, 4, None)["b-0"], 200);
}

#[test]
fn what_is_deleted_counts_no_more() {
    let mut world = stored();
    world.write("b", 0, &[3, 4, 5]);
    world.commit("b", 0, &[(0, 3)]);
    let stream = world.stream("b", PartitionIndex(0));
    let mut trim = |start| {
        world.command(Command::TrimStream { stream, epoch: StreamEpoch(1), start: Offset(start) });
        sizes(&mut world, 4, None)["b-0"]
    };
    assert_eq!(trim(2), 100 + written(4) + written(5), "a range goes with its last record");
    assert_eq!(trim(3), written(4) + written(5));
    assert_eq!(trim(8), written(5), "also where it is in no object yet");
    assert_eq!(trim(12), 0);
}

#[test]
fn only_those_that_are_asked_for_and_there_are_told() {
    let mut world = stored();
    let asked: &[(&str, &[i32])] = &[("b", &[1, 7, -1]), ("none", &[0]), ("?", &[0]), ("a", &[]), ("b", &[1, 0, 1])];
    assert_eq!(sizes(&mut world, 2, Some(asked)), of(&[("b-0", 0), ("b-1", 0)]));
    assert_eq!(sizes(&mut world, 1, Some(&[])), of(&[]));
}

/// A topic's partitions with code and whether there is a reason.
type Elected = Vec<(String, Vec<(i32, i16)>)>;

fn elect(world: &mut World, version: i16, kind: i8, topics: Option<&[(&str, &[i32])]>) -> (i16, Elected) {
    let topic = |(topic, partitions): &(&str, &[i32])| {
        TopicPartitions::default().with_topic(name(topic)).with_partitions(partitions.to_vec())
    };
    let topics = topics.map(|topics| topics.iter().map(topic).collect());
    let request = ElectLeadersRequest::default().with_election_type(kind).with_topic_partitions(topics);
    let response: ElectLeadersResponse = ask(world, Api::ElectLeaders, version, AdminRequest::ElectLeaders(request));
    let results = response.replica_election_results.into_iter().map(|topic| {
        let partitions = topic.partition_result.iter().map(|one| (one.partition_id, one.error_code));
        (topic.topic.to_string(), partitions.collect())
    });
    (response.error_code, results.collect())
}

#[test]
fn a_partition_has_the_leader_that_it_should_have() {
    let mut world = stored();
    let asked: &[(&str, &[i32])] = &[("b", &[1, 2]), ("none", &[0])];
    let expected = vec![("b".to_string(), vec![(1, 84), (2, 3)]), ("none".to_string(), vec![(0, 3)])];
    for (version, kind) in [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1)] {
        assert_eq!(elect(&mut world, version, kind, Some(asked)), (0, expected.clone()));
    }
    assert_eq!(elect(&mut world, 2, 2, Some(asked)), (42, vec![]), "there is no such election");
    let nothing = |topic: &str| (topic.to_string(), vec![]);
    assert_eq!(elect(&mut world, 2, 0, None), (0, vec![nothing("a"), nothing("b")]));
    world.command(Command::CloseStreams);
    assert_eq!(elect(&mut world, 2, 0, Some(&[("a", &[0])])).1, [("a".to_string(), vec![(0, 80)])]);
    assert_eq!(elect(&mut world, 2, 1, Some(&[("a", &[0])])).1, [("a".to_string(), vec![(0, 83)])]);
    let all = elect(&mut world, 2, 1, None).1;
    assert_eq!(all, [("a".to_string(), vec![(0, 83)]), ("b".to_string(), vec![(0, 83), (1, 83)])]);
}

#[test]
fn partitions_are_moved_nowhere_but_to_where_they_are() {
    let mut world = stored();
    let mut moved = |version: i16, topic: &str, index: i32, replicas: Option<&[i32]>| {
        let replicas = replicas.map(|ids| ids.iter().map(|id| BrokerId(*id)).collect());
        let partition = ReassignablePartition::default().with_partition_index(index).with_replicas(replicas);
        let topic = ReassignableTopic::default().with_name(name(topic)).with_partitions(vec![partition]);
        let mut request = AlterPartitionReassignmentsRequest::default().with_topics(vec![topic]);
        request.allow_replication_factor_change = version < 1;
        let response: AlterPartitionReassignmentsResponse =
            ask(&mut world, Api::AlterPartitionReassignments, version, AdminRequest::Reassign(request));
        assert_eq!((response.error_code, response.error_message), (0, None));
        assert_eq!(response.allow_replication_factor_change, version < 1, "it is said back");
        let answer = &response.responses[0].partitions[0];
        assert_eq!((answer.error_code != 0, answer.partition_index), (answer.error_message.is_some(), index));
        answer.error_code
    };
    for version in 0..=1 {
        assert_eq!(moved(version, "b", 1, Some(&[1])), 0);
        assert_eq!(moved(version, "b", 1, Some(&[1, 2])), 39);
        assert_eq!(moved(version, "b", 1, Some(&[1, 1])), 39);
        assert_eq!(moved(version, "b", 1, Some(&[])), 39);
        assert_eq!(moved(version, "b", 1, None), 85);
        assert_eq!(moved(version, "b", 2, None), 3);
        assert_eq!(moved(version, "none", 0, Some(&[1])), 3);
    }
    let request = AdminRequest::Reassignments(ListPartitionReassignmentsRequest::default());
    let response: ListPartitionReassignmentsResponse = ask(&mut world, Api::ListPartitionReassignments, 0, request);
    assert_eq!((response.error_code, response.error_message, response.topics), (0, None, vec![]));
}

/// A partition with code and producers: each with epoch, last sequence and time.
type Producing = (i32, i16, Vec<(i64, i32, i32, i64)>);

fn producers(world: &mut World, topics: &[(&str, &[i32])]) -> Vec<Vec<Producing>> {
    let topic = |(topic, partitions): &(&str, &[i32])| {
        TopicRequest::default().with_name(name(topic)).with_partition_indexes(partitions.to_vec())
    };
    let request = DescribeProducersRequest::default().with_topics(topics.iter().map(topic).collect());
    let response: DescribeProducersResponse = ask(world, Api::DescribeProducers, 0, AdminRequest::Producers(request));
    let partition = |one: &kafka_protocol::messages::describe_producers_response::PartitionResponse| {
        assert!(one.active_producers.iter().all(|known| known.current_txn_start_offset == -1));
        let active = one.active_producers.iter();
        let active =
            active.map(|known| (known.producer_id.0, known.producer_epoch, known.last_sequence, known.last_timestamp));
        (one.partition_index, one.error_code, active.collect())
    };
    response.topics.iter().map(|topic| topic.partitions.iter().map(partition).collect()).collect()
}

#[test]
fn producers_are_told_with_what_is_durable_of_them() {
    let mut world = stored();
    world.command(Command::LeaseProducers { count: 10 });
    let stream = world.stream("b", PartitionIndex(0)).0;
    let plain = sample::batch(stream, 1, 0, 2, 10, &mut Rng::new(1));
    let batch = sample::sequenced(&plain, 7, 3, 0);
    let number = world.send("b", 0, &batch);
    world.mail(Mail::Granted(1 << 20));
    assert_eq!(producers(&mut world, &[("b", &[0])]), [[(0, 0, vec![])]], "nothing is durable");
    world.mail(Mail::Appended(vec![batch.clone()]));
    world.answered(number).expect("it is durable");
    let told = producers(&mut world, &[("b", &[0, 1, 0, 5]), ("none", &[0]), ("b", &[0])]);
    let of_7 = vec![(7, 3, 1, batch.max_timestamp.0)];
    assert_eq!(told, [vec![(0, 0, of_7), (1, 0, vec![]), (5, 3, vec![])], vec![(0, 3, vec![])], vec![]]);
}

/// Tests have answers of two producers.
#[test]
fn a_full_answer_tells_that_there_is_more() {
    let mut world = stored();
    world.command(Command::LeaseProducers { count: 10 });
    let mut base = [0, 0];
    for (partition, producer) in [(0, 1), (1, 2), (1, 3)] {
        let stream = world.stream("b", PartitionIndex(partition)).0;
        let base = &mut base[partition as usize];
        let batch = sample::sequenced(&sample::batch(stream, 1, *base, 1, 10, &mut Rng::new(1)), producer, 0, 0);
        *base += 1;
        let number = world.send("b", partition, &batch);
        world.mail(Mail::Granted(1 << 20));
        world.mail(Mail::Appended(vec![batch]));
        world.answered(number).expect("it is durable");
    }
    let mut told = |partitions: &[i32]| {
        let told = producers(&mut world, &[("b", partitions)]).remove(0);
        told.into_iter().map(|(index, code, known)| (index, code, known.len())).collect::<Vec<_>>()
    };
    assert_eq!(told(&[0, 1]), [(0, 0, 1), (1, 0, 2)], "a partition is told whole");
    assert_eq!(told(&[1, 0]), [(1, 0, 2), (0, 6, 0)], "the client asks for it again");
    assert_eq!(told(&[0]), [(0, 0, 1)]);
}

#[test]
fn there_are_no_transactions() {
    let mut world = stored();
    for version in 0..=2 {
        let mut request = ListTransactionsRequest::default().with_state_filters(vec![
            text("Ongoing"),
            text("Asleep"),
            text("PrepareEpochFence"),
        ]);
        if version >= 1 {
            request.duration_filter = 1;
        }
        let response: ListTransactionsResponse =
            ask(&mut world, Api::ListTransactions, version, AdminRequest::ListTransactions(request));
        assert_eq!((response.error_code, response.unknown_state_filters), (0, vec![text("Asleep")]));
        assert!(response.transaction_states.is_empty());
    }
    let ids = vec![TransactionalId(text("mine")), TransactionalId(text(""))];
    let request = DescribeTransactionsRequest::default().with_transactional_ids(ids);
    let response: DescribeTransactionsResponse =
        ask(&mut world, Api::DescribeTransactions, 0, AdminRequest::Transactions(request));
    let states: Vec<_> =
        response.transaction_states.iter().map(|one| (one.transactional_id.to_string(), one.error_code)).collect();
    assert_eq!(states, [("mine".to_string(), 105), (String::new(), 42)]);
}

#[test]
fn access_control_is_off() {
    let mut world = stored();
    for version in 1..=3 {
        let request = AdminRequest::Acls(DescribeAclsRequest::default());
        let response: DescribeAclsResponse = ask(&mut world, Api::DescribeAcls, version, request);
        assert_eq!((response.error_code, response.error_message.is_some(), response.resources.len()), (54, true, 0));
        let request = CreateAclsRequest::default().with_creations(vec![AclCreation::default(); 2]);
        let response: CreateAclsResponse = ask(&mut world, Api::CreateAcls, version, AdminRequest::CreateAcls(request));
        assert_eq!(response.results.iter().map(|one| one.error_code).collect::<Vec<_>>(), [54, 54]);
        let request = DeleteAclsRequest::default().with_filters(vec![DeleteAclsFilter::default(); 2]);
        let response: DeleteAclsResponse = ask(&mut world, Api::DeleteAcls, version, AdminRequest::DeleteAcls(request));
        assert_eq!(response.filter_results.iter().map(|one| one.error_code).collect::<Vec<_>>(), [54, 54]);
    }
}

#[test]
fn there_are_no_quotas_and_questions_that_make_no_sense_are_refused() {
    let mut world = stored();
    let mut described = |components: &[(&str, i8, Option<&str>)]| {
        let component = |(kind, how, who): &(&str, i8, Option<&str>)| {
            ComponentData::default().with_entity_type(text(kind)).with_match_type(*how).with_match(who.map(text))
        };
        let components: Vec<_> = components.iter().map(component).collect();
        let mut codes = [0, 1].map(|version| {
            let request = DescribeClientQuotasRequest::default().with_components(components.clone());
            let response: DescribeClientQuotasResponse =
                ask(&mut world, Api::DescribeClientQuotas, version, AdminRequest::ClientQuotas(request));
            assert_eq!(response.entries, (response.error_code == 0).then(Vec::new));
            response.error_code
        });
        codes.sort_unstable();
        assert_eq!(codes[0], codes[1]);
        codes[0]
    };
    assert_eq!(described(&[]), 0);
    assert_eq!(described(&[("user", 0, Some("a")), ("client-id", 1, None)]), 0);
    assert_eq!(described(&[("ip", 2, None)]), 0);
    assert_eq!(described(&[("user", 0, None)]), 42);
    assert_eq!(described(&[("user", 1, Some("a"))]), 42);
    assert_eq!(described(&[("user", 2, Some("a"))]), 42);
    assert_eq!(described(&[("user", 3, None)]), 42);
    assert_eq!(described(&[("", 2, None)]), 42);
    assert_eq!(described(&[("user", 2, None), ("user", 1, None)]), 42);
    assert_eq!(described(&[("user", 2, None), ("ip", 2, None)]), 42);
    assert_eq!(described(&[("team", 2, None)]), 35);
}

#[test]
fn no_user_has_a_password() {
    let mut world = stored();
    let mut described = |users: Option<&[&str]>| {
        let users = users.map(|users| users.iter().map(|user| UserName::default().with_name(text(user))).collect());
        let request = AdminRequest::ScramCredentials(DescribeUserScramCredentialsRequest::default().with_users(users));
        let response: DescribeUserScramCredentialsResponse =
            ask(&mut world, Api::DescribeUserScramCredentials, 0, request);
        assert_eq!((response.error_code, response.error_message), (0, None));
        response.results.iter().map(|one| (one.user.to_string(), one.error_code)).collect::<Vec<_>>()
    };
    assert_eq!(described(None), []);
    assert_eq!(described(Some(&[])), []);
    let expected = [("a".to_string(), 91), ("b".to_string(), 92)];
    assert_eq!(described(Some(&["b", "a", "b"])), expected);
}
