//! A broker that stands still for long: a supervisor takes it for dead and starts another in its place, under the same id.
//! Later the first goes on, and does not know.
//!
//! Only a WAL in the bucket allows that: whoever has a ring holds its device. Its clients are cut off, so what it does
//! then is heard by nobody; but what it takes for durable, and would have acknowledged, must be what its successor has
//! read back.

use super::clients::BROKER;
use karst_core::id::{Offset, StreamId};
use karst_core::mail::Halt;
use karst_core::metadata::Image;
use karst_runtime_sim::broker::Broker;
use karst_runtime_sim::exec::Net;
use std::collections::BTreeMap;
use std::rc::Rc;

/// A broker that was taken for dead.
pub(super) struct Zombie {
    broker: Rc<Broker>,
    /// Where streams ended when its successor had read its log back.
    ends: Option<BTreeMap<StreamId, Offset>>,
}

impl Zombie {
    /// It stands still from now on, and nobody reaches it any more.
    pub(super) fn make(broker: Rc<Broker>, net: &Net) -> Self {
        broker.process.pause();
        net.attach(&broker.process, BROKER).stop_listening();
        net.change(|model, now| model.host_died(now, BROKER));
        Self { broker, ends: None }
    }

    /// It goes on.
    pub(super) fn resume(&self) {
        self.broker.process.resume();
    }

    /// Its successor serves.
    pub(super) fn succeeded(&mut self, image: &Image) {
        self.ends.get_or_insert_with(|| image.streams.iter().map(|(id, stream)| (*id, stream.end)).collect());
    }

    /// Why it ended itself, if it did.
    pub(super) fn halted(&self) -> Option<Halt> {
        self.broker.halted()
    }

    /// The end of it. Says what it has done wrong.
    pub(super) fn end(self) -> Result<(), String> {
        let halted = self.halted();
        self.broker.process.kill();
        self.broker.dismantle();
        if let Some(halt) = halted.filter(|halt| !matches!(halt, Halt::Fenced(_) | Halt::WalPoisoned(_))) {
            return Err(format!("a broker whose place another had taken ended with {halt:?}"));
        }
        let shard = self.broker.shard.borrow();
        for (id, end) in self.ends.iter().flatten() {
            if let Some(durable) = shard.high_watermark(*id).filter(|durable| durable > end) {
                return Err(format!(
                    "a broker whose place another had taken acknowledges records of stream {id} up to {durable}, and its \
                     successor has read back those up to {end}"
                ));
            }
        }
        Ok(())
    }
}
