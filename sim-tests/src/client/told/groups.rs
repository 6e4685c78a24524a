//! What the oracle is told of consumer groups, in words.

use crate::oracle::{GroupSeen, Landed};

pub(super) fn of_group(group: &str, seen: &GroupSeen) -> String {
    match seen {
        GroupSeen::Joining(client) => format!("client {client} is about to join group {group}"),
        GroupSeen::Joined { who, generation, leader, .. } => {
            let role = if leader == who { "leads" } else { "is a member of" };
            format!("{who} {role} generation {generation} of group {group}")
        }
        GroupSeen::Assigned { who, generation, owned } => {
            format!("in generation {generation} of group {group} {who} owns the partitions {owned:?}")
        }
        GroupSeen::Committing(id, partition, offset, generation) => format!(
            "it is about to commit offset {offset} of partition {partition} for generation {generation} of group {group} \
             (commit {})",
            id.0
        ),
        GroupSeen::Committed(id, _, Landed::Acked) => format!("commit {} to group {group} is acknowledged", id.0),
        GroupSeen::Committed(id, _, Landed::Refused) => format!("commit {} to group {group} is refused", id.0),
        GroupSeen::Committed(id, _, Landed::Unknown) => {
            format!("nobody knows whether commit {} to group {group} was done", id.0)
        }
        GroupSeen::Lives(waited) => format!("group {group} had this member when it answered, within {waited:?}"),
        GroupSeen::AskedForOffsets(_) => format!("it is about to ask for the offsets of group {group}"),
        GroupSeen::Offsets(_, offsets) => {
            let offsets = offsets.iter().map(|(partition, offset)| format!("{offset} of partition {partition}"));
            let offsets: Vec<String> = offsets.collect();
            format!("group {group} is said to have committed {}", offsets.join(", "))
        }
    }
}
