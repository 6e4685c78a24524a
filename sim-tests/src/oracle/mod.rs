//! The oracle: what must be true of everything that clients saw, judged while it happens.
//!
//! It keeps a trivial model of each partition: which writes were sent, what became of each, and which batch lies at
//! which offset. A write's outcome is *acked*, *failed* for certain, or *unknown* for ever; the vocabulary of the
//! violations is Jepsen's (`jepsen.tests.kafka`).

mod partition;

pub use partition::{Outcome, Violation};

use bytes::Bytes;
use partition::PartitionModel;
use std::collections::BTreeMap;

/// Names one attempt of one client to append one batch. Unique in a run; a retry is another write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteId(pub u64);

/// A partition, by names that are never used twice in a run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The topic's name.
    pub topic: String,
    /// The partition's index.
    pub partition: i32,
}

/// What a client tells the oracle.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Observation {
    /// About to send this batch.
    Sent(Place, WriteId, karst_core::machine::Payload),
    /// The broker answered, or never will.
    Ended(Place, WriteId, Outcome),
    /// A request that tells a high watermark was sent; the same number comes with [`Observation::HighWatermark`].
    Asked(Place, u64),
    /// The answer to it.
    HighWatermark(Place, u64, i64),
    /// A fetch from this offset returned these batches.
    Read(Place, i64, karst_core::machine::Payload),
    /// A topic is there for certain: creating it was answered with success.
    Created(String),
    /// Deleting a topic was asked for; from here on it may be gone.
    Deleting(String),
    /// All topics, as one answer listed them; asked for before the run's end, when nothing is in flight.
    Listed(Vec<String>),
    /// The whole of a partition was read, from its start to its high watermark.
    ReadAll(Place, i64, i64),
    /// Answers came out of order, or one made no sense.
    Broken(String),
    /// An operation was answered.
    Answered(&'static str),
    /// An operation got no answer.
    Lost(&'static str),
}

/// Judges a run.
#[derive(Debug, Default)]
pub struct Oracle {
    places: BTreeMap<Place, PartitionModel>,
    created: BTreeMap<String, Topic>,
    /// Answered operations by kind.
    pub answered: BTreeMap<&'static str, u64>,
    /// Operations without an answer, by kind.
    pub lost: BTreeMap<&'static str, u64>,
    /// Writes by outcome: acked, failed, unknown.
    pub writes: [u64; 3],
    /// Batches read back and compared.
    pub batches_read: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Topic {
    Created,
    Deleting,
}

impl Oracle {
    /// Takes in what a client saw.
    ///
    /// # Errors
    /// What it contradicts.
    pub fn observe(&mut self, seen: Observation) -> Result<(), Violation> {
        match seen {
            Observation::Sent(place, write, batch) => self.place(&place).sent(write, batch.0),
            Observation::Ended(place, write, outcome) => {
                let slot = match outcome {
                    Outcome::Acked(_) => 0,
                    Outcome::Failed => 1,
                    Outcome::Unknown => 2,
                };
                self.writes[slot] += 1;
                let gone = self.is_deleting(&place.topic);
                self.place(&place).ended(write, outcome).or_else(|violation| forgive(violation, gone))?;
            }
            Observation::Asked(place, number) => self.place(&place).asked(number),
            Observation::HighWatermark(place, number, hw) => self.place(&place).high_watermark(number, hw)?,
            Observation::Read(place, from, batches) => {
                self.batches_read += self.place(&place).read(from, &batches)?;
            }
            Observation::Created(topic) => {
                self.created.entry(topic).or_insert(Topic::Created);
            }
            Observation::Deleting(topic) => {
                self.created.insert(topic, Topic::Deleting);
            }
            Observation::Listed(topics) => self.check_topics(&topics)?,
            Observation::ReadAll(place, start, end) => self.place(&place).check_complete(start, end)?,
            Observation::Broken(why) => return Err(Violation::new("answers-in-order", why)),
            Observation::Answered(kind) => *self.answered.entry(kind).or_default() += 1,
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
            self.places.insert(place.clone(), PartitionModel::new(place));
        }
        self.places.get_mut(place).expect("it was just put there")
    }

    fn is_deleting(&self, topic: &str) -> bool {
        self.created.get(topic) == Some(&Topic::Deleting)
    }

    fn check_topics(&self, listed: &[String]) -> Result<(), Violation> {
        for (topic, state) in &self.created {
            if *state == Topic::Created && !listed.contains(topic) {
                return Err(Violation::new("acked-topic-lost", format!("topic {topic} was created and is gone")));
            }
        }
        Ok(())
    }
}

/// A topic that is being deleted may answer anything about writes.
fn forgive(violation: Violation, gone: bool) -> Result<(), Violation> {
    if gone { Ok(()) } else { Err(violation) }
}

/// The part of a batch that a broker never changes.
fn unstamped(batch: &Bytes) -> Bytes {
    batch.slice(crate::client::batch::STAMPED.min(batch.len())..)
}
