//! When a client does its operations, and which of them happen.
//!
//! ```text
//!   operation   0 ─pause─ 1 ─pause─ 2 ─pause─ 3      pause and content of N are drawn from the client's child `op/N`
//!   only 0,3    0 ─────────────────────────── 3      those left out take their time, and cost nothing
//! ```
//! So leaving one out changes neither the moment nor the content of any other.

use karst_core::machine::{Instant, Now, Rng};
use karst_runtime_sim::gate::Gate;
use std::time::Duration;

/// Operations left out at once before the client looks again.
const AHEAD: u32 = 1_000;

/// The operations of one client.
#[derive(Debug)]
pub(crate) struct Slots {
    gate: Gate,
    name: String,
    /// Only its children are used.
    draws: Rng,
    /// Mean pause, in nanoseconds.
    pause: u64,
    next: u64,
    at: Instant,
    /// The gate was asked about the next operation, and it happens.
    is_on: bool,
}

impl Slots {
    /// Those of the client of that name.
    pub(crate) fn new(name: String, gate: Gate, draws: Rng, pause: Duration) -> Self {
        let pause = u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX).min(u64::MAX / 4);
        Self { gate, name, draws, pause, next: 0, at: Instant(0), is_on: false }
    }

    /// When there is something to do again.
    pub(crate) fn next_at(&self) -> Instant {
        self.at
    }

    /// The generator of the operation that is due, if one is: it is to be done now.
    pub(crate) fn take(&mut self, now: Now) -> Option<Rng> {
        if now.mono < self.at {
            return None;
        }
        self.leave_out();
        if !self.is_on || now.mono < self.at {
            return None;
        }
        self.is_on = false;
        self.at = now.mono;
        let operation = self.pass();
        self.leave_out();
        Some(operation)
    }

    /// Passes those that do not happen, up to the next that does.
    fn leave_out(&mut self) {
        for _ in 0..AHEAD {
            if self.is_on {
                return;
            }
            self.is_on = self.gate.permits(&self.name);
            if !self.is_on {
                self.pass();
            }
        }
    }

    fn pass(&mut self) -> Rng {
        let mut operation = self.draws.child(&format!("op/{}", self.next));
        self.next += 1;
        self.at = self.at.after(Duration::from_nanos(operation.below(2 * self.pause + 1)));
        operation
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use karst_core::machine::WallTime;
    use std::collections::BTreeMap;

    /// Moments and first draws of the operations of ten seconds.
    fn operations(only: Option<&str>) -> Vec<(u64, u64)> {
        let only = only.map(|only| ("client-1".to_owned(), only.parse().expect("these are ordinals")));
        let gate = Gate::new(only.into_iter().collect::<BTreeMap<_, _>>());
        let mut slots = Slots::new("client-1".into(), gate, Rng::new(3), Duration::from_millis(20));
        let mut all = Vec::new();
        while slots.next_at().0 < 10_000_000_000 {
            let at = slots.next_at();
            if let Some(mut operation) = slots.take(Now { mono: at, wall: WallTime(0) }) {
                all.push((at.0, operation.next_u64()));
            }
        }
        all
    }

    #[test]
    fn leaving_operations_out_changes_no_other() {
        let all = operations(None);
        assert!((300..700).contains(&all.len()), "{}", all.len());
        assert_eq!(operations(Some("0,3,7-9")), [all[0], all[3], all[7], all[8], all[9]]);
        assert_eq!(operations(Some("200")), [all[200]]);
        assert_eq!(operations(Some("none")), []);
    }

    #[test]
    fn a_client_that_is_held_up_does_its_next_operation_when_it_can() {
        let mut slots = Slots::new("client-1".into(), Gate::open(), Rng::new(3), Duration::from_millis(20));
        let late = Now { mono: Instant(5_000_000_000), wall: WallTime(0) };
        assert!(slots.take(late).is_some());
        assert!(slots.next_at() > late.mono && slots.take(late).is_none(), "and does not make up for the rest");
    }
}
