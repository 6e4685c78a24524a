//! Fetches that are not answered yet: some wait for records, some for objects being read.

use super::found::Found;
use super::joins::Asked;
use crate::data_object::{Read, ReadBatches, ReadBlock, ReadError, ReadId};
use crate::id::{ConnId, Offset, StreamEpoch, StreamId, TopicId};
use crate::kafka::ErrorCode;
use crate::machine::{Deadline, Instant, Mark, sometimes};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use kafka_protocol::protocol::StrBytes;

/// Names a fetch until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FetchId(u64);

/// A fetch, as it was asked.
#[derive(Clone, Debug)]
pub(super) struct Fetch {
    pub(super) asked: Asked,
    pub(super) topics: Vec<WantedTopic>,
    pub(super) min_bytes: u64,
    pub(super) max_bytes: u64,
    /// When it is answered with what there is.
    pub(super) due: Instant,
    /// What it may return by the credit that there was when it was tried.
    pub(super) allowed: u64,
    /// Credit for answers that it holds.
    pub(super) held: u64,
    /// While it waits: the bytes that must still come before it is looked at again. None if it has not waited yet.
    pub(super) missing: Option<u64>,
    /// How often it was begun again since an object that it wanted was gone.
    pub(super) restarts: u32,
    /// What must be read at least, if that is known to be more than usual, for the first batch that it returns.
    pub(super) first: u64,
}

#[derive(Clone, Debug)]
pub(super) struct WantedTopic {
    pub(super) name: StrBytes,
    pub(super) id: TopicId,
    pub(super) partitions: Vec<WantedPartition>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct WantedPartition {
    pub(super) index: i32,
    pub(super) stream: Result<StreamId, ErrorCode>,
    pub(super) believed_epoch: i32,
    /// Of the record before the offset, if the client tells it; else -1.
    pub(super) last_epoch: i32,
    pub(super) offset: i64,
    pub(super) max_bytes: u64,
}

impl Fetch {
    pub(super) fn partitions(&self) -> impl Iterator<Item = &WantedPartition> {
        self.topics.iter().flat_map(|topic| &topic.partitions)
    }

    /// Whether something went wrong that the client is told at once. What was unknown from the start is, as in Kafka, only
    /// if nothing else is wanted: a client that goes on to ask for a deleted topic beside others waits as well.
    pub(super) fn fails_with(&self, got: &[Got]) -> bool {
        let is_error = |got: &Got| !matches!(got, Got::Records { .. });
        let mut of_known = self.partitions().zip(got).filter(|(wanted, _)| wanted.stream.is_ok()).peekable();
        of_known.peek().is_none() || of_known.any(|(_, got)| is_error(got))
    }

    /// At least what its answer takes besides records.
    pub(super) fn overhead(&self) -> u64 {
        let topic = |topic: &WantedTopic| 64 + topic.name.len() + 96 * topic.partitions.len();
        128 + self.topics.iter().map(topic).sum::<usize>() as u64
    }
}

/// What one partition of a fetch came to.
#[derive(Clone, Debug)]
pub(super) enum Got {
    Records {
        high_watermark: Offset,
        start: Offset,
        records: Found,
    },
    /// The log's records up to that epoch end there, and the client has fetched others.
    Diverging {
        high_watermark: Offset,
        start: Offset,
        epoch: StreamEpoch,
        end: Offset,
    },
    Failed(ErrorCode),
}

impl Got {
    /// Length of its records.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Records { records, .. } => records.len(),
            Self::Diverging { .. } | Self::Failed(_) => 0,
        }
    }

    /// What its records will hold in memory when they leave.
    pub(super) fn cost(&self, copied: u32) -> u64 {
        match self {
            Self::Records { records, .. } => records.cost(copied),
            Self::Diverging { .. } | Self::Failed(_) => 0,
        }
    }
}

/// What one partition of a fetch needs.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Known(Got),
    /// Records of an object; the high watermark and start are as of the plan.
    Reading {
        read: Read,
        /// Whether records are returned only if they fit into what is left.
        must_fit: bool,
        high_watermark: Offset,
        start: Offset,
    },
}

#[derive(Debug)]
enum State {
    /// For records, or for the time to be up.
    Parked,
    /// For objects.
    Reading { steps: Vec<Step>, missing: usize },
}

/// Open fetches.
#[derive(Debug, Default)]
pub(super) struct Fetches {
    issued: u64,
    reads: u64,
    open: BTreeMap<FetchId, (Fetch, State)>,
    parked: BTreeMap<StreamId, BTreeSet<FetchId>>,
    due: BTreeSet<(Instant, FetchId)>,
    reading: BTreeMap<ReadId, (FetchId, usize)>,
}

/// A fetch whose reads have ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// Everything is there.
    Complete(Fetch, Vec<Got>),
    /// An object was replaced or deleted meanwhile: look at the metadata again.
    Again(Fetch),
    /// The first batch is so large that it needs more credit, which it now knows.
    TooLong(Fetch),
}

impl Fetches {
    pub(super) fn next_read(&mut self) -> ReadId {
        self.reads += 1;
        ReadId(self.reads)
    }

    /// Waits for records of any of its partitions.
    pub(super) fn park(&mut self, fetch: Fetch) {
        let id = self.next_id();
        self.due.insert((fetch.due, id));
        for stream in fetch.partitions().filter_map(|wanted| wanted.stream.ok()) {
            self.parked.entry(stream).or_default().insert(id);
        }
        self.open.insert(id, (fetch, State::Parked));
    }

    /// Waits for reads.
    pub(super) fn read(&mut self, fetch: Fetch, steps: Vec<Step>) {
        let id = self.next_id();
        let mut missing = 0;
        for (at, step) in steps.iter().enumerate() {
            if let Step::Reading { read, .. } = step {
                self.reading.insert(read.id, (id, at));
                missing += 1;
            }
        }
        assert!(missing > 0, "a fetch that reads nothing is answered at once");
        self.open.insert(id, (fetch, State::Reading { steps, missing }));
    }

    /// Takes out the fetches that wait for records of a stream, however few came.
    pub(super) fn wake(&mut self, stream: StreamId) -> Vec<Fetch> {
        let ids = self.parked.remove(&stream).unwrap_or_default();
        ids.into_iter().filter_map(|id| self.unpark(id)).collect()
    }

    /// These streams grew by so many bytes. Takes out the fetches for which that is enough; what an append costs does
    /// not depend on how much there was before.
    pub(super) fn grow(&mut self, grown: &BTreeMap<StreamId, u64>) -> Vec<Fetch> {
        let mut ripe = BTreeSet::new();
        for (stream, bytes) in grown {
            for id in self.parked.get(stream).into_iter().flatten() {
                let Some((Fetch { missing: Some(missing), .. }, State::Parked)) = self.open.get_mut(id) else {
                    continue;
                };
                *missing = missing.saturating_sub(*bytes);
                if *missing == 0 {
                    ripe.insert(*id);
                }
            }
        }
        ripe.into_iter().filter_map(|id| self.unpark(id)).collect()
    }

    /// Takes out the fetches whose time is up.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Fetch> {
        let mut expired = Vec::new();
        while let Some(&(due, id)) = self.due.first()
            && due <= now
        {
            expired.extend(self.unpark(id));
        }
        expired
    }

    /// For whom and what a read is that has not ended.
    pub(super) fn wanted_by(&self, read: ReadId) -> Option<(&Fetch, &Read)> {
        let (id, at) = self.reading.get(&read)?;
        match self.open.get(id)? {
            (fetch, State::Reading { steps, .. }) => match &steps[*at] {
                Step::Reading { read, .. } => Some((fetch, read)),
                Step::Known(_) => None,
            },
            (_, State::Parked) => None,
        }
    }

    /// A read has ended. Returns the fetch if it was the last one.
    pub(super) fn finish(&mut self, read: ReadId, result: Result<ReadBatches, ReadError>) -> Option<Ended> {
        let (id, at) = self.reading.remove(&read)?;
        let (_, State::Reading { steps, missing }) = self.open.get_mut(&id)? else {
            unreachable!("a fetch that is read for is not parked")
        };
        let Step::Reading { high_watermark, start, must_fit, .. } = steps[at] else {
            unreachable!("each read of a fetch ends once")
        };
        if let Err(ReadError::TooLong(len)) = result
            && !must_fit
        {
            return self.too_long(id, len);
        }
        let gone = matches!(result, Err(ReadError::Gone | ReadError::NotHeld));
        steps[at] = Step::Known(match result {
            Ok(ReadBatches { blocks, .. }) => {
                let mut records = Found::default();
                for ReadBlock { batches, buffer } in blocks {
                    records.push(buffer, batches.into_iter().map(|batch| batch.batch.0).collect());
                }
                Got::Records { high_watermark, start, records }
            }
            // It comes with a fetch that begins with it, or when fewer others are before it.
            Err(ReadError::TooLong(_) | ReadError::Crowded) => {
                Got::Records { high_watermark, start, records: Found::default() }
            }
            Err(_) => Got::Failed(ErrorCode::KafkaStorageError),
        });
        *missing -= 1;
        if gone {
            return self.begin_again(id);
        }
        (*missing == 0).then(|| self.complete(id)).flatten()
    }

    /// The connection is gone: nobody waits any more. Returns the reads to be given up.
    pub(super) fn forget(&mut self, conn: ConnId) -> Vec<ReadId> {
        let mut reads = Vec::new();
        let gone: Vec<FetchId> =
            self.open.iter().filter(|(_, (fetch, _))| fetch.asked.conn == conn).map(|(id, _)| *id).collect();
        for id in gone {
            if self.unpark(id).is_none() {
                self.open.remove(&id);
                let of_it = self.reading.extract_if(.., |_, (reading, _)| *reading == id);
                reads.extend(of_it.map(|(read, _)| read));
            }
        }
        reads
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.due.first().map(|(at, _)| Deadline { at: *at, reason: "answer a fetch that waited long enough" })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    fn next_id(&mut self) -> FetchId {
        self.issued += 1;
        FetchId(self.issued)
    }

    fn unpark(&mut self, id: FetchId) -> Option<Fetch> {
        if !matches!(self.open.get(&id), Some((_, State::Parked))) {
            return None;
        }
        let (fetch, _) = self.open.remove(&id)?;
        self.due.remove(&(fetch.due, id));
        for stream in fetch.partitions().filter_map(|wanted| wanted.stream.ok()) {
            if let Some(ids) = self.parked.get_mut(&stream) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.parked.remove(&stream);
                }
            }
        }
        Some(fetch)
    }

    fn begin_again(&mut self, id: FetchId) -> Option<Ended> {
        let (fetch, _) = self.open.remove(&id)?;
        self.reading.retain(|_, (reading, _)| *reading != id);
        sometimes!(Mark::FetchBegunAgain);
        Some(Ended::Again(Fetch { restarts: fetch.restarts + 1, ..fetch }))
    }

    fn too_long(&mut self, id: FetchId, len: u64) -> Option<Ended> {
        let (fetch, _) = self.open.remove(&id)?;
        self.reading.retain(|_, (reading, _)| *reading != id);
        assert!(len > fetch.first, "a read that was told its length has room for it");
        sometimes!(Mark::FetchOfLargeBatch);
        Some(Ended::TooLong(Fetch { first: len, ..fetch }))
    }

    fn complete(&mut self, id: FetchId) -> Option<Ended> {
        let (fetch, State::Reading { steps, .. }) = self.open.remove(&id)? else {
            unreachable!("only a fetch that reads is completed by a read")
        };
        let got = steps.into_iter().map(|step| match step {
            Step::Known(got) => got,
            Step::Reading { .. } => unreachable!("all reads have ended"),
        });
        Some(Ended::Complete(fetch, got.collect()))
    }
}
