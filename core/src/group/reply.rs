//! What is said to whom.

use super::Name;
use crate::kafka::ErrorCode;
use alloc::vec::Vec;
use bytes::Bytes;

/// The answer to a request that changes a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Join(JoinReply),
    Sync(SyncReply),
    Leave(Left),
    Commit(Codes),
    /// Of the request, then of its partitions.
    DeleteOffsets(ErrorCode, Codes),
    /// By group.
    DeleteGroups(Vec<(Name, ErrorCode)>),
}

impl Reply {
    /// What it takes beyond what its request did, about: what other members said.
    pub(crate) fn weight(&self) -> u64 {
        match self {
            Self::Join(reply) => {
                let member = |(id, instance, metadata): &(Name, Option<Name>, Bytes)| {
                    64 + id.len() + instance.as_ref().map_or(0, |name| name.len()) + metadata.len()
                };
                reply.members.iter().map(member).sum::<usize>() as u64
            }
            Self::Sync(reply) => reply.assignment.len() as u64,
            _ => 0,
        }
    }
}

/// What became of partitions, by topic.
pub(crate) type Codes = Vec<(Name, Vec<(i32, ErrorCode)>)>;

/// The answer to a JoinGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JoinReply {
    pub(crate) error: ErrorCode,
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<Name>,
    pub(crate) protocol: Option<Name>,
    pub(crate) leader: Name,
    /// A leader that came back and finds its group stable need not assign anything (KIP-814).
    pub(crate) skip_assignment: bool,
    pub(crate) member: Name,
    /// For the leader alone: who, as which instance, with what subscription.
    pub(crate) members: Vec<(Name, Option<Name>, Bytes)>,
}

impl JoinReply {
    /// No, to the member of that id.
    pub(crate) fn refused(error: ErrorCode, member: Name) -> Self {
        Self {
            error,
            generation: -1,
            protocol_type: None,
            protocol: None,
            leader: Name::default(),
            skip_assignment: false,
            member,
            members: Vec::new(),
        }
    }
}

/// The answer to a SyncGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SyncReply {
    pub(crate) error: ErrorCode,
    pub(crate) protocol_type: Option<Name>,
    pub(crate) protocol: Option<Name>,
    pub(crate) assignment: Bytes,
}

impl SyncReply {
    pub(crate) fn refused(error: ErrorCode) -> Self {
        Self { error, protocol_type: None, protocol: None, assignment: Bytes::new() }
    }
}

/// The answer to a LeaveGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) error: ErrorCode,
    /// Member id and instance id as they were asked for.
    pub(crate) members: Vec<(Name, Option<Name>, ErrorCode)>,
}

/// What an administrator hears of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Described {
    pub(crate) error: ErrorCode,
    pub(crate) group: Name,
    pub(crate) state: &'static str,
    pub(crate) protocol_type: Name,
    pub(crate) protocol: Name,
    pub(crate) members: Vec<DescribedMember>,
}

/// And of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DescribedMember {
    pub(crate) id: Name,
    pub(crate) instance: Option<Name>,
    pub(crate) client: Name,
    pub(crate) host: Name,
    pub(crate) metadata: Bytes,
    pub(crate) assignment: Bytes,
}

/// A group in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) group: Name,
    pub(crate) protocol_type: Name,
    pub(crate) state: &'static str,
}
