//! The model of one consumer group.
//!
//! Offsets of a group without members may go after a span. Nobody sees that a group has no members; but whoever is told
//! that it is one knows that there was one then:
//!
//! ```text
//!   told so    asked ─── answered          asked ─── answered
//!   empty             └── at most from the one asked to the other answered ──┘
//! ```

use super::Violation;
use super::spans::Span;
use karst_runtime_sim::time::SimTime;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

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
        /// Which member, or instance, leads it.
        leader: String,
        /// The generation that it knew before.
        floor: i32,
    },
    /// The group answered that whoever asked, so long ago, is a member.
    Lives(Duration),
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
    /// Counts joins and answers to them.
    moment: u64,
    /// Who joins.
    joining: BTreeMap<u32, Joining>,
    /// How many joins may have reached the broker since anybody first heard of it.
    begun: usize,
    /// The newest generation of the group as it is: what was under way when it was found to be another may have been
    /// answered by the one before.
    reached: i32,
    leaders: BTreeMap<i32, Leader>,
    /// Who heard that it is in which generation of the group as it is.
    members: BTreeSet<(i32, String)>,
    owners: BTreeMap<(i32, i32), String>,
    partitions: BTreeMap<i32, OffsetModel>,
    /// The last acknowledged commit of each partition when each open question was asked.
    asked: BTreeMap<u64, BTreeMap<i32, Acked>>,
    lives: Lives,
    /// Generations up to this one may be forgotten, and come again.
    forgotten: i32,
}

/// When somebody began to join.
#[derive(Clone, Copy, Debug)]
struct Joining {
    /// The newest generation then; none if the group was another one.
    newest: Option<i32>,
    moment: u64,
}

/// Who leads a generation.
#[derive(Debug)]
struct Leader {
    who: String,
    /// When anybody first heard of that generation.
    heard: u64,
    /// The group may have been removed until then, and have had such a generation before.
    is_perhaps_reborn: bool,
}

/// What the answer to a join said.
struct Joined {
    who: String,
    generation: i32,
    leader: String,
    began: Joining,
    /// The generation that it knew before.
    floor: i32,
}

/// When a group had members.
#[derive(Debug, Default)]
struct Lives {
    /// It had some then, or later.
    known: SimTime,
    /// From then on it may have had none for the whole span; the last such moment.
    lapsed: Option<SimTime>,
}

/// When something is observed, and the span after which offsets go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) now: SimTime,
    pub(super) span: Span,
}

#[derive(Clone, Copy, Debug)]
struct Acked {
    offset: i64,
    generation: i32,
    /// When it was sent.
    sent: SimTime,
}

#[derive(Clone, Copy, Debug)]
struct Commit {
    offset: i64,
    generation: i32,
    sent: SimTime,
    /// The generation that the group had reached by then, for certain.
    reached: i32,
}

#[derive(Debug, Default)]
struct OffsetModel {
    commits: BTreeMap<CommitId, Commit>,
    by_offset: BTreeMap<i64, CommitId>,
    refused: BTreeSet<CommitId>,
    acked: Option<Acked>,
}

impl GroupModel {
    /// `kept` says whether the group's offsets are there for certain, if it has any.
    pub(super) fn observe(&mut self, name: &str, seen: GroupSeen, kept: Kept, at: Moment) -> Result<(), Violation> {
        match seen {
            GroupSeen::Lives(waited) => self.lives.told(at, waited),
            GroupSeen::Joining(asker) => {
                self.moment += 1;
                self.joining.insert(asker, Joining { newest: Some(self.newest), moment: self.moment });
                self.begun += 1;
            }
            GroupSeen::Joined { asker, who, generation, leader, floor } => {
                self.moment += 1;
                let began = self.joining.remove(&asker).unwrap_or(Joining { newest: None, moment: self.moment });
                let has_offsets = self.has_offsets(kept, at);
                if at.span.is_short() && !has_offsets {
                    // It may have been removed, and be another one that has come as far, under the same leader.
                    self.owners.retain(|(of, _), _| *of != generation);
                }
                self.joined(name, Joined { who, generation, leader, began, floor }, has_offsets)?;
            }
            // An answer of the group before was long on its way.
            GroupSeen::Assigned { who, generation, .. } if !self.members.contains(&(generation, who.clone())) => {}
            GroupSeen::Assigned { who, generation, owned } => {
                if at.span.is_short() && !self.has_offsets(kept, at) {
                    self.may_be_another(&who, generation, &owned);
                }
                self.assigned(name, &who, generation, owned)?;
            }
            GroupSeen::Committing(id, partition, offset, generation) => {
                let model = self.partitions.entry(partition).or_default();
                let commit = Commit { offset, generation, sent: at.now, reached: self.reached };
                model.commits.insert(id, commit);
                model.by_offset.insert(offset, id);
            }
            GroupSeen::Committed(id, partition, landed) => {
                let model = self.partitions.entry(partition).or_default();
                let sent = model.commits[&id].sent;
                let judged = model.landed(id, landed, |acked| self.lives.may_have_expired(acked, at));
                judged.map_err(|why| {
                    Violation::new("generation-checked", format!("{name}, partition {partition}: {why}"))
                })?;
                if landed == Landed::Acked {
                    self.lives.told(at, at.now.since(sent));
                }
            }
            GroupSeen::AskedForOffsets(question) => {
                let acked = self.partitions.iter().filter_map(|(partition, model)| Some((*partition, model.acked?)));
                self.asked.insert(question, acked.collect());
            }
            GroupSeen::Offsets(question, found) => {
                let floors = self.asked.remove(&question).unwrap_or_default();
                for (partition, offset) in found {
                    let model = self.partitions.entry(partition).or_default();
                    let floor = floors.get(&partition).copied();
                    let floor = floor.filter(|acked| !self.lives.may_have_expired(*acked, at));
                    model.read(offset, floor).map_err(|(invariant, why)| {
                        Violation::new(invariant, format!("{name}, partition {partition}: {why}"))
                    })?;
                }
            }
        }
        Ok(())
    }

    /// Part of its log is lost: it may be as it ever was.
    pub(super) fn lost(&mut self) {
        self.forgotten = self.forgotten.max(self.newest);
        (self.newest, self.reached) = (0, 0);
        self.joining.values_mut().for_each(|began| began.newest = None);
        self.leaders.clear();
        self.members.clear();
        self.owners.clear();
        self.asked.clear();
        self.partitions.values_mut().for_each(|partition| partition.acked = None);
    }

    /// Somebody is in a generation.
    fn joined(&mut self, name: &str, joined: Joined, has_offsets: bool) -> Result<(), Violation> {
        let Joined { who, generation, leader, began, floor } = joined;
        let floor = if floor > self.forgotten { floor } else { 0 };
        let known = began.newest.unwrap_or(0).max(floor);
        let other = self.leaders.get(&generation).filter(|other| other.who != leader);
        if other.is_some_and(|other| other.is_perhaps_reborn && began.moment < other.heard) && generation >= known {
            // The answer was long on its way: it is of the group before.
            return Ok(());
        }
        let has_another = other.is_some();
        // Each join begins a generation at most, and the end of that member another one.
        let may_be_reached = usize::try_from(generation).is_ok_and(|generation| generation <= 2 * self.begun);
        let is_another = may_be_reached && (generation < known || has_another);
        if is_another && !has_offsets {
            // Nobody was in it, and nothing was kept: it was removed, and this is another one of that name, of which
            // joins that never heard an answer may have begun generations.
            (self.newest, self.reached) = (0, 0);
            // They may be answered by it, or by yet another one, whenever they arrive.
            self.joining.values_mut().for_each(|began| began.newest = None);
            self.leaders.clear();
            self.members.clear();
            self.owners.clear();
        } else if generation < known {
            let message = format!("{name}: {who} joins generation {generation} after {known}");
            return Err(Violation::new("generation-goes-back", message));
        }
        self.members.insert((generation, who));
        if generation > self.newest {
            self.newest = generation;
            self.begun = self.joining.len();
        }
        if began.newest.is_some() {
            self.reached = self.reached.max(generation);
        }
        let (heard, is_perhaps_reborn) = (self.moment, !has_offsets);
        let first = || Leader { who: leader.clone(), heard, is_perhaps_reborn };
        let other = &self.leaders.entry(generation).or_insert_with(first).who;
        if *other != leader {
            let message = format!("{name}: {leader} and {other} both lead generation {generation}");
            return Err(Violation::new("one-leader", message));
        }
        Ok(())
    }

    /// It may have been removed, and be another one that has come as far.
    fn may_be_another(&mut self, who: &str, generation: i32, owned: &[i32]) {
        let other = |partition| self.owners.get(&(generation, partition)).is_some_and(|owner| owner != who);
        if owned.iter().any(|partition| other(*partition)) {
            self.owners.clear();
        }
    }

    fn assigned(&mut self, name: &str, who: &str, generation: i32, owned: Vec<i32>) -> Result<(), Violation> {
        for partition in owned {
            let owner = self.owners.entry((generation, partition)).or_insert_with(|| who.to_owned());
            if owner != who {
                let message = format!("{name}: {owner} and {who} both own partition {partition} in {generation}");
                return Err(Violation::new("one-owner", message));
            }
        }
        Ok(())
    }

    /// Whether it has offsets, for certain.
    fn has_offsets(&self, kept: Kept, at: Moment) -> bool {
        let mut acked = self.partitions.values().filter_map(|model| model.acked);
        kept == Kept::Certainly && acked.any(|acked| !self.lives.may_have_expired(acked, at))
    }
}

impl Lives {
    /// Somebody who asked so long ago was a member then.
    fn told(&mut self, at: Moment, waited: Duration) {
        if at.span.fits(self.known, at.now) {
            self.lapsed = Some(self.known);
        }
        let asked = at.now.0.saturating_sub(u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX));
        self.known = self.known.max(SimTime(asked));
    }

    /// Whether the group may have been without members for the whole span since the offset was committed.
    fn may_have_expired(&self, acked: Acked, at: Moment) -> bool {
        self.lapsed.is_some_and(|since| since >= acked.sent) || at.span.fits(self.known.max(acked.sent), at.now)
    }
}

impl OffsetModel {
    /// `may_have_expired` says it of an earlier commit.
    fn landed(&mut self, id: CommitId, landed: Landed, may_have_expired: impl Fn(Acked) -> bool) -> Result<(), String> {
        let Commit { offset, generation, sent, reached } = self.commits[&id];
        match landed {
            Landed::Acked if generation < reached => {
                let why = format!("{offset} was committed for generation {generation} after {reached} had begun");
                return Err(why);
            }
            Landed::Acked if self.acked.is_none_or(|acked| acked.offset < offset || may_have_expired(acked)) => {
                self.acked = Some(Acked { offset, generation, sent });
            }
            Landed::Refused => {
                self.refused.insert(id);
            }
            Landed::Acked | Landed::Unknown => {}
        }
        Ok(())
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
        Ok(self.commits[id].generation)
    }
}

#[cfg(test)]
mod tests;
