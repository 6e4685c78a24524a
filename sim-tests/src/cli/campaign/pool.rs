//! Seeds on several threads.

use super::seeds::{Done, Seeds};
use crate::plan::{Plan, Profile};
use crate::world::{self, Options, Report};
use karst_runtime_sim::seed::Seed;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Instant;

/// What a campaign's threads work on.
pub(super) struct Work<'a> {
    pub(super) seeds: &'a Seeds,
    pub(super) profile: Profile,
    pub(super) jobs: usize,
    /// What need not be run, by position.
    pub(super) done: &'a Done,
    /// No seed is begun after this moment.
    pub(super) until: Option<Instant>,
    /// Set by whoever wants it to end: no seed is begun any more.
    pub(super) stop: &'a AtomicBool,
    /// The same, set by the campaign itself.
    pub(super) is_enough: &'a AtomicBool,
}

/// Runs every seed that is not done on one of the threads; reports arrive in any order.
pub(super) fn run(work: &Work<'_>, mut seen: impl FnMut(u64, Report)) {
    let next = AtomicU64::new(0);
    let (send, receive) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..work.jobs {
            let (send, next) = (send.clone(), &next);
            scope.spawn(move || {
                while let Some(seed) = take(work, next) {
                    let plan = Plan::from_seed(Seed(seed), work.profile);
                    if send.send((seed, world::run(plan, Options::default()))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(send);
        for (seed, report) in receive {
            seen(seed, report);
        }
    });
}

/// The next seed, unless it is time to stop.
fn take(work: &Work<'_>, next: &AtomicU64) -> Option<u64> {
    loop {
        let is_over = [work.stop, work.is_enough].iter().any(|flag| flag.load(Ordering::Relaxed));
        if is_over || work.until.is_some_and(|until| Instant::now() >= until) {
            return None;
        }
        let nth = next.fetch_add(1, Ordering::Relaxed);
        let seed = work.seeds.nth(nth)?;
        if !work.done.contains(nth) {
            return Some(seed);
        }
    }
}
