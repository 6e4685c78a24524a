//! The oracle: what must be true of everything that clients saw, judged while it happens.
//!
//! It keeps a trivial model of each partition: which writes were sent, what became of each, and which batch lies at
//! which offset. A write's outcome is *acked*, *failed* for certain, or *unknown* for ever; the vocabulary of the
//! violations is Jepsen's (`jepsen.tests.kafka`).

mod aside;
mod configs;
mod groups;
mod losses;
mod partition;
mod producers;
mod size;
mod spans;
mod stored;
pub(crate) mod subject;
mod times;
mod topic;
mod trims;

#[cfg(test)]
mod tests;

pub use aside::Aside;
pub use configs::{ConfigEnd, ConfigId, Judged};
pub use groups::{CommitId, GroupSeen, Landed};
pub use losses::Loss;
pub use partition::{Outcome, Violation};
pub use size::Size;
pub use spans::{Span, Spans};
pub use times::{Question, Told};
pub use topic::{Growth, GrowthId};
pub use trims::{Trim, TrimId, Upto};

use crate::client::BatchLimits;
use configs::{Allowance, ConfigModel};
use groups::{GroupModel, Kept};
use karst_runtime_sim::time::SimTime;
use partition::PartitionModel;
use producers::Times;
use std::collections::{BTreeMap, BTreeSet};
use topic::TopicModel;

/// Names one attempt of one client to append one batch. Unique in a run; a retry is another write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteId(pub u64);

/// A partition, by names that are used once in a run, unless somebody creates a topic again that was deleted meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The topic's name.
    pub topic: String,
    /// The partition's index.
    pub partition: i32,
}

impl core::fmt::Display for Place {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// What a client tells the oracle.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Observation {
    /// About to send this batch.
    Sent(Place, WriteId, karst_core::machine::Payload),
    /// What a sound batch was answered. Comes before its end.
    Judged(Place, WriteId, Judged),
    /// The broker answered, with that error code, or never will.
    Ended(Place, WriteId, Outcome, Aside<Option<i16>>),
    /// The broker answered again, after it had acknowledged it, or after the client had given it up.
    AckedAgain(Place, WriteId, i64),
    /// About to send this batch again: the producer is idempotent.
    SentAgain(Place, WriteId),
    /// An attempt to send this batch of an idempotent producer got no answer, or that error code.
    Unheard(Place, WriteId, Aside<Option<i16>>),
    /// With that error code the broker refused what its producer did right.
    ProducerRefused(Place, WriteId, i16),
    /// A producer got this id.
    ProducerId(i64),
    /// A request that tells a high watermark was sent; the same number comes with [`Observation::HighWatermark`].
    Asked(Place, u64),
    /// The answer to it.
    HighWatermark(Place, u64, i64),
    /// A fetch from this offset returned these batches.
    Read(Place, i64, karst_core::machine::Payload),
    /// The log starts there, says the answer to that request. Comes before its high watermark.
    LogStart(Place, u64, i64),
    /// A fetch from that offset was served. Comes before its high watermark.
    Served(Place, u64, i64),
    /// A fetch from that offset was refused as out of range.
    OutOfRange(Place, u64, i64),
    /// About to delete records.
    Trimming(Place, TrimId, Upto),
    /// The broker answered, or never will.
    Trimmed(Place, TrimId, Trim),
    /// What a partition's times or epochs are, says the answer to that request.
    Told(Place, u64, Question, Told),
    /// A partition does not exist, says the answer to that request.
    Missing(Place, u64),
    /// About to create a topic with so many partitions.
    Creating(String, i32),
    /// A topic is there for certain: creating it was answered with success.
    Created(String),
    /// About to make a topic grow to so many partitions.
    Growing(String, GrowthId, i32),
    /// The broker answered, or never will.
    Grown(String, GrowthId, Growth),
    /// Deleting a topic was asked for; from here on it may be gone.
    Deleting(String),
    /// About to change configs of a topic to these; `None` is the default.
    Configuring(String, ConfigId, BTreeMap<String, Option<String>>),
    /// The broker answered, or never will.
    Configured(String, ConfigId, ConfigEnd),
    /// A request for a topic's configs was sent; the same number comes with [`Observation::Configs`].
    AskedForConfigs(String, u64),
    /// The answer to it: what is set; `None` is the default.
    Configs(String, u64, Vec<(String, Option<String>)>),
    /// A request for all topics was sent; the same number comes with [`Observation::Listed`].
    AskedForTopics(u64),
    /// The answer to it: all topics, with their numbers of partitions.
    Listed(u64, Vec<(String, i32)>),
    /// The whole of a partition was read, from its start to its high watermark.
    ReadAll(Place, i64, i64),
    /// What a partition takes, of which nothing came or went since it was read.
    Sized(Place, Size),
    /// A member of that consumer group tells of it. The group's topic has its name.
    Group(String, GroupSeen),
    /// Answers came out of order, or one made no sense.
    Broken(String),
    /// An operation was answered.
    Answered(&'static str, Aside<Reply>),
    /// An operation got no answer.
    Lost(&'static str),
}

/// An answer as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// The number that the client gave its request.
    pub request: u64,
    /// In which version it was asked.
    pub version: i16,
    /// What is behind the header.
    pub body: bytes::Bytes,
}

impl Observation {
    /// The topic that it is about, if it is about one.
    fn topic(&self) -> Option<&str> {
        match self {
            Self::Sent(place, ..)
            | Self::SentAgain(place, _)
            | Self::Judged(place, ..)
            | Self::Ended(place, ..)
            | Self::AckedAgain(place, ..)
            | Self::Unheard(place, ..)
            | Self::ProducerRefused(place, ..)
            | Self::Asked(place, _)
            | Self::HighWatermark(place, ..)
            | Self::Read(place, ..)
            | Self::LogStart(place, ..)
            | Self::Served(place, ..)
            | Self::OutOfRange(place, ..)
            | Self::Trimming(place, ..)
            | Self::Trimmed(place, ..)
            | Self::Told(place, ..)
            | Self::Missing(place, _)
            | Self::ReadAll(place, ..)
            | Self::Sized(place, _) => Some(&place.topic),
            Self::Creating(topic, _)
            | Self::Created(topic)
            | Self::Growing(topic, ..)
            | Self::Grown(topic, ..)
            | Self::Deleting(topic)
            | Self::Configuring(topic, ..)
            | Self::Configured(topic, ..)
            | Self::AskedForConfigs(topic, _)
            | Self::Configs(topic, ..) => Some(topic),
            Self::ProducerId(_)
            | Self::AskedForTopics(_)
            | Self::Listed(..)
            | Self::Group(..)
            | Self::Broken(_)
            | Self::Answered(..)
            | Self::Lost(_) => None,
        }
    }
}

/// Judges a run.
#[derive(Debug, Default)]
pub struct Oracle {
    spans: Spans,
    now: SimTime,
    limits: BatchLimits,
    places: BTreeMap<Place, PartitionModel>,
    topics: BTreeMap<String, TopicModel>,
    configs: BTreeMap<String, ConfigModel>,
    groups: BTreeMap<String, GroupModel>,
    /// What each open request for all topics must be answered with at least.
    asked_for_topics: BTreeMap<u64, BTreeMap<String, i32>>,
    /// Open requests about partitions that were there for certain when they were asked.
    asked_of_certain: BTreeSet<u64>,
    /// Every id that a producer got.
    producer_ids: BTreeSet<i64>,
    /// Answered operations by kind.
    pub answered: BTreeMap<&'static str, u64>,
    /// Operations without an answer, by kind.
    pub lost: BTreeMap<&'static str, u64>,
    /// Writes by outcome: acked, failed, unknown.
    pub writes: [u64; 3],
    /// Growths of topics by outcome: done, refused, unknown.
    pub growths: [u64; 3],
    /// Changes of configs that were acknowledged.
    pub changes: u64,
    /// Batches read back and compared.
    pub batches_read: u64,
}

impl Oracle {
    /// Judges a run in which batches may be so large, and what is idle expires after these spans.
    #[must_use]
    pub fn new(limits: BatchLimits, spans: Spans) -> Self {
        Self { limits, spans, ..Self::default() }
    }

    /// What is observed from now on happens at that moment, or later.
    pub fn look_at_clock(&mut self, now: SimTime) {
        assert!(now >= self.now, "time does not go back");
        self.now = now;
    }

    /// Takes in what a client saw.
    ///
    /// # Errors
    /// What it contradicts.
    pub fn observe(&mut self, seen: Observation) -> Result<(), Violation> {
        let topic = seen.topic().and_then(|name| self.topics.get(name));
        let is_of_another = topic.is_some_and(TopicModel::may_be_another);
        self.judge(seen).or_else(|violation| forgive(violation, is_of_another))
    }

    fn judge(&mut self, seen: Observation) -> Result<(), Violation> {
        match seen {
            Observation::Sent(place, write, batch) => {
                self.configs(&place.topic).sent(write);
                self.place(&place).sent(write, batch.0);
            }
            Observation::Judged(place, write, judged) => self.answered(&place, write, judged)?,
            Observation::Configuring(topic, id, wishes) => self.configs(&topic).configuring(id, wishes),
            Observation::Configured(topic, id, end) => {
                if end == ConfigEnd::Done {
                    self.changes += 1;
                }
                self.configs(&topic).configured(id, end);
            }
            Observation::AskedForConfigs(topic, number) => self.configs(&topic).asked(number),
            Observation::Configs(topic, number, all) => {
                let judged = self.configs(&topic).told(number, all);
                judged.map_err(|violation| violation.about(subject::topic(&topic)))?;
            }
            Observation::Ended(place, write, outcome, _) => {
                let slot = match outcome {
                    Outcome::Acked(_) => 0,
                    Outcome::Failed => 1,
                    Outcome::Unknown => 2,
                };
                self.writes[slot] += 1;
                let gone = self.is_deleting(&place.topic);
                self.place(&place).ended(write, outcome).or_else(|violation| forgive(violation, gone))?;
            }
            Observation::AckedAgain(place, write, base) => {
                let gone = self.is_deleting(&place.topic);
                self.place(&place).acked_again(write, base).or_else(|violation| forgive(violation, gone))?;
            }
            Observation::SentAgain(place, write) => self.place(&place).sent_again(write),
            Observation::Unheard(place, write, _) => self.place(&place).unheard(write),
            Observation::ProducerRefused(place, write, code) => {
                let gone = self.is_deleting(&place.topic);
                self.place(&place).refused(write, code).or_else(|violation| forgive(violation, gone))?;
            }
            Observation::ProducerId(id) => {
                if !self.producer_ids.insert(id) {
                    let message = format!("two producers got the id {id}");
                    return Err(Violation::new("producer-ids-unique", message));
                }
            }
            Observation::Asked(place, number) => {
                if self.is_certain(&place) {
                    self.asked_of_certain.insert(number);
                }
                self.place(&place).asked(number);
            }
            Observation::HighWatermark(place, number, hw) => {
                self.asked_of_certain.remove(&number);
                self.place(&place).high_watermark(number, hw)?;
            }
            Observation::LogStart(place, number, start) => {
                let allowance = self.allowance(&place);
                self.place(&place).log_start(number, start, allowance)?;
            }
            Observation::Served(place, number, from) => self.place(&place).served(number, from)?,
            Observation::OutOfRange(place, number, from) => {
                let allowance = self.allowance(&place);
                self.place(&place).out_of_range(number, from, allowance)?;
            }
            Observation::Trimming(place, id, upto) => {
                self.configs(&place.topic).trimming(id);
                self.place(&place).trimming(id, upto);
            }
            Observation::Trimmed(place, id, outcome) => {
                let allowance = self.allowance(&place);
                let judged = self.configs(&place.topic).trimmed(id, outcome);
                judged.map_err(|violation| violation.about(subject::topic(&place.topic)))?;
                self.place(&place).trimmed(id, outcome, allowance)?;
            }
            Observation::Told(place, number, question, told) => {
                self.asked_of_certain.remove(&number);
                let gone = self.is_deleting(&place.topic);
                let allowance = self.allowance(&place);
                let judged = self.place(&place).told(number, question, told, allowance);
                judged.or_else(|violation| forgive(violation, gone))?;
            }
            Observation::Missing(place, number) => self.check_missing(&place, number)?,
            Observation::Read(place, from, batches) => {
                self.batches_read += self.place(&place).read(from, &batches)?;
            }
            Observation::Creating(topic, partitions) => {
                let asked = self.topics.entry(topic);
                asked
                    .and_modify(TopicModel::asked_again)
                    .or_insert_with_key(|name| TopicModel::asked_for(name, partitions));
            }
            Observation::Created(topic) => self.topic(&topic)?.created(),
            Observation::Deleting(topic) => self.topic(&topic)?.deleting(),
            Observation::Growing(topic, id, partitions) => self.topic(&topic)?.growing(id, partitions),
            Observation::Grown(topic, id, outcome) => {
                let slot = match outcome {
                    Growth::Done => 0,
                    Growth::Refused => 1,
                    Growth::Unknown => 2,
                };
                self.growths[slot] += 1;
                self.topic(&topic)?.grown(id, outcome)?;
            }
            Observation::AskedForTopics(number) => {
                let certain = self.topics.iter().map(|(name, topic)| (name.clone(), topic.certain()));
                self.asked_for_topics.insert(number, certain.filter(|(_, partitions)| *partitions > 0).collect());
            }
            Observation::Listed(number, topics) => self.check_topics(number, topics)?,
            Observation::ReadAll(place, start, end) => {
                let allowance = self.allowance(&place);
                self.place(&place).check_complete(start, end, allowance)?;
            }
            Observation::Sized(place, size) => size.check(&place)?,
            Observation::Group(group, seen) => {
                let is_about_offsets = matches!(seen, GroupSeen::Offsets(..));
                let is_deleting = self.is_deleting(&group);
                let gone = is_about_offsets && is_deleting;
                let kept = if is_deleting { Kept::Perhaps } else { Kept::Certainly };
                let at = groups::Moment { now: self.now, span: self.spans.offsets };
                let judged = self.groups.entry(group.clone()).or_default().observe(&group, seen, kept, at);
                judged.or_else(|violation| forgive(violation.about(subject::group(&group)), gone))?;
            }
            Observation::Broken(why) => return Err(Violation::new("answers-in-order", why)),
            Observation::Answered(kind, _) => *self.answered.entry(kind).or_default() += 1,
            Observation::Lost(kind) => *self.lost.entry(kind).or_default() += 1,
        }
        Ok(())
    }

    /// Partitions that hold acknowledged records and must be readable to the end.
    pub fn must_be_read(&self) -> impl Iterator<Item = &Place> {
        self.places.iter().filter(|(place, model)| model.has_acked() && !self.is_deleting(&place.topic)).map(|(p, _)| p)
    }

    /// Whether that partition was read from start to end since its last write.
    #[must_use]
    pub fn was_read_to_the_end(&self, place: &Place) -> bool {
        self.places.get(place).is_some_and(PartitionModel::is_complete)
    }

    /// Operations answered, of every kind.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.answered.values().sum()
    }

    fn place(&mut self, place: &Place) -> &mut PartitionModel {
        if !self.places.contains_key(place) {
            self.places.insert(place.clone(), PartitionModel::new(place, self.spans.producers));
        }
        let times = self.configs.get(&place.topic).map_or(Times::AsSent, ConfigModel::times);
        let model = self.places.get_mut(place).expect("it was just put there");
        model.look(self.now, times);
        model
    }

    fn configs(&mut self, topic: &str) -> &mut ConfigModel {
        self.configs.entry(topic.to_owned()).or_insert_with(|| ConfigModel::new(topic, self.limits))
    }

    /// What retention may have taken from a partition.
    fn allowance(&mut self, place: &Place) -> Allowance {
        self.configs(&place.topic).allowance()
    }

    fn answered(&mut self, place: &Place, write: WriteId, judged: Judged) -> Result<(), Violation> {
        let batch = self.place(place).judged(write, judged)?;
        let storing = self.configs(&place.topic).judged(write, &batch, judged);
        let about = |violation: Violation| {
            let write = subject::write(&place.to_string(), write);
            violation.about(write).about(subject::topic(&place.topic))
        };
        match storing.map_err(about)? {
            Some(storing) => self.place(place).may_be_stored(write, storing),
            None => Ok(()),
        }
    }

    fn topic(&mut self, name: &str) -> Result<&mut TopicModel, Violation> {
        let message = || format!("nobody asked for the topic {name}");
        let unknown = || Violation::new("topics-are-asked-for", message()).about(subject::topic(name));
        self.topics.get_mut(name).ok_or_else(unknown)
    }

    fn is_deleting(&self, topic: &str) -> bool {
        self.topics.get(topic).is_some_and(TopicModel::is_deleting)
    }

    fn is_certain(&self, place: &Place) -> bool {
        self.topics.get(&place.topic).is_some_and(|topic| place.partition < topic.certain())
    }

    fn check_missing(&mut self, place: &Place, number: u64) -> Result<(), Violation> {
        if self.asked_of_certain.remove(&number) && self.is_certain(place) {
            let message = format!("{place} was there, and is said not to exist");
            let violation = Violation::new("acked-partition-lost", message);
            return Err(violation.about(subject::partition(place)).about(subject::topic(&place.topic)));
        }
        Ok(())
    }

    /// What was certain when all topics were asked for is listed, unless somebody deletes it meanwhile.
    fn check_topics(&mut self, number: u64, listed: Vec<(String, i32)>) -> Result<(), Violation> {
        let certain = self.asked_for_topics.remove(&number).unwrap_or_default();
        let listed: BTreeMap<String, i32> = listed.into_iter().collect();
        for (topic, least) in certain.iter().filter(|(topic, _)| !self.is_deleting(topic)) {
            match listed.get(topic) {
                None => {
                    let message = format!("topic {topic} was there and is gone");
                    return Err(Violation::new("acked-topic-lost", message).about(subject::topic(topic)));
                }
                Some(shown) if shown < least => {
                    let message = format!("topic {topic} has {shown} partitions, and had {least} before the question");
                    return Err(Violation::new("acked-partition-lost", message).about(subject::topic(topic)));
                }
                Some(_) => {}
            }
        }
        for (topic, partitions) in listed {
            self.topic(&topic)?.shown(partitions)?;
        }
        Ok(())
    }
}

/// A topic that is being deleted may answer anything about writes.
fn forgive(violation: Violation, gone: bool) -> Result<(), Violation> {
    if gone { Ok(()) } else { Err(violation) }
}
