//! The model of one consumer group.

use super::Violation;
use std::collections::{BTreeMap, BTreeSet};

/// Names one attempt of a member to commit one offset. Unique in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId(pub u64);

/// What became of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Landed {
    /// Acknowledged.
    Acked,
    /// Refused: it must never be read.
    Refused,
    /// It may have happened, or may yet, as long as its generation lasts.
    Unknown,
}

/// What a member tells of its group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum GroupSeen {
    /// That client is about to join.
    Joining(u32),
    /// The answer: its generation.
    Joined {
        /// Which client.
        asker: u32,
        /// Which member, or instance.
        who: String,
        /// Of what generation.
        generation: i32,
        /// Whether it leads it.
        leads: bool,
        /// The generation that it knew before.
        floor: i32,
    },
    /// A member has an assignment.
    Assigned {
        /// Which member, or instance.
        who: String,
        /// In which generation.
        generation: i32,
        /// What it owns.
        owned: Vec<i32>,
    },
    /// About to commit an offset of a partition, in a generation. No offset is committed twice.
    Committing(CommitId, i32, i64, i32),
    /// The broker answered, or never will.
    Committed(CommitId, i32, Landed),
    /// A request for offsets was sent; the same number comes with [`GroupSeen::Offsets`].
    AskedForOffsets(u64),
    /// The answer to it: partitions and offsets, -1 for none.
    Offsets(u64, Vec<(i32, i64)>),
}

/// Whether a group's offsets are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    Certainly,
    /// Their topic may be deleted.
    Perhaps,
}

#[derive(Debug, Default)]
pub(super) struct GroupModel {
    /// The newest generation that anybody heard of.
    newest: i32,
    /// That generation when each client began to join.
    joining: BTreeMap<u32, i32>,
    /// How many joins may have reached the broker since anybody first heard of it.
    begun: usize,
    leaders: BTreeMap<i32, String>,
    owners: BTreeMap<(i32, i32), String>,
    partitions: BTreeMap<i32, OffsetModel>,
    /// The last acknowledged commit of each partition when each open question was asked.
    asked: BTreeMap<u64, BTreeMap<i32, Acked>>,
}

#[derive(Clone, Copy, Debug)]
struct Acked {
    offset: i64,
    generation: i32,
}

#[derive(Debug, Default)]
struct OffsetModel {
    commits: BTreeMap<CommitId, (i64, i32)>,
    by_offset: BTreeMap<i64, CommitId>,
    refused: BTreeSet<CommitId>,
    acked: Option<Acked>,
}

impl GroupModel {
    /// `kept` says whether the group's offsets are there for certain, if it has any.
    pub(super) fn observe(&mut self, name: &str, seen: GroupSeen, kept: Kept) -> Result<(), Violation> {
        match seen {
            GroupSeen::Joining(asker) => {
                self.joining.insert(asker, self.newest);
                self.begun += 1;
            }
            GroupSeen::Joined { asker, who, generation, leads, floor } => {
                let known = self.joining.remove(&asker).unwrap_or(0).max(floor);
                let has_offsets =
                    kept == Kept::Certainly && self.partitions.values().any(|model| model.acked.is_some());
                let leads_another = leads && self.leaders.get(&1).is_some_and(|leader| *leader != who);
                // Each join begins a generation at most, and the end of that member another one.
                let may_be_reached = usize::try_from(generation).is_ok_and(|generation| generation <= 2 * self.begun);
                let is_another = generation < known && may_be_reached || generation == 1 && leads_another;
                if is_another && !has_offsets {
                    // Nobody was in it, and nothing was kept: it was removed, and this is another one of that name, of
                    // which joins that never heard an answer may have begun generations.
                    self.newest = 0;
                    self.joining.clear();
                    self.leaders.clear();
                    self.owners.clear();
                } else if generation < known {
                    let message = format!("{name}: {who} joins generation {generation} after {known}");
                    return Err(Violation::new("generation-goes-back", message));
                }
                if generation > self.newest {
                    self.newest = generation;
                    self.begun = self.joining.len();
                }
                if leads {
                    let leader = self.leaders.entry(generation).or_insert_with(|| who.clone());
                    if *leader != who {
                        let message = format!("{name}: {leader} and {who} both lead generation {generation}");
                        return Err(Violation::new("one-leader", message));
                    }
                }
            }
            GroupSeen::Assigned { who, generation, owned } => {
                for partition in owned {
                    let owner = self.owners.entry((generation, partition)).or_insert_with(|| who.clone());
                    if *owner != who {
                        let message =
                            format!("{name}: {owner} and {who} both own partition {partition} in {generation}");
                        return Err(Violation::new("one-owner", message));
                    }
                }
            }
            GroupSeen::Committing(id, partition, offset, generation) => {
                let model = self.partitions.entry(partition).or_default();
                model.commits.insert(id, (offset, generation));
                model.by_offset.insert(offset, id);
            }
            GroupSeen::Committed(id, partition, landed) => {
                self.partitions.entry(partition).or_default().landed(id, landed);
            }
            GroupSeen::AskedForOffsets(question) => {
                let acked = self.partitions.iter().filter_map(|(partition, model)| Some((*partition, model.acked?)));
                self.asked.insert(question, acked.collect());
            }
            GroupSeen::Offsets(question, found) => {
                let floors = self.asked.remove(&question).unwrap_or_default();
                for (partition, offset) in found {
                    let model = self.partitions.entry(partition).or_default();
                    model.read(offset, floors.get(&partition).copied()).map_err(|(invariant, why)| {
                        Violation::new(invariant, format!("{name}, partition {partition}: {why}"))
                    })?;
                }
            }
        }
        Ok(())
    }
}

impl OffsetModel {
    fn landed(&mut self, id: CommitId, landed: Landed) {
        let (offset, generation) = self.commits[&id];
        match landed {
            Landed::Acked if self.acked.is_none_or(|acked| acked.offset < offset) => {
                self.acked = Some(Acked { offset, generation });
            }
            Landed::Refused => {
                self.refused.insert(id);
            }
            Landed::Acked | Landed::Unknown => {}
        }
    }

    /// Offsets grow; only one that its own generation committed late, of which nobody heard, may stand in the way of a
    /// later one.
    fn read(&mut self, offset: i64, floor: Option<Acked>) -> Result<(), (&'static str, String)> {
        let Some(floor) = floor else {
            return if offset == -1 { Ok(()) } else { self.explain(offset).map(|_| ()) };
        };
        if offset == -1 {
            return Err(("committed-offset-lost", format!("{} was acknowledged, and nothing is there", floor.offset)));
        }
        let generation = self.explain(offset)?;
        if offset < floor.offset && generation != floor.generation {
            let why = format!("{} was acknowledged before, and {offset} is read", floor.offset);
            return Err(("committed-offset-goes-back", why));
        }
        Ok(())
    }

    /// The generation that committed it.
    fn explain(&self, offset: i64) -> Result<i32, (&'static str, String)> {
        let Some(id) = self.by_offset.get(&offset) else {
            return Err(("committed-offset-from-nowhere", format!("{offset} is read, and nobody committed it")));
        };
        if self.refused.contains(id) {
            return Err(("G1a-refused-commit-read", format!("{offset} was refused, and is read")));
        }
        Ok(self.commits[id].1)
    }
}
