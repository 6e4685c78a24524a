//! A start: each partition of the log is read from where it begins to its high watermark, before anybody is answered.

use super::coordinator::{Coordinator, Out};
use super::log::{Phase, Step};
use super::record::{GroupValue, Key, OffsetValue};
use super::state::Group;
use super::{Name, batch};
use crate::id::{Offset, StreamId};
use crate::kafka::Batch;
use crate::machine::{Deadline, Now};
use alloc::vec::Vec;
use core::time::Duration;

/// A partition that wants to be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) partition: u32,
    pub(crate) stream: StreamId,
    pub(crate) from: Offset,
}

/// Partitions that are read at once.
const AT_ONCE: usize = 4;

/// A read that failed is repeated after so long.
const PAUSE: Duration = Duration::from_millis(500);

impl Coordinator {
    /// The next partition to be read, which counts as being read from now on.
    pub(crate) fn next_load(&mut self) -> Option<Load> {
        let reading = |phase: &Phase| matches!(phase, Phase::Loading { step: Step::Reading, .. });
        if self.logs.values().filter(|log| reading(&log.phase)).count() >= AT_ONCE {
            return None;
        }
        self.logs.iter_mut().find_map(|(partition, log)| match &mut log.phase {
            Phase::Loading { next, step: step @ Step::Due, .. } => {
                *step = Step::Reading;
                Some(Load { partition: *partition, stream: log.stream, from: *next })
            }
            _ => None,
        })
    }

    /// What was read from where the partition was: batches in order. Nothing if the end is reached.
    pub(crate) fn loaded(&mut self, now: Now, partition: u32, batches: &[Batch], out: &mut Out) {
        let Some(log) = self.logs.get_mut(&partition) else { return };
        let Phase::Loading { next, step, .. } = &mut log.phase else { return };
        *step = Step::Due;
        let from = *next;
        if batches.is_empty() {
            return self.all_loaded(now, partition, out);
        }
        let mut grown = 0;
        let mut all = Vec::new();
        for batch in batches {
            let (Some(base), Some(end)) = (batch.header.base(), batch.header.end()) else { continue };
            grown += batch.bytes.len() as u64;
            let Some(records) = batch::decode(batch) else {
                tracing::error!(partition, offset = base.0, "a batch of the groups' log can't be read: skipped");
                *next = end.max(*next);
                continue;
            };
            // Records below the log's start may be in a batch that it cuts through.
            let below = usize::try_from(from.0.saturating_sub(base.0)).unwrap_or(usize::MAX);
            all.extend(records.into_iter().skip(below));
            *next = end.max(*next);
        }
        if *next == from {
            // Nothing was gained: what is there is not what belongs there.
            *step = Step::Paused(now.mono.after(PAUSE));
        }
        log.grow(grown);
        all.iter().for_each(|record| log.take(record));
    }

    /// It could not be read: later again.
    pub(crate) fn load_failed(&mut self, now: Now, partition: u32) {
        if let Some(log) = self.logs.get_mut(&partition)
            && let Phase::Loading { step, .. } = &mut log.phase
        {
            *step = Step::Paused(now.mono.after(PAUSE));
        }
    }

    /// Everything of a partition was read: what is live in it becomes groups.
    fn all_loaded(&mut self, now: Now, partition: u32, out: &mut Out) {
        let log = self.logs.get_mut(&partition).expect("it was looked for");
        let Phase::Loading { since, next, .. } = log.phase else { return };
        log.phase = Phase::Ready;
        let mut ids: Vec<Name> = Vec::new();
        for (key, value) in &log.live {
            let loaded = match Key::decode(key) {
                Ok(Some(Key::Group(id))) => {
                    ids.push(id.clone());
                    let group = self.groups.entry(id.clone()).or_insert_with(|| Group::new(id, partition, now));
                    GroupValue::decode(value).map(|value| group.load(now, &value))
                }
                Ok(Some(Key::Offset { group: id, topic, partition: index })) => {
                    ids.push(id.clone());
                    let group = self.groups.entry(id.clone()).or_insert_with(|| Group::new(id, partition, now));
                    OffsetValue::decode(value).map(|value| group.offsets.insert(&topic, index, value, now.mono))
                }
                Ok(None) => Ok(()),
                Err(malformed) => Err(malformed),
            };
            if let Err(malformed) = loaded {
                tracing::error!(partition, "a record of the groups' log is not understood: {malformed}");
            }
        }
        let took = now.mono.since(since);
        tracing::debug!(partition, groups = ids.len(), ?took, "groups are loaded");
        for id in ids {
            self.settle(now, &id, out);
        }
        self.tidy(now, partition, next, out);
    }

    pub(super) fn loading_deadline(&self) -> Option<Deadline> {
        let paused = self.logs.values().filter_map(|log| match log.phase {
            Phase::Loading { step: Step::Paused(until), .. } => Some(until),
            _ => None,
        });
        paused.min().map(|at| Deadline { at, reason: "read the groups' log again" })
    }

    pub(super) fn wake_loading(&mut self, now: Now) {
        for log in self.logs.values_mut() {
            if let Phase::Loading { step: step @ Step::Paused(_), .. } = &mut log.phase
                && matches!(*step, Step::Paused(until) if until <= now.mono)
            {
                *step = Step::Due;
            }
        }
    }

    /// Topics in which live offsets are.
    pub(crate) fn topics(&self) -> alloc::collections::BTreeSet<Name> {
        self.groups.values().flat_map(|group| group.offsets.by_topic().map(|(topic, _)| topic.clone())).collect()
    }
}
