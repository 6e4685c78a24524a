//! What is durable of a partition's producers: a fold of the headers of its batches.

use super::{ProducerEpoch, ProducerId, Sequence, Sequenced};
use crate::id::Offset;
use crate::kafka::BatchHeader;
use crate::machine::WallTime;
use crate::wal::Appended;
use alloc::collections::{BTreeMap, VecDeque};

/// So many batches of a producer are remembered: as many as a producer may have in flight (KIP-98).
pub const REMEMBERED: usize = 5;

/// A batch that lies in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Written {
    /// The number of its first record.
    pub first: Sequence,
    /// The number of its last.
    pub last: Sequence,
    /// The offset of its first record.
    pub base: Offset,
    /// The time that the broker gave its records, if it did.
    pub stamped: Option<WallTime>,
}

/// What is known of a producer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProducerState {
    /// The epoch of its last batch.
    pub epoch: ProducerEpoch,
    /// The largest timestamp of its last batch.
    pub timestamp: WallTime,
    /// The last batches of that epoch, oldest first: at least one, at most [`REMEMBERED`].
    pub batches: VecDeque<Written>,
}

impl ProducerState {
    /// The state after a first batch.
    #[must_use]
    pub fn new(epoch: ProducerEpoch, timestamp: WallTime, batch: Written) -> Self {
        Self { epoch, timestamp, batches: [batch].into() }
    }

    /// Adds the next batch of the producer. One that does not follow the last is of a producer that was forgotten
    /// meanwhile, and is taken from there on.
    pub fn write(&mut self, epoch: ProducerEpoch, timestamp: WallTime, batch: Written) {
        if epoch != self.epoch || batch.first != self.last().last.next() {
            *self = Self::new(epoch, timestamp, batch);
            return;
        }
        self.timestamp = timestamp;
        self.batches.push_back(batch);
        if self.batches.len() > REMEMBERED {
            self.batches.pop_front();
        }
    }

    /// Adds what came later in the log.
    pub fn follow(&mut self, later: Self) {
        for batch in later.batches {
            self.write(later.epoch, later.timestamp, batch);
        }
    }

    /// The last batch.
    ///
    /// # Panics
    /// Never: there is one.
    #[must_use]
    pub fn last(&self) -> &Written {
        self.batches.back().expect("a producer is known by a batch")
    }
}

/// The producers of a partition, or of a part of its log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ProducerTable {
    /// By id.
    pub producers: BTreeMap<ProducerId, ProducerState>,
}

impl ProducerTable {
    /// The producers of consecutive batches of one partition.
    #[must_use]
    pub fn of<'a>(batches: impl IntoIterator<Item = &'a Appended>) -> Self {
        let mut table = Self::default();
        for batch in batches {
            let Some(header) = BatchHeader::parse(&batch.batch) else { continue };
            if let Some(sequenced) = Sequenced::of(&header) {
                table.write(sequenced, batch.base, (batch.max_timestamp, header.append_time()));
            }
        }
        table
    }

    /// Adds the next batch of the log, with the largest time of its records and that which the broker gave them, if any.
    pub fn write(&mut self, batch: Sequenced, base: Offset, (timestamp, stamped): (WallTime, Option<WallTime>)) {
        let Sequenced { producer, epoch, first, last } = batch;
        let written = Written { first, last, base, stamped };
        self.producers
            .entry(producer)
            .and_modify(|known| known.write(epoch, timestamp, written))
            .or_insert_with(|| ProducerState::new(epoch, timestamp, written));
    }

    /// Adds the part of the log that follows.
    pub fn follow(&mut self, later: Self) {
        for (id, state) in later.producers {
            match self.producers.get_mut(&id) {
                Some(known) => known.follow(state),
                None => {
                    self.producers.insert(id, state);
                }
            }
        }
    }

    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }
}
