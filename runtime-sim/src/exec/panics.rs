//! Catching panics with their message and place, so that a campaign outlives its failing seeds.
//!
//! Only the hook of the process learns where a panic happened. Ours is installed once, hands panics of other threads to
//! the hook that was there before, and keeps those of a run's thread to itself. Each run has a thread of its own, so
//! nothing of this outlives a run.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Once;

/// A panic that was caught.
#[derive(Clone, Debug)]
pub(super) struct Caught {
    pub(super) message: String,
    pub(super) site: Option<String>,
}

thread_local! {
    static IS_RUN: Cell<bool> = const { Cell::new(false) };
    static LAST: RefCell<Option<Caught>> = const { RefCell::new(None) };
}

/// This thread is a run's: its panics are caught and not printed.
pub(super) fn claim_thread() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if IS_RUN.get() {
                LAST.set(Some(caught(info)));
            } else {
                others(info);
            }
        }));
    });
    IS_RUN.set(true);
}

/// Calls `f`; if it panics, says how.
pub(super) fn catch<T>(f: impl FnOnce() -> T) -> Result<T, Caught> {
    // After a panic the run ends and nobody but checkers looks at what is left.
    catch_unwind(AssertUnwindSafe(f)).map_err(|_| last())
}

/// The panic that just unwound.
pub(super) fn last() -> Caught {
    LAST.take().unwrap_or_else(|| Caught { message: "a panic without a message".into(), site: None })
}

fn caught(info: &PanicHookInfo<'_>) -> Caught {
    let message = info.payload_as_str().unwrap_or("a panic without a message").to_owned();
    let site = info.location().map(|location| format!("{}:{}", location.file(), location.line()));
    Caught { message, site }
}
