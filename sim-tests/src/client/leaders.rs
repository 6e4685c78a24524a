//! What answers tell of leaders (KIP-951): only with errors of clients that believe in another leader, only in versions
//! that have room for it, and with the place of each leader that is named, once.

use kafka_protocol::messages::{FetchResponse, ProduceResponse};
use std::collections::BTreeSet;

const NOT_LEADER_OR_FOLLOWER: i16 = 6;
const FENCED_LEADER_EPOCH: i16 = 74;

/// Nobody, and no epoch.
const NOTHING: (i32, i32) = (-1, -1);

pub(super) fn check_produced(version: i16, response: &ProduceResponse) -> Result<(), String> {
    let partitions = response.responses.iter().flat_map(|topic| &topic.partition_responses).map(|partition| {
        let leader = &partition.current_leader;
        (partition.error_code, (*leader.leader_id, leader.leader_epoch))
    });
    let places = response.node_endpoints.iter().map(|node| (*node.node_id, node.host.as_str(), node.port));
    check("produce", version >= 10, (&[NOT_LEADER_OR_FOLLOWER], partitions), places)
}

pub(super) fn check_fetched(version: i16, response: &FetchResponse) -> Result<(), String> {
    let partitions = response.responses.iter().flat_map(|topic| &topic.partitions).map(|partition| {
        let leader = &partition.current_leader;
        (partition.error_code, (*leader.leader_id, leader.leader_epoch))
    });
    let places = response.node_endpoints.iter().map(|node| (*node.node_id, node.host.as_str(), node.port));
    check("fetch", version >= 16, (&[NOT_LEADER_OR_FOLLOWER, FENCED_LEADER_EPOCH], partitions), places)
}

/// A topic that is deleted meanwhile has no leader to be told of: that an error comes without one is legal.
fn check<'a>(
    api: &str,
    may_tell: bool,
    (codes, partitions): (&[i16], impl Iterator<Item = (i16, (i32, i32))>),
    places: impl Iterator<Item = (i32, &'a str, i32)>,
) -> Result<(), String> {
    let mut leaders = BTreeSet::new();
    for (code, leader) in partitions.filter(|(_, leader)| *leader != NOTHING) {
        if !may_tell || !codes.contains(&code) || leader.1 < 0 {
            return Err(format!("the answer to a {api} tells of the leader {leader:?} with the error {code}"));
        }
        leaders.insert(leader.0);
    }
    leaders.remove(&-1);
    let mut named = BTreeSet::new();
    for (node, host, port) in places {
        if !named.insert(node) || host.is_empty() || port <= 0 {
            return Err(format!("the answer to a {api} says that node {node} is at {host:?}:{port}"));
        }
    }
    if named != leaders {
        return Err(format!("the answer to a {api} names the leaders {leaders:?}, and says where {named:?} are"));
    }
    Ok(())
}
