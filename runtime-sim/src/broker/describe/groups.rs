//! What clients ask of consumer groups.

use super::phrases::list;
use crate::recording::About;
use karst_core::kafka::GroupRequest;

/// Adds the groups that it is about.
pub(super) fn groups(request: &GroupRequest, about: &mut About) {
    for group in named(request) {
        about.name("group", group);
    }
}

/// It, in words.
pub(super) fn of_group_request(request: &GroupRequest) -> String {
    let what = match request {
        GroupRequest::Join(_) => "JoinGroup",
        GroupRequest::Sync(_) => "SyncGroup",
        GroupRequest::Heartbeat(_) => "Heartbeat",
        GroupRequest::Leave(_) => "LeaveGroup",
        GroupRequest::Commit(_) => "OffsetCommit",
        GroupRequest::Fetch(_) => "OffsetFetch",
        GroupRequest::DeleteOffsets(_) => "OffsetDelete",
        GroupRequest::List(_) => return "ListGroups".into(),
        GroupRequest::Describe(_) => "DescribeGroups",
        GroupRequest::Delete(_) => "DeleteGroups",
        GroupRequest::NewHeartbeat(_) => "ConsumerGroupHeartbeat",
    };
    format!("{what} of {}", list(named(request).into_iter().map(|group| format!("group {group}"))))
}

fn named(request: &GroupRequest) -> Vec<String> {
    match request {
        GroupRequest::Join(asked) => vec![asked.group_id.to_string()],
        GroupRequest::Sync(asked) => vec![asked.group_id.to_string()],
        GroupRequest::Heartbeat(asked) => vec![asked.group_id.to_string()],
        GroupRequest::NewHeartbeat(asked) => vec![asked.group_id.to_string()],
        GroupRequest::Leave(asked) => vec![asked.group_id.to_string()],
        GroupRequest::Commit(asked) => vec![asked.group_id.to_string()],
        GroupRequest::Fetch(asked) if asked.groups.is_empty() => vec![asked.group_id.to_string()],
        GroupRequest::Fetch(asked) => asked.groups.iter().map(|group| group.group_id.to_string()).collect(),
        GroupRequest::DeleteOffsets(asked) => vec![asked.group_id.to_string()],
        GroupRequest::List(_) => Vec::new(),
        GroupRequest::Describe(asked) => asked.groups.iter().map(|group| group.to_string()).collect(),
        GroupRequest::Delete(asked) => asked.groups_names.iter().map(|group| group.to_string()).collect(),
    }
}
