//! A broker that is started for one thing only: to register without its WAL. It is the node and the controller of a
//! broker, on the thread that asks, and nothing else.

use crate::clock::Clock;
use crate::config::Config;
use crate::failure::Failure;
use crate::store::Submit;
use karst_core::controller::{self, Controller};
use karst_core::id::{ClusterId, Incarnation, WalUuid};
use karst_core::machine::{Check, Effects, Inbox, Instant, Machine, Rng, Turn, TurnBudget};
use karst_core::mail::{Halt, Mail};
use karst_core::node::{self, Node, Purpose};
use karst_core::wal::{self, Inspection};
use rand::TryRngCore;
use rand::rngs::OsRng;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// What is to be registered.
pub(super) struct Registration<'a> {
    /// In which cluster.
    pub(super) cluster: ClusterId,
    /// Without which WAL.
    pub(super) lost: WalUuid,
    /// Where clients reached the broker.
    pub(super) host: &'a str,
    /// Its port.
    pub(super) port: u16,
    /// What is where the WAL is configured.
    pub(super) found: Inspection,
}

/// What a store has done, for whom.
enum Ended {
    Node(node::Input),
    Controller(controller::Input),
}

struct Broker {
    node: Node,
    to_node: Inbox<node::Input>,
    controller: Controller,
    to_controller: Inbox<controller::Input>,
    found: Inspection,
    store: Box<dyn Submit>,
    tell: Sender<Ended>,
}

impl Registration<'_> {
    /// Registers. Says how that ended, which takes as long as the store is away.
    pub(super) fn carry_out(self, config: &Config, store: Box<dyn Submit>) -> Result<Halt, Failure> {
        let rng = Rng::new(OsRng.try_next_u64().map_err(Failure::new)?);
        let identity = node::Config {
            node: config.node,
            incarnation: Incarnation::draw(&mut rng.child("incarnation")),
            host: self.host.into(),
            port: self.port,
            purpose: Purpose::GiveUp { cluster: self.cluster, wal: self.lost },
        };
        let limits = config.limits.clone();
        let (tell, told) = channel();
        let mut broker = Broker {
            controller: Controller::new(config.node, identity.incarnation, &limits, rng.child("controller")),
            node: Node::new(identity, &limits, rng.child("node")),
            to_node: Inbox::default(),
            to_controller: Inbox::default(),
            found: self.found,
            store,
            tell,
        };
        broker.to_node.push(node::Input::Start);
        Ok(broker.run(&told))
    }
}

impl Broker {
    fn run(&mut self, told: &Receiver<Ended>) -> Halt {
        /// The longest that is slept at once.
        const LONG: Duration = Duration::from_secs(60);
        let clock = Clock::start();
        let turn = Turn::new(TurnBudget::default(), Check::Nothing);
        let (mut of_node, mut of_controller) = (Effects::default(), Effects::default());
        loop {
            turn.run(&mut self.node, clock.now(), &mut self.to_node, &mut of_node, |_| {});
            turn.run(&mut self.controller, clock.now(), &mut self.to_controller, &mut of_controller, |_| {});
            let done: Vec<node::Effect> = of_node.drain().collect();
            let asked: Vec<controller::Effect> = of_controller.drain().collect();
            let is_idle = done.is_empty() && asked.is_empty();
            if let Some(halt) = done.into_iter().find_map(|effect| self.perform_node(effect)) {
                return halt;
            }
            asked.into_iter().for_each(|effect| self.perform_controller(effect));
            if !is_idle {
                continue;
            }
            let due = self.node.deadline().into_iter().chain(self.controller.deadline()).map(|due| due.at).min();
            let pause = due.map_or(LONG, |at| until(at, &clock).min(LONG));
            if let Ok(ended) = told.recv_timeout(pause) {
                self.take(ended);
                told.try_iter().for_each(|ended| self.take(ended));
            }
        }
    }

    fn take(&mut self, ended: Ended) {
        match ended {
            Ended::Node(input) => self.to_node.push(input),
            Ended::Controller(input) => self.to_controller.push(input),
        }
    }

    /// Returns how it ended, if it has.
    fn perform_node(&mut self, effect: node::Effect) -> Option<Halt> {
        match effect {
            node::Effect::Halt(halt) => return Some(halt),
            node::Effect::Mail(Mail::Wal(wal::Mail::Inspect)) => {
                self.to_node.push(node::Input::Mail(node::Mail::WalFound(self.found.clone())));
            }
            node::Effect::Mail(Mail::Controller(mail)) => self.to_controller.push(controller::Input::Mail(mail)),
            // There is no shard.
            node::Effect::Mail(Mail::Shard(_)) => {}
            node::Effect::Store(op, call) => {
                let tell = self.tell.clone();
                // Nobody hears it only when this is over.
                let done = move |result| drop(tell.send(Ended::Node(node::Input::Store(op, result))));
                self.store.submit(call, Box::new(done));
            }
            other => unreachable!("a broker that only registers wants {other:?}"),
        }
        None
    }

    fn perform_controller(&mut self, effect: controller::Effect) {
        match effect {
            controller::Effect::Mail(Mail::Node(mail)) => self.to_node.push(node::Input::Mail(mail)),
            controller::Effect::Mail(other) => unreachable!("a controller tells its node only, not {other:?}"),
            controller::Effect::Store(op, call) => {
                let tell = self.tell.clone();
                let done = move |result| drop(tell.send(Ended::Controller(controller::Input::Store(op, result))));
                self.store.submit(call, Box::new(done));
            }
        }
    }
}

fn until(at: Instant, clock: &Clock) -> Duration {
    clock.when(at).map_or(Duration::MAX, |when| when.saturating_duration_since(std::time::Instant::now()))
}
