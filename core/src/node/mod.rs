//! MACHINE: the node. Brings a broker up in the one safe order, keeps its replica of the metadata, and brings it down.
//!
//! **Owns** the broker's replica of the metadata image, the FIFO of its commands to the controller, the order of a
//! WAL's life, and the janitor that deletes what the metadata no longer needs.
//!
//! **Promises** that streams are opened only after everything that earlier epochs of this node acknowledged is
//! committed; that each command is taken once and in order; that after [`Halt::Clean`](crate::mail::Halt) nothing is
//! left in the WAL.
//!
//! ```text
//!  Start ─► Inspect WAL ─► Image ─► Register ─┬─► recover ─► EndRecovery ─┐
//!                                             └───── nothing left ────────┤
//!        Serving ◄─ OpenStreams ◄─ NameWal ◄─ format ◄────────────────────┘
//!           │ Stop                                  │ WAL poisoned
//!           ▼                                       ▼
//!        drain ─► last cut ─► CloseStreams ─► clean WAL ─► Halt      drain, last cut, Halt
//! ```
//! A crash anywhere begins again at the top. A broker that is to give up a lost WAL ([`Purpose`]) takes the first line
//! only: it registers without it, and ends.

mod commands;
mod janitor;
mod mail;
mod recovery;
mod startup;
mod stop;

pub use mail::{Asker, Effect, Input, Mail};

use crate::id::{ClusterId, CutNumber, Incarnation, NodeEpoch, NodeId, ObjectId, WalUuid};
use crate::limits::Limits;
use crate::machine::{Deadline, Effects, Machine, Now, OpId, Rng};
use crate::mail::{Halt, Mail as To};
use crate::metadata::{Answer, Entry, Image, WalKind};
use crate::store::{StoreCall, StoreOp};
use crate::{compaction, shard, upload, wal};
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::sync::Arc;
use commands::Commands;
use core::time::Duration;
use janitor::Janitor;
use recovery::Recoveries;

/// What an operator decides about a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Its id.
    pub node: NodeId,
    /// This run of the process.
    pub incarnation: Incarnation,
    /// Where clients reach it.
    pub host: String,
    /// Kafka port.
    pub port: u16,
    /// What it is started for.
    pub purpose: Purpose,
}

/// What a broker is started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To serve.
    Serve,
    /// To register without a WAL that is lost, and to end.
    GiveUp {
        /// In this cluster: an empty bucket, or another one's, is left as it is.
        cluster: ClusterId,
        /// The lost one.
        wal: WalUuid,
    },
}

/// The machine. See the module.
#[derive(Debug)]
pub struct Node {
    config: Config,
    limits: Limits,
    rng: Rng,
    /// The fold of what the controller pushed; none before the first image.
    image: Option<Image>,
    epoch: NodeEpoch,
    /// What its WAL lies on, once that has been looked at.
    wal: WalKind,
    phase: Phase,
    commands: Commands,
    janitor: Janitor,
    /// The last cut whose commit was reported, for the shutdown that waits for one.
    committed: CutNumber,
}

/// Where in its life the node is.
#[derive(Debug)]
enum Phase {
    /// Not started, or the WAL's header is being read.
    Starting,
    /// The controller reads the metadata and claims its term; this is the ring on the disk.
    Joining(Option<wal::Found>),
    /// The registration is on its way, naming this ring.
    Registering(Option<wal::Found>),
    /// An earlier epoch's WAL is being read, uploaded and committed.
    Recovering(Recoveries),
    /// The ring's new life is being written.
    Formatting(WalUuid),
    /// The new life is being named in the metadata.
    Naming,
    /// Streams are being opened.
    Opening,
    /// Clients are served.
    Serving,
    /// On the way down.
    Stopping(stop::Stopping),
    /// Nothing more is done.
    Halted,
}

impl Node {
    /// A broker's node. `rng` draws the ring's UUIDs and back-offs.
    #[must_use]
    pub fn new(config: Config, limits: &Limits, rng: Rng) -> Self {
        let commands = Commands::new(config.node, config.incarnation);
        Self {
            config,
            limits: limits.clone(),
            janitor: Janitor::new(limits, rng.child("janitor")),
            rng,
            image: None,
            epoch: NodeEpoch(0),
            wal: WalKind::Ring,
            phase: Phase::Starting,
            commands,
            committed: CutNumber(0),
        }
    }

    /// Its replica of the metadata, once there is one.
    #[must_use]
    pub fn image(&self) -> Option<&Image> {
        self.image.as_ref()
    }

    fn handle_mail(&mut self, now: Now, mail: Mail, out: &mut Effects<Effect>) {
        match mail {
            Mail::Image(image) => self.handle_image(*image, out),
            Mail::Entries(entries) => self.handle_entries(now, &entries, out),
            Mail::ControllerFailed(halt) | Mail::Failed(halt) => self.halt(halt, out),
            Mail::Command(asker, command) => self.commands.send(asker, command, self.epoch, out),
            Mail::WalFound(inspection) => self.handle_inspection(inspection, out),
            Mail::WalRecovered(recovered) => self.handle_recovered(recovered, out),
            Mail::WalFormatted => self.handle_formatted(out),
            Mail::WalClosed => self.handle_wal_closed(out),
            Mail::WalPoisoned(why) => self.handle_poisoned(now, why, out),
            Mail::CutCommitted(number) => self.handle_cut_committed(number, out),
            Mail::PlanCompaction(excluded) => self.plan_compaction(now, &excluded, out),
            Mail::Serves => out.push(Effect::Ready),
            Mail::Drained(number) => self.handle_drained(number, out),
        }
    }

    /// Folds the entries, passes them on, then delivers the answers to this node's own commands: in this order, so
    /// that whoever gets an answer has, or will first get, the state that it speaks of.
    fn handle_entries(&mut self, now: Now, entries: &Arc<[Entry]>, out: &mut Effects<Effect>) {
        let image = self.image.as_mut().expect("the controller sends an image before entries");
        let mut answers = alloc::vec::Vec::new();
        for entry in entries.iter() {
            assert_eq!(entry.seq, image.seq.next(), "the controller pushes entries without gaps");
            let answer = image.apply(entry);
            if self.commands.is_mine(&entry.by) {
                answers.push((entry.by.seq, answer));
            }
        }
        out.push(to(To::Shard(shard::Mail::Entries(Arc::clone(entries)))));
        for (seq, answer) in answers {
            match self.commands.answered(seq) {
                Some(Asker::Node) => self.handle_answer(now, answer, out),
                Some(Asker::Shard(tag)) => out.push(to(To::Shard(shard::Mail::Answered(tag, answer)))),
                Some(Asker::Uploader) => out.push(to(To::Uploader(upload::Mail::Answered(answer)))),
                Some(Asker::Compactor) => out.push(to(To::Compactor(compaction::Mail::Answered(answer)))),
                Some(Asker::Janitor) => self.janitor.handle_forgotten(),
                None => {}
            }
        }
    }

    /// An answer to a command of the node's own: which one follows from the phase, as it never has two in flight.
    fn handle_answer(&mut self, now: Now, answer: Answer, out: &mut Effects<Effect>) {
        match &self.phase {
            Phase::Registering(_) => self.handle_registered(answer, out),
            Phase::Recovering(_) => self.handle_recovery_ended(answer, out),
            Phase::Naming => self.handle_named(answer, out),
            Phase::Opening => self.handle_opened(now, answer, out),
            Phase::Stopping(_) => self.handle_streams_closed(answer, out),
            phase => unreachable!("no command of the node's is in flight in {phase:?}"),
        }
    }

    /// What the compactor is to do, by the metadata as it is now.
    fn plan_compaction(&self, now: Now, excluded: &BTreeSet<ObjectId>, out: &mut Effects<Effect>) {
        let image = self.image.as_ref().filter(|_| matches!(self.phase, Phase::Serving));
        let rules = compaction::Rules::new(&self.limits);
        let plan = image.and_then(|image| compaction::plan(image, self.config.node, now.wall, &rules, excluded));
        out.push(to(To::Compactor(compaction::Mail::Planned(plan.map(Box::new)))));
    }

    fn halt(&mut self, halt: Halt, out: &mut Effects<Effect>) {
        if !matches!(self.phase, Phase::Halted) {
            tracing::info!(?halt, "the node halts");
            self.phase = Phase::Halted;
            out.push(Effect::Halt(halt));
        }
    }
}

impl Machine for Node {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, now: Now, input: Input, out: &mut Effects<Effect>) {
        if matches!(self.phase, Phase::Halted) {
            return;
        }
        match input {
            Input::Start => out.push(to(To::Wal(wal::Mail::Inspect))),
            Input::Stop => self.handle_stop(now, out),
            Input::Mail(mail) => self.handle_mail(now, mail, out),
            Input::Store(op, result) => self.janitor.handle_store(now, op, result, self.image.as_ref()),
            Input::Tick => self.handle_tick(now, out),
        }
        self.run_janitor(now, out);
    }

    fn deadline(&self) -> Option<Deadline> {
        match &self.phase {
            Phase::Stopping(stopping) => Some(stopping.deadline()),
            Phase::Serving => self.janitor.deadline(),
            _ => None,
        }
    }

    fn tick() -> Input {
        Input::Tick
    }

    fn invariants(&self) {
        self.commands.invariants();
        if let Phase::Serving | Phase::Stopping(stop::Stopping { why: stop::Why::Asked, .. }) = self.phase {
            let image = self.image.as_ref().expect("a serving node has an image");
            assert!(self.epoch > NodeEpoch(0), "a serving node is registered");
            assert!(image.nodes.contains_key(&self.config.node), "a serving node is in its own image");
        }
    }
}

impl Node {
    fn handle_tick(&mut self, now: Now, out: &mut Effects<Effect>) {
        if let Phase::Stopping(stopping) = &self.phase
            && stopping.deadline().at <= now.mono
        {
            let halt = stopping.give_up();
            self.halt(halt, out);
        }
    }

    fn run_janitor(&mut self, now: Now, out: &mut Effects<Effect>) {
        if let (Phase::Serving, Some(image)) = (&self.phase, &self.image)
            && let Some(forget) = self.janitor.run(now, image, out)
        {
            self.commands.send(Asker::Janitor, forget, self.epoch, out);
        }
    }
}

fn to(mail: To) -> Effect {
    Effect::Mail(mail)
}

fn to_store(op: OpId, call: StoreOp, within: Duration) -> Effect {
    Effect::Store(op, StoreCall { op: call, within })
}
