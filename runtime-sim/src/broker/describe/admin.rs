//! What administrators ask.

use super::phrases::{count, list};
use crate::recording::About;
use karst_core::kafka::AdminRequest;

/// Adds the partitions that it is about.
pub(super) fn admin(request: &AdminRequest, about: &mut About) {
    for partition in partitions(request) {
        about.name("partition", partition);
    }
}

/// It, in words.
pub(super) fn of_admin_request(request: &AdminRequest) -> String {
    let of = |what: &str| format!("{what} of {}", list(partitions(request)));
    match request {
        AdminRequest::Acls(_) => "DescribeAcls".into(),
        AdminRequest::CreateAcls(asked) => format!("CreateAcls of {}", count(asked.creations.len(), "rule")),
        AdminRequest::DeleteAcls(asked) => format!("DeleteAcls by {}", count(asked.filters.len(), "filter")),
        AdminRequest::LogDirs(asked) if asked.topics.is_none() => "DescribeLogDirs of all partitions".into(),
        AdminRequest::LogDirs(_) => of("DescribeLogDirs"),
        AdminRequest::ElectLeaders(asked) if asked.topic_partitions.is_none() => {
            "ElectLeaders of all partitions".into()
        }
        AdminRequest::ElectLeaders(_) => of("ElectLeaders"),
        AdminRequest::Reassign(_) => of("AlterPartitionReassignments"),
        AdminRequest::Reassignments(_) => "ListPartitionReassignments".into(),
        AdminRequest::ClientQuotas(_) => "DescribeClientQuotas".into(),
        AdminRequest::ScramCredentials(_) => "DescribeUserScramCredentials".into(),
        AdminRequest::Producers(_) => of("DescribeProducers"),
        AdminRequest::Transactions(asked) => {
            format!("DescribeTransactions of {}", list(asked.transactional_ids.iter().map(|id| id.to_string())))
        }
        AdminRequest::ListTransactions(_) => "ListTransactions".into(),
    }
}

fn partitions(request: &AdminRequest) -> Vec<String> {
    let mut all = Vec::new();
    let mut name = |topic: &str, index: i32| all.push(format!("{topic}-{index}"));
    match request {
        AdminRequest::LogDirs(asked) => {
            for topic in asked.topics.iter().flatten() {
                topic.partitions.iter().for_each(|index| name(&topic.topic, *index));
            }
        }
        AdminRequest::ElectLeaders(asked) => {
            for topic in asked.topic_partitions.iter().flatten() {
                topic.partitions.iter().for_each(|index| name(&topic.topic, *index));
            }
        }
        AdminRequest::Reassign(asked) => {
            for topic in &asked.topics {
                topic.partitions.iter().for_each(|partition| name(&topic.name, partition.partition_index));
            }
        }
        AdminRequest::Producers(asked) => {
            for topic in &asked.topics {
                topic.partition_indexes.iter().for_each(|index| name(&topic.name, *index));
            }
        }
        AdminRequest::Acls(_)
        | AdminRequest::CreateAcls(_)
        | AdminRequest::DeleteAcls(_)
        | AdminRequest::Reassignments(_)
        | AdminRequest::ClientQuotas(_)
        | AdminRequest::ScramCredentials(_)
        | AdminRequest::Transactions(_)
        | AdminRequest::ListTransactions(_) => {}
    }
    all
}
