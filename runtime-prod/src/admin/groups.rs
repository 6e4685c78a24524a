//! `karst groups`: by Kafka's protocol, so of any broker that speaks it.

use super::GroupOrder;
use super::topics::{LATEST, offsets};
use crate::client::{Client, check};
use crate::failure::Failure;
use bytes::{Buf, Bytes};
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::offset_fetch_response::OffsetFetchResponseTopic;
use kafka_protocol::messages::{
    ConsumerProtocolAssignment, DescribeGroupsRequest, GroupId, ListGroupsRequest, OffsetFetchRequest,
};
use kafka_protocol::protocol::{Decodable, Request, StrBytes};
use std::fmt::Write;

/// Of the assignment that is read here; later ones only add to it.
const ASSIGNMENT: i16 = 0;

pub(super) fn order(broker: &str, order: &GroupOrder) -> Result<String, Failure> {
    let mut client = Client::connect(broker)?;
    match order {
        GroupOrder::List => list(&mut client),
        GroupOrder::Describe(names) => describe(&mut client, names),
    }
}

fn list(client: &mut Client) -> Result<String, Failure> {
    let mut out = String::new();
    for (name, state) in groups(client)? {
        let _ = writeln!(out, "{name:<40} {state}");
    }
    Ok(out)
}

fn describe(client: &mut Client, names: &[String]) -> Result<String, Failure> {
    const VERSION: i16 = 5;
    let names =
        if names.is_empty() { groups(client)?.into_iter().map(|(name, _)| name).collect() } else { names.to_vec() };
    serves::<DescribeGroupsRequest>(client, VERSION)?;
    let mut out = String::new();
    for name in names {
        let request = DescribeGroupsRequest::default().with_groups(vec![group_id(&name)]);
        for group in client.ask(VERSION, &request)?.groups {
            check(&format!("describe group {name:?}"), group.error_code)?;
            describe_one(client, &group, &mut out)?;
        }
    }
    Ok(out)
}

fn describe_one(client: &mut Client, group: &DescribedGroup, out: &mut String) -> Result<(), Failure> {
    let name = group.group_id.as_str();
    // Of a group that is not there Kafka says that it is dead.
    if group.group_state.as_str() == "Dead" {
        return Err(Failure::new(format_args!("there is no group {name:?}")));
    }
    let _ = writeln!(out, "{name}: {}, {} members", group.group_state.as_str(), group.members.len());
    for member in &group.members {
        let host = member.client_host.trim_start_matches('/');
        let host = if host.is_empty() { String::new() } else { format!(" at {host}") };
        let (id, client) = (member.member_id.as_str(), member.client_id.as_str());
        let _ = writeln!(out, "  member {id} (client {client}{host}){}", assigned(member));
    }
    for topic in committed(client, name)? {
        let partitions: Vec<i32> = topic.partitions.iter().map(|partition| partition.partition_index).collect();
        let ends = offsets(client, &topic.name, &partitions, LATEST)?;
        for partition in &topic.partitions {
            let index = partition.partition_index;
            let at = partition.committed_offset;
            let end = ends.get(&index);
            let lag = end.map_or("unknown".into(), |end| end.saturating_sub(at).max(0).to_string());
            let end = end.map_or("unknown".into(), ToString::to_string);
            let topic = topic.name.as_str();
            let _ = writeln!(out, "  {topic} partition {index:<6} committed {at:<12} end {end:<12} lag {lag}");
        }
    }
    Ok(())
}

/// Names and states of all groups, by name.
fn groups(client: &mut Client) -> Result<Vec<(String, String)>, Failure> {
    const VERSION: i16 = 4;
    serves::<ListGroupsRequest>(client, VERSION)?;
    let response = client.ask(VERSION, &ListGroupsRequest::default())?;
    check("list groups", response.error_code)?;
    let named = response.groups.iter().map(|group| (group.group_id.to_string(), group.group_state.to_string()));
    let mut named: Vec<(String, String)> = named.collect();
    named.sort();
    Ok(named)
}

/// Every offset that the group has committed.
fn committed(client: &mut Client, name: &str) -> Result<Vec<OffsetFetchResponseTopic>, Failure> {
    const VERSION: i16 = 7;
    serves::<OffsetFetchRequest>(client, VERSION)?;
    let request = OffsetFetchRequest::default().with_group_id(group_id(name)).with_topics(None);
    let response = client.ask(VERSION, &request)?;
    check(&format!("tell the offsets of group {name:?}"), response.error_code)?;
    let mut topics = response.topics;
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    for topic in &mut topics {
        topic.partitions.retain(|partition| partition.error_code == 0 && partition.committed_offset >= 0);
        topic.partitions.sort_by_key(|partition| partition.partition_index);
    }
    Ok(topics)
}

/// What a member was assigned, where its protocol is that of consumers.
fn assigned(member: &DescribedGroupMember) -> String {
    let mut bytes: Bytes = member.member_assignment.clone();
    let version = bytes.try_get_i16().unwrap_or(-1);
    let read = (version >= ASSIGNMENT).then(|| ConsumerProtocolAssignment::decode(&mut bytes, ASSIGNMENT).ok());
    let Some(assignment) = read.flatten() else { return String::new() };
    let parts = assignment
        .assigned_partitions
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|partition| format!("{}-{partition}", topic.topic.as_str())));
    let mut parts: Vec<String> = parts.collect();
    parts.sort();
    if parts.is_empty() { ": nothing".into() } else { format!(": {}", parts.join(", ")) }
}

fn serves<R: Request>(client: &mut Client, version: i16) -> Result<(), Failure> {
    if client.serves(R::KEY, version)? {
        return Ok(());
    }
    Err(Failure::new("the broker has no consumer groups, or is too old to tell about them"))
}

fn group_id(name: &str) -> GroupId {
    GroupId(StrBytes::from_string(name.into()))
}
