//! How long mail between the owners of one broker is on its way: law 3 of [`karst_core::machine`].
//!
//! ```text
//!   a turn's effects      mail to the WAL 1, mail to the node, mail to the WAL 2
//!   they arrive           ── node ─── WAL 1 ── WAL 2 ──▶      each lane in its order, no two in step
//! ```
//! Between threads mail takes its time. What asks the disk or the store is under way at once, so in a slow broker it
//! passes mail that was pushed before it, and its completion passes other completions.

use super::SLOT;
use crate::fates::Fates;
use crate::time::SimTime;
use core::time::Duration;
use karst_core::machine::Rng;
use karst_core::mail::Mail;
use std::collections::BTreeMap;

/// The lanes of one broker.
pub(super) struct Lanes {
    /// Until when each lane's last mail is on its way.
    busy: BTreeMap<Lane, SimTime>,
    fates: Fates,
}

/// One owner's mailbox.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Lane(u64);

impl Lane {
    /// Where mail goes.
    pub(super) fn of(mail: &Mail) -> Self {
        Self(match mail {
            Mail::Session(conn, _) => 10 + conn.0,
            Mail::Shard(_) => 0,
            Mail::Wal(_) => 1,
            Mail::Uploader(_) => 2,
            Mail::Controller(_) => 3,
            Mail::Node(_) => 4,
            Mail::Compactor(_) => 5,
        })
    }
}

impl Lanes {
    pub(super) fn new(rng: &Rng) -> Self {
        Self { busy: BTreeMap::new(), fates: Fates::new(rng, SLOT) }
    }

    /// When mail that is sent now arrives: after all that was sent on its lane before.
    pub(super) fn arrival(&mut self, now: SimTime, lane: Lane) -> SimTime {
        let mut rng = self.fates.draw(now, lane.0);
        let takes = if rng.chance(1, 20) { rng.between(1_000, 20_000) } else { rng.below(200) };
        let busy = self.busy.entry(lane).or_insert(SimTime::ZERO);
        *busy = (*busy).max(now.after(Duration::from_micros(takes)));
        *busy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn law_3_each_lane_keeps_its_order_and_no_two_are_in_step() {
        let mut lanes = Lanes::new(&Rng::new(1));
        let mut arrived = Vec::new();
        for sent in 0..900 {
            // A turn with nine effects each 50 ms.
            let (now, lane) = (SimTime::ZERO.after(Duration::from_millis(sent / 9 * 50)), Lane(sent % 3));
            let at = lanes.arrival(now, lane);
            assert!(at >= now, "nothing arrives before it was sent");
            arrived.push((at, lane, sent));
        }
        // As the world's timers do: what comes at one moment comes in the order in which it was sent.
        arrived.sort_by_key(|(at, ..)| *at);
        for lane in 0..3 {
            let order: Vec<u64> = arrived.iter().filter(|one| one.1 == Lane(lane)).map(|one| one.2).collect();
            assert!(order.is_sorted(), "lane {lane} keeps its order");
        }
        let passed = arrived.windows(2).filter(|pair| pair[0].2 > pair[1].2).count();
        assert!(passed > 100, "mail of other lanes is passed: {passed} times");
    }
}
