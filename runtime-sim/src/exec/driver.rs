//! The one task that makes time pass.

use super::options::Stop;
use super::panics;
use super::timers::Timer;
use super::world::World;
use crate::time::SimTime;
use core::future::poll_fn;
use core::pin::pin;
use core::time::Duration;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::task::{Context, Poll, Waker};

/// When the driver wakes up next.
pub(super) struct Alarm {
    driver: RefCell<Option<Waker>>,
    rings: Cell<SimTime>,
}

impl Default for Alarm {
    fn default() -> Self {
        Self { driver: RefCell::default(), rings: Cell::new(SimTime::NEVER) }
    }
}

impl Alarm {
    /// A timer was set: wakes the driver if it would sleep through it.
    pub(super) fn ring_before(&self, at: SimTime) {
        if at < self.rings.get() {
            self.ring();
        }
    }

    pub(super) fn ring(&self) {
        if let Some(driver) = &*self.driver.borrow() {
            driver.wake_by_ref();
        }
    }
}

/// madsim's shortest sleep, in our time.
const SHORTEST: Duration = Duration::from_micros(1);

/// Fires timers as their moments come, until the run is over.
pub(super) async fn drive(world: World) {
    let end = SimTime::ZERO.after(world.shared().limits.time);
    poll_fn(|cx| step(&world, end, cx)).await;
}

fn step(world: &World, end: SimTime, cx: &mut Context<'_>) -> Poll<()> {
    let alarm = &world.shared().alarm;
    alarm.driver.borrow_mut().get_or_insert_with(|| cx.waker().clone());
    loop {
        let now = world.now();
        if alarm.rings.get() <= now {
            alarm.rings.set(SimTime::NEVER);
        }
        fire_due(world, now);
        if world.is_stopped() {
            alarm.driver.borrow_mut().take();
            return Poll::Ready(());
        }
        let first = world.shared().timers.borrow().next();
        if now >= end {
            // It slept as long as it may. If that was for want of timers, then nothing happened all the time.
            world.stop(if first.is_none() { Stop::Deadlock } else { Stop::OutOfTime });
            continue;
        }
        let next = first.unwrap_or(end).min(end).max(now.after(SHORTEST));
        if alarm.rings.get() <= next {
            return Poll::Pending;
        }
        if sleep_until(now, next, cx).is_pending() {
            alarm.rings.set(next);
            return Poll::Pending;
        }
    }
}

fn fire_due(world: &World, now: SimTime) {
    while !world.is_stopped() {
        let Some((timer, cause)) = world.shared().timers.borrow_mut().pop_due(now) else { break };
        match timer {
            Timer::Deadline(member) => member.due(),
            Timer::Wake(waker) => waker.wake(),
            Timer::Call(f) => {
                world.shared().recorder.because(cause);
                if let Err(caught) = panics::catch(f) {
                    world.fail_by_panic("world", "timer", caught);
                }
                world.shared().recorder.because(None);
            }
        }
    }
}

/// Polled once, a sleep has told madsim when to wake us; it need not live on.
fn sleep_until(now: SimTime, next: SimTime, cx: &mut Context<'_>) -> Poll<()> {
    let sleep = pin!(madsim::time::sleep(Duration::from_micros(next.0 - now.0)));
    sleep.poll(cx)
}
