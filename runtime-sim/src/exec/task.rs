//! Async parts: clients, and whatever else is written as a story.

use super::member::Member;
use super::panics;
use super::process::Process;
use super::timers::{Timer, TimerId};
use super::world::World;
use crate::time::SimTime;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Runs a task of the run itself, and counts it until it has ended.
pub(super) fn spawn_local(world: &World, future: impl Future<Output = ()> + 'static) {
    struct Counted(World);
    impl Drop for Counted {
        fn drop(&mut self) {
            let tasks = &self.0.shared().tasks;
            tasks.set(tasks.get() - 1);
        }
    }
    let tasks = &world.shared().tasks;
    tasks.set(tasks.get() + 1);
    let counted = Counted(world.clone());
    // Detached: it ends by itself.
    drop(madsim::task::spawn_local(async move {
        future.await;
        drop(counted);
    }));
}

/// Runs a task of a process.
pub(super) fn spawn(process: &Process, name: &str, future: impl Future<Output = ()> + 'static) {
    let member = Rc::new(TaskMember { is_over: Cell::new(false), waker: RefCell::default() });
    process.add(member.clone());
    let (process, name) = (process.clone(), name.to_owned());
    let world = process.world().clone();
    let mut future = Box::pin(future);
    // What a task does is done because of what made it start, or of what it noted itself since.
    let mut cause = world.shared().recorder.cause();
    let steps = poll_fn(move |cx| {
        if member.is_over.get() {
            return Poll::Ready(());
        }
        member.waker.borrow_mut().get_or_insert_with(|| cx.waker().clone());
        if process.world().is_stopped() || !process.is_running() {
            return Poll::Pending;
        }
        process.world().shared().recorder.because(cause);
        let polled = panics::catch(|| future.as_mut().poll(cx));
        cause = process.world().shared().recorder.because(None);
        match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(())) => {}
            Err(caught) => process.world().fail_by_panic(process.name(), &name, caught),
        }
        member.is_over.set(true);
        member.waker.take();
        Poll::Ready(())
    });
    spawn_local(&world, steps);
}

struct TaskMember {
    is_over: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Member for TaskMember {
    fn die(&self) {
        self.is_over.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn resume(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    fn due(&self) {
        self.resume();
    }

    fn is_over(&self) -> bool {
        self.is_over.get()
    }
}

/// Waits for a moment of simulated time.
#[must_use = "futures do nothing unless awaited"]
pub struct Sleep {
    world: World,
    until: SimTime,
    timer: Option<TimerId>,
}

impl Sleep {
    pub(super) fn new(world: World, until: SimTime) -> Self {
        Self { world, until, timer: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(timer) = self.timer.take() {
            self.world.cancel(timer);
        }
        if self.world.now() >= self.until {
            return Poll::Ready(());
        }
        if self.until < SimTime::NEVER {
            self.timer = Some(self.world.set_timer(self.until, Timer::Wake(cx.waker().clone())));
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            self.world.cancel(timer);
        }
    }
}
