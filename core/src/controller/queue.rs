//! Commands that are not durable yet.

use super::NodeCommand;
use crate::id::{CommandSeq, Incarnation, NodeId};
use crate::metadata::codec::Field;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;

/// What makes a command the same as another.
type Id = (NodeId, Incarnation, CommandSeq);

/// In the order of arrival. A command that is here already, or under way in a swap, is not taken in twice.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<NodeCommand>,
    /// Waiting, or taken and not done.
    known: BTreeSet<Id>,
}

impl Queue {
    /// Takes a command in.
    pub(super) fn add(&mut self, command: NodeCommand) {
        if self.known.insert(id(&command)) {
            self.waiting.push_back(command);
        }
    }

    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The first commands, at least one if any waits, until they reach so many bytes.
    pub(super) fn take(&mut self, bytes: usize) -> Vec<NodeCommand> {
        let (mut taken, mut encoded) = (Vec::new(), Vec::new());
        while encoded.len() < bytes.max(1)
            && let Some(command) = self.waiting.pop_front()
        {
            command.put(&mut encoded);
            taken.push(command);
        }
        taken
    }

    /// A taken command is durable: from now on its repetition is a command of its own.
    pub(super) fn done(&mut self, command: &NodeCommand) {
        assert!(self.known.remove(&id(command)), "only what was taken in can be done");
    }

    /// Panics if it is not the waiting ones and `under_way` that are known.
    pub(super) fn invariants(&self, under_way: usize) {
        assert_eq!(self.known.len(), self.waiting.len() + under_way, "commands known, and waiting or under way");
        assert!(self.waiting.iter().all(|command| self.known.contains(&id(command))), "a waiting command is unknown");
    }
}

fn id(command: &NodeCommand) -> Id {
    (command.node, command.incarnation, command.seq)
}
