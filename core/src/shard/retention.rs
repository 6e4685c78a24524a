//! Old records go: by age, and by the size of their partition.
//!
//! Every [`Limits::retention_check`](crate::limits::Limits::retention_check) all partitions that are led here are looked
//! through. What may go is trimmed by the command that DeleteRecords uses: the log start moves when that is durable, and
//! objects without ranges are destroyed as always.
//!
//! ```text
//!   log start                          committed end        high watermark
//!       │ range 1 │ range 2 │ range 3 │ range 4 │  not in objects  │
//!       └─────────┴─────────┴─────────┴─────────┴──────────────────┘
//!        ─── size ─────────► what is left is retention.bytes at least
//!                           ── age ──► up to the first range with a young record
//! ```
//! It is Kafka's rule with ranges of objects for segments: first whole ranges by size, as long as `retention.bytes` are
//! left; then by age, each whose largest timestamp is older than `retention.ms`. A range without timestamps ages from
//! its commit. The first range that has to stay ends it, so one record with a time in the far future keeps what follows
//! it, as in Kafka. What is not in objects yet stays, and does not count as size. A topic whose `cleanup.policy` has no
//! `delete` is left alone.
//!
//! **Age is judged by a careful clock** ([`RetentionClock`]), so that a broker whose wall clock is set forward by mistake
//! deletes nothing early.

use super::{Effect, Me, Mode, Shard};
use crate::id::{Offset, StreamId};
use crate::machine::{Deadline, Effects, Instant, Mark, Now, WallTime, sometimes};
use crate::metadata::{Command, Image, Millis, RangeImage, StreamImage, StreamState, TopicConfigs};
use crate::node::Asker;
use alloc::collections::{BTreeMap, BTreeSet};
use core::ops::Bound;
use core::time::Duration;

/// Trims on their way at once: clients' commands should not stand behind thousands of them.
const TRIMS: usize = 32;

/// Looks for what may go.
#[derive(Debug, Default)]
pub(super) struct Retention {
    phase: Phase,
    clock: RetentionClock,
    /// Trims on their way, by the tags of their commands.
    trims: BTreeSet<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// The broker does not serve (any more).
    #[default]
    Off,
    /// Until the next look.
    Waiting(Instant),
    /// Streams up to this one were looked at.
    Looking(Option<StreamId>),
}

/// The wall clock as far as it is to be trusted.
///
/// It never shows more than the wall clock does, nor more than has passed by the monotonic clock since it was last
/// trusted: a step forward counts only once it has stood for [`TRUST`](Self::TRUST). A wall clock that is wrong already when
/// the broker starts is believed; against that only the operator can help.
#[derive(Clone, Copy, Debug, Default)]
struct RetentionClock {
    /// A moment by both clocks.
    trusted: Option<Now>,
    /// Since when the wall clock is ahead of that.
    ahead_since: Option<Instant>,
}

impl RetentionClock {
    /// How long a step forward must stand.
    const TRUST: Duration = Duration::from_secs(24 * 3_600);

    fn read(&mut self, now: Now) -> WallTime {
        let trusted = *self.trusted.get_or_insert(now);
        let passed = i64::try_from(now.mono.since(trusted.mono).as_millis()).unwrap_or(i64::MAX);
        let expected = trusted.wall.0.saturating_add(passed);
        if now.wall.0 <= expected {
            *self = Self { trusted: Some(now), ahead_since: None };
            return now.wall;
        }
        let since = *self.ahead_since.get_or_insert(now.mono);
        if now.mono.since(since) >= Self::TRUST {
            *self = Self { trusted: Some(now), ahead_since: None };
            return now.wall;
        }
        WallTime(expected)
    }
}

impl Shard {
    /// The broker serves: looks from now on.
    pub(super) fn begin_retention(&mut self, now: Now) {
        self.retention.clock.read(now);
        self.retention.phase = Phase::Waiting(now.mono.after(self.limits.retention_check));
    }

    pub(super) fn retention_deadline(&self) -> Option<Deadline> {
        match self.retention.phase {
            Phase::Waiting(at) if self.mode == Mode::Open => Some(Deadline { at, reason: "look for old records" }),
            _ => None,
        }
    }

    pub(super) fn tick_retention(&mut self, now: Now, out: &mut Effects<Effect>) {
        if self.retention_deadline().is_some_and(|due| due.at <= now.mono) {
            self.retention.phase = Phase::Looking(None);
            self.retain(now, out);
        }
    }

    /// The answer to a command, if that is one of ours. A refused trim is of a stream that is gone, or of a broker that
    /// is; either is known elsewhere.
    pub(super) fn retention_answered(&mut self, now: Now, tag: u64, out: &mut Effects<Effect>) -> bool {
        let ours = self.retention.trims.remove(&tag);
        if ours {
            self.retain(now, out);
        }
        ours
    }

    /// Whether no trim is on its way.
    pub(super) fn retention_is_idle(&self) -> bool {
        self.retention.trims.is_empty() && !matches!(self.retention.phase, Phase::Looking(_))
    }

    /// Goes on looking, as long as there is room for trims.
    fn retain(&mut self, now: Now, out: &mut Effects<Effect>) {
        let Phase::Looking(mut after) = self.retention.phase else { return };
        let wall = self.retention.clock.read(now);
        while self.mode == Mode::Open && self.retention.trims.len() < TRIMS {
            let Some((stream, command)) = self.next_trim(after, wall) else {
                after = None;
                break;
            };
            after = Some(stream);
            let tag = self.topics.tag();
            self.retention.trims.insert(tag);
            self.send_command(Asker::Shard(tag), command, out);
        }
        self.retention.phase = match after {
            Some(_) if self.mode == Mode::Open => Phase::Looking(after),
            _ => Phase::Waiting(now.mono.after(self.limits.retention_check)),
        };
    }

    /// The first stream behind `after` of which something may go.
    fn next_trim(&self, after: Option<StreamId>, now: WallTime) -> Option<(StreamId, Command)> {
        let (me, image) = (self.me?, self.image.as_ref()?);
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        image.streams.range((from, Bound::Unbounded)).find_map(|(id, stream)| {
            let start = plan(me, image, stream, now)?;
            Some((*id, Command::TrimStream { stream: *id, epoch: stream.epoch, start }))
        })
    }
}

/// Where a stream is to start, if that is not where it does.
fn plan(me: Me, image: &Image, stream: &StreamImage, now: WallTime) -> Option<Offset> {
    if stream.owner != me.node || stream.state != StreamState::Open(me.epoch) {
        return None;
    }
    let topic = image.topics.get(&stream.topic)?;
    // What of the broker's own topic may go its owner knows, whatever somebody has configured.
    if topic.name.is_internal() {
        return None;
    }
    let start = kept_from(&topic.configs, &stream.ranges, now)?;
    (start > stream.start).then_some(start)
}

/// The end of the last range that may go.
fn kept_from(configs: &TopicConfigs, ranges: &BTreeMap<Offset, RangeImage>, now: WallTime) -> Option<Offset> {
    if !configs.cleanup_policy().delete.is_on() {
        return None;
    }
    let mut ranges = ranges.values().peekable();
    let total: u64 = ranges.clone().map(|range| range.bytes).sum();
    let mut spare = configs.retention_bytes().and_then(|kept| total.checked_sub(kept)).unwrap_or(0);
    let mut from = None;
    while let Some(range) = ranges.next_if(|range| configs.retention_bytes().is_some() && range.bytes <= spare) {
        spare -= range.bytes;
        from = Some(range.end);
        sometimes!(Mark::TrimmedBySize);
    }
    let Some(time) = configs.retention_time() else { return from };
    while let Some(range) = ranges.next_if(|range| is_old(range, time, now)) {
        from = Some(range.end);
        sometimes!(Mark::TrimmedByAge);
    }
    sometimes!(Mark::KeptByYoung, ranges.skip(1).any(|range| is_old(range, time, now)));
    from
}

fn is_old(range: &RangeImage, time: Millis, now: WallTime) -> bool {
    let newest = if range.max_timestamp.0 < 0 { range.committed } else { range.max_timestamp };
    now.0.saturating_sub(newest.0) > time.0
}

#[cfg(test)]
mod tests;
