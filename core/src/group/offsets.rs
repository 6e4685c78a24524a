//! Committed offsets: how far a group got in each partition.

use super::Name;
use super::batch;
use super::coordinator::{Coordinator, Out};
use super::log::{NOT_WRITTEN, Then};
use super::record::{Key, OffsetValue, Record};
use super::reply::{Codes, Reply};
use super::state::{Group, State};
use crate::kafka::{ErrorCode, Prefix, Reader};
use crate::limits::Limits;
use crate::machine::{Instant, Mark, Now, WallTime, sometimes};
use crate::shard::Asked;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

/// An OffsetCommit.
#[derive(Clone, Debug)]
pub(crate) struct Commit {
    pub(crate) member: Name,
    pub(crate) instance: Option<Name>,
    /// -1: not as a member.
    pub(crate) generation: i32,
    /// How long they are to be kept, if the client says so.
    pub(crate) retention: Option<Duration>,
}

/// What it commits, by topic.
pub(crate) type Commits = Vec<(Name, Vec<CommitLine>)>;

/// A partition of it.
#[derive(Clone, Debug)]
pub(crate) struct CommitLine {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: Name,
    /// Whether there is no such partition.
    pub(crate) is_unknown: bool,
}

/// What becomes of a commit when it is durable.
#[derive(Debug)]
pub(super) struct Committed {
    asked: Asked,
    entries: Vec<(Name, i32, OffsetValue)>,
    results: Codes,
}

impl Committed {
    /// The answer if nobody can say whether it is durable.
    pub(super) fn failed(self) -> (Asked, Reply) {
        let results = self.results.into_iter().map(|(topic, lines)| {
            let lines = lines.into_iter();
            let failed = |(index, code)| (index, if code == ErrorCode::None { NOT_WRITTEN } else { code });
            (topic, lines.map(failed).collect())
        });
        (self.asked, Reply::Commit(results.collect()))
    }
}

/// An offset, durable.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) value: OffsetValue,
    /// When this broker first knew of it.
    pub(super) seen: Instant,
}

/// The offsets of one group.
#[derive(Debug, Default)]
pub(super) struct Offsets {
    topics: BTreeMap<Name, BTreeMap<i32, Held>>,
    weight: u64,
}

impl Offsets {
    pub(super) fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    pub(super) fn get(&self, topic: &str, partition: i32) -> Option<&OffsetValue> {
        self.topics.get(topic)?.get(&partition).map(|held| &held.value)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&Name, i32, &Held)> {
        self.topics.iter().flat_map(|(topic, held)| held.iter().map(move |(at, held)| (topic, *at, held)))
    }

    pub(super) fn by_topic(&self) -> impl Iterator<Item = (&Name, &BTreeMap<i32, Held>)> {
        self.topics.iter()
    }

    pub(super) fn insert(&mut self, topic: &Name, partition: i32, value: OffsetValue, seen: Instant) {
        self.weight += weight(topic, &value);
        let old = self.topics.entry(topic.clone()).or_default().insert(partition, Held { value, seen });
        if let Some(old) = old {
            self.weight -= weight(topic, &old.value);
        }
    }

    pub(super) fn remove(&mut self, topic: &str, partition: i32) {
        let Some(held) = self.topics.get_mut(topic) else { return };
        if let Some(old) = held.remove(&partition) {
            self.weight -= weight(topic, &old.value);
        }
        if held.is_empty() {
            self.topics.remove(topic);
        }
    }

    pub(super) fn weight(&self) -> u64 {
        self.weight
    }
}

/// What an offset takes, here and as its latest record.
fn weight(topic: &str, value: &OffsetValue) -> u64 {
    512 + 2 * (topic.len() + value.metadata.len()) as u64
}

/// What takes an offset out of the log.
pub(super) fn tombstone(group: &Name, topic: &Name, partition: i32) -> Record {
    let key = Key::Offset { group: group.clone(), topic: topic.clone(), partition };
    Record { key: key.encode(), value: None }
}

impl Coordinator {
    /// Commits offsets. A part that is refused keeps no other from being committed.
    pub(crate) fn commit(
        &mut self,
        now: Now,
        asked: Asked,
        id: &str,
        (request, commits): (Commit, Commits),
        out: &mut Out,
    ) {
        if let Err(error) = self.try_commit(now, asked, id, &request, &commits, out) {
            let refused = |line: CommitLine| (line.partition, error);
            let all = commits.into_iter().map(|(topic, lines)| (topic, lines.into_iter().map(refused).collect()));
            out.reply(asked, Reply::Commit(all.collect()));
        }
        self.settle(now, id, out);
    }

    fn try_commit(
        &mut self,
        now: Now,
        asked: Asked,
        id: &str,
        request: &Commit,
        commits: &Commits,
        out: &mut Out,
    ) -> Result<(), ErrorCode> {
        let partition = self.ready(id)?;
        if !self.may_write() || self.is_full() {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        if !self.has_group(id) && request.generation >= 0 {
            return Err(ErrorCode::IllegalGeneration);
        }
        let (group, limits, _) = self.open_group(id, partition, now);
        group.may_commit(request)?;
        group.heard(now, &request.member);
        let mut entries = Vec::new();
        let mut records = Vec::new();
        let mut results = Vec::new();
        let expires = request.retention.map(|time| i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
        let expires = expires.map(|time| WallTime(now.wall.0.saturating_add(time)));
        for (topic, lines) in commits {
            let mut codes = Vec::new();
            for line in lines {
                let value = OffsetValue {
                    offset: line.offset,
                    leader_epoch: line.leader_epoch,
                    metadata: line.metadata.clone(),
                    committed: now.wall,
                    expires,
                };
                let code = match record_of(&group.id, topic, line, &value, limits) {
                    Ok(record) => {
                        records.push(record);
                        entries.push((topic.clone(), line.partition, value));
                        ErrorCode::None
                    }
                    Err(code) => code,
                };
                codes.push((line.partition, code));
            }
            results.push((topic.clone(), codes));
        }
        if records.is_empty() {
            out.reply(asked, Reply::Commit(results));
        } else {
            out.write(group, records, Then::Committed(Committed { asked, entries, results }));
        }
        Ok(())
    }

    /// A commit is durable.
    pub(super) fn committed(&mut self, now: Now, id: &str, committed: Committed, out: &mut Out) {
        let Committed { asked, entries, results } = committed;
        if let Some(group) = self.groups.get_mut(id) {
            for (topic, partition, value) in entries {
                group.offsets.insert(&topic, partition, value, now.mono);
            }
        }
        out.reply(asked, Reply::Commit(results));
    }

    /// An offset that a group committed in a partition.
    pub(crate) fn committed_offset(&self, id: &str, topic: &str, partition: i32) -> Option<(i64, i32, Name)> {
        let value = self.group(id).filter(|group| !group.is_dead)?.offsets.get(topic, partition)?;
        Some((value.offset, value.leader_epoch, value.metadata.clone()))
    }

    /// The partitions in which a group has committed, by topic.
    pub(crate) fn committed_partitions(&self, id: &str) -> Vec<(Name, Vec<i32>)> {
        let group = self.group(id).filter(|group| !group.is_dead);
        let topics = group.into_iter().flat_map(|group| group.offsets.by_topic());
        topics.map(|(topic, held)| (topic.clone(), held.keys().copied().collect())).collect()
    }

    /// What an answer with all of a group's offsets takes, about.
    pub(crate) fn committed_weight(&self, id: &str) -> u64 {
        self.group(id).map_or(0, |group| group.offsets.weight())
    }

    /// Deletes offsets of partitions, the unknown ones marked (KIP-496).
    pub(crate) fn delete_offsets(
        &mut self,
        now: Now,
        asked: Asked,
        id: &str,
        lines: Vec<(Name, Vec<(i32, bool)>)>,
        out: &mut Out,
    ) {
        if let Err(error) = self.try_delete_offsets(asked, id, &lines, out) {
            out.reply(asked, Reply::DeleteOffsets(error, Vec::new()));
        }
        self.settle(now, id, out);
    }

    fn try_delete_offsets(
        &mut self,
        asked: Asked,
        id: &str,
        lines: &[(Name, Vec<(i32, bool)>)],
        out: &mut Out,
    ) -> Result<(), ErrorCode> {
        let (group, _) = match self.existing(id) {
            Err(ErrorCode::UnknownMemberId) => return Err(ErrorCode::GroupIdNotFound),
            other => other?,
        };
        let subscribed = group.subscribed();
        if group.state != State::Empty && subscribed.is_none() {
            return Err(ErrorCode::NonEmptyGroup);
        }
        let subscribed = subscribed.filter(|_| group.state != State::Empty).unwrap_or_default();
        let mut keys = Vec::new();
        let mut results = Vec::new();
        for (topic, partitions) in lines {
            let result = |(partition, is_unknown): &(i32, bool)| {
                if *is_unknown {
                    return (*partition, ErrorCode::UnknownTopicOrPartition);
                }
                if subscribed.contains(topic) {
                    return (*partition, ErrorCode::GroupSubscribedToTopic);
                }
                keys.push((topic.clone(), *partition));
                (*partition, ErrorCode::None)
            };
            results.push((topic.clone(), partitions.iter().map(result).collect()));
        }
        let reply = Reply::DeleteOffsets(ErrorCode::None, results);
        if keys.is_empty() {
            out.reply(asked, reply);
        } else {
            let records = keys.iter().map(|(topic, partition)| tombstone(&group.id, topic, *partition)).collect();
            out.write(group, records, Then::OffsetsDeleted { keys, reply: Some((asked, reply)) });
        }
        Ok(())
    }

    /// Topics are gone, and so are all offsets in them, also those on their way. One that stops leaves that to whoever
    /// loads the groups next, and misses the topics.
    pub(crate) fn topics_deleted(&mut self, now: Now, topics: &BTreeSet<Name>, out: &mut Out) {
        if self.is_halted {
            return;
        }
        let mut gone: BTreeMap<Name, Vec<(Name, i32)>> = BTreeMap::new();
        for log in self.logs.values().filter(|log| log.is_ready()) {
            for key in log.live.keys() {
                if let Ok(Some(Key::Offset { group, topic, partition })) = Key::decode(key)
                    && topics.contains(&topic)
                {
                    gone.entry(group).or_default().push((topic, partition));
                }
            }
        }
        for (id, keys) in gone {
            sometimes!(Mark::OffsetsDeletedWithTopic);
            if let Some(group) = self.groups.get_mut(&id) {
                let records = keys.iter().map(|(topic, partition)| tombstone(&id, topic, *partition)).collect();
                out.write(group, records, Then::OffsetsDeleted { keys, reply: None });
            }
            self.settle(now, &id, out);
        }
    }
}

/// The record of one line of a commit, unless that is refused.
fn record_of(
    group: &Name,
    topic: &Name,
    line: &CommitLine,
    value: &OffsetValue,
    limits: &Limits,
) -> Result<Record, ErrorCode> {
    if line.is_unknown {
        return Err(ErrorCode::UnknownTopicOrPartition);
    }
    if line.metadata.len() > limits.offset_metadata as usize {
        return Err(ErrorCode::OffsetMetadataTooLarge);
    }
    let key = Key::Offset { group: group.clone(), topic: topic.clone(), partition: line.partition };
    let record = Record { key: key.encode(), value: Some(value.encode()) };
    if batch::size([&record]) > limits.batch as usize {
        return Err(ErrorCode::InvalidCommitOffsetSize);
    }
    Ok(record)
}

impl Group {
    /// Whether whoever sent this may commit now.
    fn may_commit(&self, request: &Commit) -> Result<(), ErrorCode> {
        if self.is_dead {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        if request.generation < 0 && self.state == State::Empty {
            // The group only keeps offsets: an administrator's, or a consumer's that assigns its partitions itself.
            return Ok(());
        }
        if request.generation < 0 && request.member.is_empty() && request.instance.is_none() {
            return Err(ErrorCode::UnknownMemberId);
        }
        self.check_member(&request.member, request.instance.as_deref())?;
        if request.generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        // It has heard of the generation, and has no assignment in it: what it commits is of the one before.
        if self.state == State::Completing { Err(ErrorCode::RebalanceInProgress) } else { Ok(()) }
    }

    /// The topics that its members subscribe to; `None` unless they are consumers that say so.
    pub(super) fn subscribed(&self) -> Option<BTreeSet<Name>> {
        if self.protocol_type.as_deref() != Some("consumer") {
            return None;
        }
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            for (_, metadata) in &member.protocols {
                topics.extend(subscription(metadata)?);
            }
        }
        Some(topics)
    }
}

/// The topics of a consumer's subscription, which begins with its version and them.
fn subscription(metadata: &[u8]) -> Option<Vec<Name>> {
    let mut reader = Reader::new(metadata);
    reader.i16("version").ok()?;
    let mut topics = Vec::new();
    for _ in 0..reader.length("topics", Prefix::Four).ok()?? {
        let topic = reader.sized("topic", Prefix::Two).ok()??;
        topics.push(core::str::from_utf8(topic).ok()?.into());
    }
    Some(topics)
}
