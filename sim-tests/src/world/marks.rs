//! Which marks a run reaches: counted by its thread, and set here where it takes a look at several machines at once.

use karst_core::controller::Audit;
use karst_core::data_object;
use karst_core::machine::Mark;
use karst_core::metadata::ObjectState;
use karst_runtime_sim::broker::Broker;
use karst_runtime_sim::exec::{Store, World};
use karst_runtime_sim::report::Counters;
use std::cell::Cell;
use std::fmt::Debug;
use std::sync::Once;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{Interest, Subscriber, set_global_default};
use tracing::{Event, Metadata};

thread_local! {
    /// A run has a thread of its own, so these begin at none.
    static REACHED: [Cell<u64>; Mark::ALL.len()] = const { [const { Cell::new(0) }; Mark::ALL.len()] };
}

/// Counts the marks of this run among what it counts.
pub(super) fn watch(world: &World) {
    static WATCH: Once = Once::new();
    // Whoever installed a subscriber before us has other plans, and marks are not counted.
    WATCH.call_once(|| drop(set_global_default(Watch)));
    world.count_at_end(|| {
        let mut counters = Counters::default();
        for mark in Mark::ALL {
            counters.add_many(mark.name(), reached(*mark));
        }
        counters
    });
}

fn reached(mark: Mark) -> u64 {
    REACHED.with(|reached| reached[mark as usize].get())
}

/// Hears the events that are marks, and nothing else.
struct Watch;

impl Subscriber for Watch {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == Mark::TARGET
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Count);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Count;

impl Visit for Count {
    fn record_u64(&mut self, _: &Field, number: u64) {
        if let Some(mark) = Mark::of_number(number) {
            REACHED.with(|reached| reached[mark as usize].update(|count| count + 1));
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

/// Sees what no single machine can tell.
#[derive(Debug, Default)]
pub(super) struct Witness {
    /// Torn tails that were found before the last crash.
    torn: u64,
    /// An upload was pending at the last crash.
    was_uploading: bool,
}

impl Witness {
    /// The broker is about to be killed. `incarnation` counts from 1.
    pub(super) fn before_kill(&mut self, broker: &Broker, store: &Store, incarnation: u32) {
        self.look_back();
        if !broker.is_ready() && incarnation > 1 {
            Mark::CrashedWhileRecovering.reach();
        }
        if broker.compactor.borrow().is_working() {
            Mark::CrashedWhileCompacting.reach();
        }
        if store.model().is_being_put(Audit::HEAD) {
            Mark::CrashedWhileSwapping.reach();
        }
        if has_uncommitted_object(broker, store) {
            Mark::CrashedBeforeCommit.reach();
        }
        self.was_uploading = broker.uploader.borrow().uncommitted_bytes() > 0;
    }

    /// What the recovery from the last crash found.
    pub(super) fn look_back(&mut self) {
        let torn = reached(Mark::TornTail);
        if torn > self.torn && self.was_uploading {
            Mark::TornTailWithUploadPending.reach();
        }
        self.torn = torn;
        self.was_uploading = false;
    }
}

fn has_uncommitted_object(broker: &Broker, store: &Store) -> bool {
    let controller = broker.controller.borrow();
    let Some(image) = controller.image() else { return false };
    let state = |id| image.objects.get(&id).map(|object| object.state);
    let model = store.model();
    let mut ids = model.bucket().objects().filter_map(|(key, _)| data_object::parse_key(key));
    ids.any(|id| matches!(state(id), Some(ObjectState::Leased(..))))
}
