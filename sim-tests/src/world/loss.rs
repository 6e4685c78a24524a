//! A disk that is lost, and the operator who gives its WAL up.
//!
//! ```text
//!   crash ─► blank disk ─► start: refused, names the WAL ─► wrong name: refused ─► give up ─► start
//!                             └── nothing was to lose: it serves
//!   crash ─► the disk is there ──────────────────────────► give up: refused ─────────────────► start
//! ```
//! What is lost is taken from the bucket at the moment when nobody can add to it any more: the oracle then forgives what
//! lay above each partition's committed end, and nothing else.

use super::Judge;
use super::ledger::Ledger;
use crate::oracle::Loss;
use karst_core::id::{Offset, StreamId, WalUuid};
use karst_core::machine::Rng;
use karst_core::metadata::Image;
use karst_core::node::Purpose;
use karst_core::shard::Shard;
use karst_runtime_sim::exec::World;
use karst_runtime_sim::time::SimTime;
use std::collections::BTreeMap;
use std::time::Duration;

/// No answer of a dead broker's takes longer to arrive; operators do.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// What the operator knows, and is about to do.
#[derive(Debug)]
pub(super) struct Lost {
    /// The WAL that the broker named when it refused to start.
    wal: Option<WalUuid>,
    /// He names this one first, by mistake.
    mistake: Option<WalUuid>,
    /// Nothing is lost: he is mistaken altogether.
    is_there: bool,
    /// He does nothing before that.
    not_before: SimTime,
}

/// What a broker was told when it ended itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is right.
    Right,
    /// It has no cause for that.
    Wrong,
    /// It has nothing to do with a lost disk.
    Unrelated,
}

impl Lost {
    /// The disk is lost from now on.
    pub(super) fn disk(now: SimTime, rng: &mut Rng) -> Self {
        let mistake = rng.chance(1, 3).then(|| WalUuid::draw(rng));
        Self { wal: None, mistake, is_there: false, not_before: now.after(PATIENCE) }
    }

    /// It is not, but somebody gives the WAL of this name up.
    pub(super) fn nothing(now: SimTime, wal: WalUuid) -> Self {
        Self { wal: Some(wal), mistake: None, is_there: true, not_before: now }
    }

    /// What the broker is to be started for next; `None` while nobody does anything.
    pub(super) fn next(&mut self, now: SimTime, ledger: &Ledger) -> Option<Purpose> {
        let Some(wal) = self.wal else { return Some(Purpose::Serve) };
        let cluster = ledger.image()?.cluster;
        (now >= self.not_before).then(|| Purpose::GiveUp { cluster, wal: self.mistake.take().unwrap_or(wal) })
    }

    /// Whether the WAL is given up, as the bucket says.
    pub(super) fn is_given_up(&self, image: &Image) -> bool {
        let mut given_up = image.nodes.values().filter_map(|node| node.given_up);
        self.wal.is_some_and(|wal| given_up.any(|given_up| given_up.wal == wal))
    }

    /// Whether nothing is left to be done: it was there all the time.
    pub(super) fn was_nothing(&self) -> bool {
        self.is_there
    }

    /// A broker that was started to serve has refused its WAL, saying so.
    pub(super) fn refused(&mut self, why: &str, image: Option<&Image>) -> Verdict {
        if self.is_there {
            return Verdict::Unrelated;
        }
        let expected = image.and_then(|image| image.nodes.values().find_map(|node| node.epochs.values().next()));
        let Some(expected) = expected.map(|epoch| epoch.wal) else { return Verdict::Wrong };
        // The operator types what he is told to.
        let named = why.split_once("karst wal give-up ").and_then(|(_, named)| WalUuid::parse(named));
        self.wal = named;
        if named == Some(expected) { Verdict::Right } else { Verdict::Wrong }
    }

    /// A broker that was started to give that WAL up has refused to.
    pub(super) fn kept(&self, asked: WalUuid, image: Option<&Image>) -> Verdict {
        let is_right = self.is_there || self.wal != Some(asked) || image.is_some_and(|image| self.is_given_up(image));
        if is_right { Verdict::Right } else { Verdict::Wrong }
    }

    /// It has given that WAL up. A disk that can't be read counts as lost.
    pub(super) fn gave_up(&self, asked: WalUuid, has_failed: bool) -> Verdict {
        let is_right = self.wal == Some(asked) && (!self.is_there || has_failed);
        if is_right { Verdict::Right } else { Verdict::Wrong }
    }
}

/// Up to where anybody may have heard of each stream.
#[derive(Debug, Default)]
pub(super) struct Heard(BTreeMap<StreamId, Offset>);

impl Heard {
    /// Takes in what a broker knew when it ended.
    pub(super) fn learn(&mut self, shard: &Shard) {
        for id in shard.image().into_iter().flat_map(|image| image.streams.keys()) {
            if let Some(end) = shard.high_watermark(*id) {
                let heard = self.0.entry(*id).or_default();
                *heard = end.max(*heard);
            }
        }
    }

    /// The WAL is given up: streams end where the bucket says.
    pub(super) fn lose(&mut self, world: &World, judge: &Judge, image: &Image) {
        let mut losses = Vec::new();
        for (id, stream) in &image.streams {
            let Some(topic) = image.topics.get(&stream.topic) else { continue };
            let heard = self.0.get(id).copied().unwrap_or_default();
            if heard > stream.end {
                world.count("wal.given-up-records");
                world.remark("world", || {
                    let name = format!("{}-{}", topic.name.as_str(), stream.partition);
                    format!("sees that {name} has lost what lay from {} to {heard}", stream.end)
                });
                self.0.insert(*id, stream.end);
            }
            losses.push(Loss {
                topic: topic.name.as_str().to_owned(),
                partition: i32::try_from(stream.partition.0).unwrap_or(i32::MAX),
                partitions: u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX),
                end: i64::try_from(stream.end.0).unwrap_or(i64::MAX),
                epoch: i32::try_from(stream.epoch.0).unwrap_or(i32::MAX),
                was_heard: heard > stream.end,
            });
        }
        world.count("wal.given-up");
        judge.lose(&losses);
    }
}
