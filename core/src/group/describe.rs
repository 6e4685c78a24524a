//! What administrators ask of groups: which there are, who is in them; and that they go.

use super::Name;
use super::coordinator::{Coordinator, Out};
use super::log::Then;
use super::record::{Key, Record};
use super::reply::{Described, DescribedMember, Listed, Reply};
use super::state::{Group, State};
use crate::kafka::ErrorCode;
use crate::machine::Now;
use crate::shard::{Asked, Begun};
use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;

impl Coordinator {
    /// All groups, or why some are not known yet.
    pub(crate) fn list(&self) -> (ErrorCode, Vec<Listed>) {
        let is_loading = self.logs.values().any(|log| !log.is_ready());
        let listed = self.groups.values().map(|group| Listed {
            group: group.id.clone(),
            protocol_type: group.protocol_type.clone().unwrap_or_default(),
            state: group.state_name(),
        });
        let error = if is_loading { ErrorCode::CoordinatorLoadInProgress } else { ErrorCode::None };
        (error, listed.collect())
    }

    /// What a list of all groups takes, about.
    pub(crate) fn list_weight(&self) -> u64 {
        self.groups.keys().map(|id| 64 + id.len() as u64).sum()
    }

    /// A group and its members.
    pub(crate) fn describe(&self, id: &str) -> Described {
        let dead = |error| Described {
            error,
            group: id.into(),
            state: "Dead",
            protocol_type: Name::default(),
            protocol: Name::default(),
            members: Vec::new(),
        };
        match self.ready(id) {
            Err(error) => dead(error),
            Ok(_) => self.group(id).map_or_else(|| dead(ErrorCode::GroupIdNotFound), Group::describe),
        }
    }

    /// What a description takes, about.
    pub(crate) fn describe_weight(&self, id: &str) -> u64 {
        self.group(id).map_or(0, |group| group.members.values().map(super::member::Member::weight).sum())
    }

    /// Deletes groups, each on its own, with all their offsets.
    pub(crate) fn delete(&mut self, now: Now, asked: Asked, mut ids: Vec<Name>, out: &mut Out) {
        // One that is named twice is answered once.
        let mut seen = BTreeSet::new();
        ids.retain(|id| seen.insert(id.clone()));
        let refused: Vec<Option<ErrorCode>> = ids.iter().map(|id| self.may_delete(id).err()).collect();
        let wanted = ids.clone();
        let to_do: Vec<usize> = (0..refused.len()).filter(|at| refused[*at].is_none()).collect();
        match self.deletes.begin((asked, ids), refused) {
            Begun::Complete(complete) => deleted(complete, out),
            Begun::Open(join) => {
                for at in to_do {
                    let part = self.deletes.part(join, at);
                    let number = self.deleting.last_key_value().map_or(0, |(last, _)| last + 1);
                    self.deleting.insert(number, part);
                    self.delete_one(now, &wanted[at], number, out);
                }
            }
        }
    }

    fn may_delete(&mut self, id: &str) -> Result<(), ErrorCode> {
        self.ready(id)?;
        if !self.may_write() {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        let group = self.group(id).filter(|group| !group.is_dead).ok_or(ErrorCode::GroupIdNotFound)?;
        if group.state == State::Empty { Ok(()) } else { Err(ErrorCode::NonEmptyGroup) }
    }

    fn delete_one(&mut self, now: Now, id: &Name, number: u64, out: &mut Out) {
        let group = self.groups.get_mut(id).expect("it was looked for");
        group.is_dead = true;
        // Offsets that are on their way are behind nothing of this: they go, too.
        let log = &self.logs[&group.partition];
        let mut keys = log.keys(&Key::offsets_of(id));
        keys.push(Key::Group(id.clone()).encode());
        let records = keys.into_iter().map(|key| Record { key, value: None }).collect();
        out.write(group, records, Then::GroupDeleted(Some(number)));
        self.settle(now, id, out);
    }

    /// A part of a request to delete is done, or will not be.
    pub(super) fn group_deleted(&mut self, number: u64, code: ErrorCode, out: &mut Out) {
        let Some(part) = self.deleting.remove(&number) else { return };
        if let Some(complete) = self.deletes.finish(part, code) {
            deleted(complete, out);
        }
    }
}

impl Group {
    fn describe(&self) -> Described {
        let is_stable = self.state == State::Stable;
        let protocol = self.protocol.clone().filter(|_| is_stable).unwrap_or_default();
        let members = self.members.values().map(|member| DescribedMember {
            id: member.id.clone(),
            instance: member.instance.clone(),
            client: member.client.clone(),
            host: member.host.clone(),
            metadata: member.metadata(&protocol),
            assignment: if is_stable { member.assignment.clone() } else { bytes::Bytes::new() },
        });
        Described {
            error: ErrorCode::None,
            group: self.id.clone(),
            state: self.state_name(),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            members: members.collect(),
            protocol,
        }
    }
}

fn deleted(((asked, ids), codes): ((Asked, Vec<Name>), Vec<ErrorCode>), out: &mut Out) {
    out.replies.extend(vec![(asked, Reply::DeleteGroups(ids.into_iter().zip(codes).collect()))]);
}
