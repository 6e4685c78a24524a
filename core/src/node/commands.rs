//! The one FIFO of a node's commands to the controller.

use super::{Asker, Effect, to};
use crate::controller::{self, NodeCommand};
use crate::id::{CommandSeq, Incarnation, NodeEpoch, NodeId};
use crate::machine::Effects;
use crate::mail::Mail as To;
use crate::metadata::Command;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;

/// Numbers commands and remembers who asked, until the answer is seen in the node's own replay.
#[derive(Debug)]
pub(super) struct Commands {
    node: NodeId,
    incarnation: Incarnation,
    last: CommandSeq,
    /// Every answer up to this one was seen.
    confirmed: CommandSeq,
    waiting: BTreeMap<CommandSeq, Asker>,
}

impl Commands {
    pub(super) fn new(node: NodeId, incarnation: Incarnation) -> Self {
        Self { node, incarnation, last: CommandSeq(0), confirmed: CommandSeq(0), waiting: BTreeMap::new() }
    }

    pub(super) fn send(&mut self, asker: Asker, command: Command, epoch: NodeEpoch, out: &mut Effects<Effect>) {
        self.last = self.last.next();
        self.waiting.insert(self.last, asker);
        out.push(to(To::Controller(controller::Mail::Command(NodeCommand {
            node: self.node,
            incarnation: self.incarnation,
            epoch,
            seq: self.last,
            confirmed: self.confirmed,
            command: Box::new(command),
        }))));
    }

    pub(super) fn is_mine(&self, command: &NodeCommand) -> bool {
        command.node == self.node && command.incarnation == self.incarnation
    }

    /// Who waits for the answer to `seq`; nobody if it was answered before.
    pub(super) fn answered(&mut self, seq: CommandSeq) -> Option<Asker> {
        let asker = self.waiting.remove(&seq);
        let first_open = self.waiting.keys().next();
        self.confirmed = first_open.map_or(self.last, |open| CommandSeq(open.0 - 1));
        asker
    }

    pub(super) fn invariants(&self) {
        assert!(self.confirmed <= self.last, "answers are seen only to what was sent");
        assert!(
            self.waiting.keys().all(|seq| *seq > self.confirmed && *seq <= self.last),
            "what waits is neither confirmed nor unsent"
        );
    }
}
