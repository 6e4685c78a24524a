//! Running one scenario from its beginning to its end.

use super::options::{End, Options, RunReport, Stop};
use super::panics::{self, Caught};
use super::stage::Point;
use super::world::World;
use super::{driver, task};
use crate::failure::Failure;
use crate::report::Counters;
use crate::time::SimTime;
use core::future::{Future, poll_fn};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Room for the deepest recursion of a decoder; untouched pages cost nothing.
const STACK: usize = 16 << 20;

/// Runs a scenario in a world of its own, on a thread of its own: whatever a thread keeps (the keys of a standard hash
/// map, say) begins anew. Returns when the scenario has ended, something failed, or a limit is reached; a panic inside
/// is a failure, and never leaves this function.
///
/// # Panics
/// When the operating system gives no thread.
pub fn run<T, F, S>(options: Options, scenario: S) -> RunReport<T>
where
    T: Send,
    F: Future<Output = T>,
    S: FnOnce(World) -> F + Send,
{
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, move || {
            panics::claim_thread();
            panics::catch(|| on_this_thread(&options, scenario)).unwrap_or_else(broken)
        });
        thread.expect("a thread per run").join().expect("its panics are caught")
    })
}

fn on_this_thread<T, F: Future<Output = T>>(options: &Options, scenario: impl FnOnce(World) -> F) -> RunReport<T> {
    let runtime = madsim::runtime::Runtime::with_seed_and_config(options.schedule.0, madsim::Config::default());
    runtime.block_on(async {
        let world = World::new(options);
        task::spawn_local(&world, driver::drive(world.clone()));
        let finished = play(&world, scenario).await;
        world.shared().stage.show(&world, Point::End);
        let end = match (world.take_stop(), finished) {
            (Some(why), _) => End::Stopped(why),
            (None, Some(value)) => End::Finished(value),
            (None, None) => unreachable!("a scenario ends or is stopped"),
        };
        let (fired, occurrences) = (world.counters(), world.gate().occurrences());
        let report = {
            let mut trace = world.shared().trace.borrow_mut();
            let log = trace.take_lines();
            let (hash, events, at) = (trace.hash(), trace.events(), trace.last());
            let recording = world.shared().recorder.take();
            let mut report = RunReport { end, hash, events, at, fired, occurrences, log, recording };
            let verdict = report.verdict();
            if let Some(recording) = &mut report.recording {
                recording.failure = verdict;
            }
            report
        };
        clean_up(&world).await;
        report
    })
}

/// The scenario's value, unless the world stops first.
async fn play<T, F: Future<Output = T>>(world: &World, scenario: impl FnOnce(World) -> F) -> Option<T> {
    let mut story: Option<Pin<Box<F>>> = match panics::catch(|| Box::pin(scenario(world.clone()))) {
        Ok(story) => Some(story),
        Err(caught) => {
            world.fail_by_panic("world", "scenario", caught);
            None
        }
    };
    let mut cause = None;
    let value = poll_fn(|cx| {
        world.set_root(cx.waker());
        let Some(story) = story.as_mut().filter(|_| !world.is_stopped()) else { return Poll::Ready(None) };
        world.shared().recorder.because(cause);
        let polled = panics::catch(|| story.as_mut().poll(cx));
        cause = world.shared().recorder.because(None);
        match polled {
            Ok(Poll::Ready(value)) => Poll::Ready(Some(value)),
            Ok(Poll::Pending) if world.is_stopped() => Poll::Ready(None),
            Ok(Poll::Pending) => Poll::Pending,
            Err(caught) => {
                world.fail_by_panic("world", "scenario", caught);
                Poll::Ready(None)
            }
        }
    })
    .await;
    if let Err(caught) = panics::catch(|| drop(story)) {
        world.fail_by_panic("world", "scenario", caught);
    }
    value
}

/// Lets all tasks end, so that nothing of this run outlives it.
async fn clean_up(world: &World) {
    world.shut_down();
    // Each step lets everything run that is ready; every task ends when it is next looked at.
    for _ in 0..1_000_000 {
        if world.shared().tasks.get() == 0 {
            break;
        }
        yield_once().await;
    }
}

async fn yield_once() {
    let mut yielded = false;
    poll_fn(|cx: &mut Context<'_>| {
        if core::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Something panicked that is part of no process.
fn broken<T>(caught: Caught) -> RunReport<T> {
    let failure = Failure {
        invariant: Failure::PANIC.into(),
        process: "world".into(),
        component: "executor".into(),
        message: caught.message,
        site: caught.site,
        subjects: Vec::new(),
        at: SimTime::ZERO,
        event: 0,
    };
    let end = End::Stopped(Stop::Failed(failure));
    let (fired, occurrences) = (Counters::default(), BTreeMap::new());
    RunReport { end, hash: 0, events: 0, at: SimTime::ZERO, fired, occurrences, log: Vec::new(), recording: None }
}
