//! A second broker that was started on the same bucket by mistake: its controller claims the metadata log, and appends
//! to it what is refused, since its node never registers.

use karst_core::controller::{Controller, Effect, Input, Mail, NodeCommand};
use karst_core::id::{CommandSeq, Incarnation, NodeEpoch, NodeId};
use karst_core::limits::Limits;
use karst_core::machine::Rng;
use karst_core::metadata::Command;
use karst_core::{mail, node};
use karst_runtime_sim::clock::NodeClock;
use karst_runtime_sim::exec::{Address, Process, Store, World};
use karst_runtime_sim::store::Caller;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// Who it is.
const NODE: u32 = 2;
/// Who it is to the bucket.
pub(super) const RIVAL: Caller = Caller(NODE);

/// One run of it.
pub(super) struct Rival {
    process: Process,
    store: Store,
    rng: Rng,
}

struct Shell {
    process: Process,
    store: Store,
    address: Address<Input>,
    incarnation: Incarnation,
    sent: Cell<u64>,
}

impl Rival {
    /// Starts it: it claims the next term as soon as it can.
    pub(super) fn start(world: &World, store: &Store, limits: &Limits, rng: Rng) -> Self {
        let process = world.start_process("rival", NodeClock::perfect(world.now()));
        let incarnation = Incarnation::draw(&mut rng.child("incarnation"));
        let address = process.mailbox("controller");
        let (sent, store) = (Cell::new(0), store.clone());
        let shell = Rc::new(Shell { process: process.clone(), store, address, incarnation, sent });
        let controller = Controller::new(NodeId(NODE), incarnation, limits, rng.child("controller"));
        let performing = shell.clone();
        process.drive(&shell.address, controller, move |effect| performing.perform(effect));
        shell.address.send(Input::Mail(Mail::Start { cluster: None }));
        Self { process, store: shell.store.clone(), rng }
    }

    /// `kill -9`.
    pub(super) fn kill(self) {
        self.process.kill();
        self.store.crash(RIVAL, &mut self.rng.child("crash"));
    }
}

impl Shell {
    fn perform(self: &Rc<Self>, effect: Effect) {
        match effect {
            Effect::Store(op, call) => {
                let address = self.address.clone();
                self.store.submit(&self.process, RIVAL, call, move |result| address.send(Input::Store(op, result)));
            }
            // It leads, or has appended something: there is more where that came from.
            Effect::Mail(mail::Mail::Node(node::Mail::Image(_) | node::Mail::Entries(_))) => {
                let own = self.clone();
                self.process.world().after(Duration::from_millis(30), move || own.send_command());
            }
            Effect::Mail(_) => {}
        }
    }

    fn send_command(&self) {
        let seq = self.sent.get() + 1;
        self.sent.set(seq);
        self.address.send(Input::Mail(Mail::Command(NodeCommand {
            node: NodeId(NODE),
            incarnation: self.incarnation,
            epoch: NodeEpoch(0),
            seq: CommandSeq(seq),
            confirmed: CommandSeq(seq - 1),
            command: Box::new(Command::OpenStreams),
        })));
    }
}
