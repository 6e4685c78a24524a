//! The leader of a term: appends, one swap at a time.

use super::call::Io;
use super::log::{Head, Writer};
use super::queue::Queue;
use super::scrub::Scrub;
use super::spill::{Spill, Spilled};
use super::swap::{Stored, Swap, Verdict};
use super::trash::Trash;
use super::{Me, Rules};
use crate::id::{Seq, Term};
use crate::machine::{Deadline, OpId};
use crate::mail::Halt;
use crate::metadata::{Entry, Image};
use crate::node::Mail;
use crate::store::{Key, StoreResult};
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;
use bytes::Bytes;
use core::mem;
use tracing::warn;

/// A leadership.
#[derive(Debug)]
pub(super) struct Leading {
    me: Me,
    rules: Rules,
    /// The head as it is.
    stored: Stored,
    /// What that folds to.
    image: Image,
    work: Work,
    trash: Trash,
    scrub: Scrub,
}

/// What is on its way; one thing at a time.
#[derive(Debug)]
enum Work {
    Idle,
    Spill(Spill),
    Swap(Box<Swap>, Vec<Entry>),
}

impl Leading {
    /// From a head of one's own.
    pub(super) fn start(io: &Io<'_>, me: Me, rules: Rules, stored: Stored, image: Image) -> Self {
        assert_eq!(stored.head.writer.incarnation, me.incarnation, "a leader wrote the head");
        let trash = Trash::new(rules.retention);
        let scrub = Scrub::new(stored.head.term, io.now.mono, rules.scrub_interval);
        Self { me, rules, stored, image, work: Work::Idle, trash, scrub }
    }

    /// The state as it is durable.
    pub(super) fn image(&self) -> &Image {
        &self.image
    }

    /// Which leadership this is.
    pub(super) fn term(&self) -> Term {
        self.stored.head.term
    }

    /// Appends what waits, if nothing is on its way.
    pub(super) fn advance(&mut self, io: &mut Io<'_>, queue: &mut Queue) {
        if !matches!(self.work, Work::Idle) || queue.is_empty() {
            return;
        }
        let Rules { head_inline, segments, .. } = self.rules;
        match Spill::due(io, &self.stored.head, &self.image, head_inline, segments) {
            Some(spill) => self.work = Work::Spill(spill),
            None => self.append(io, queue, None),
        }
    }

    /// Goes on after a completion.
    ///
    /// # Errors
    /// Why the leadership is over.
    pub(super) fn completed(
        &mut self,
        io: &mut Io<'_>,
        queue: &mut Queue,
        id: OpId,
        result: StoreResult,
    ) -> Result<(), Halt> {
        if self.trash.owns(id) {
            self.trash.completed(io, result);
            return Ok(());
        }
        if self.scrub.owns(id) {
            return match self.scrub.completed(io, result) {
                Ok(orphans) => {
                    // A swap of one's own may have landed unheard: what it dropped goes when it is known.
                    let known: BTreeSet<Key> = self.stored.head.references().collect();
                    for orphan in orphans.into_iter().filter(|orphan| !known.contains(orphan)) {
                        self.trash.add(io.now.mono, orphan);
                    }
                    Ok(())
                }
                Err(theirs) => Err(deposed(io, &theirs, self.under_way())),
            };
        }
        match mem::replace(&mut self.work, Work::Idle) {
            Work::Swap(swap, entries) if swap.owns(id) => match swap.completed(io, result) {
                Verdict::Pending(swap) => self.work = Work::Swap(Box::new(swap), entries),
                Verdict::Won(stored) => self.won(io, queue, stored, entries),
                Verdict::Lost(theirs) => return Err(deposed(io, &theirs, &entries)),
                Verdict::Hopeless(halt) => return Err(halt),
            },
            Work::Spill(spill) if spill.owns(id) => match spill.completed(io, result) {
                Spilled::Pending(spill) => self.work = Work::Spill(spill),
                Spilled::Done(spill) => self.append(io, queue, Some(&spill)),
                Spilled::Hopeless(halt) => return Err(halt),
            },
            _ => panic!("a completion of an operation that is not in flight: {id:?}"),
        }
        Ok(())
    }

    /// Goes on after a pause.
    pub(super) fn tick(&mut self, io: &mut Io<'_>) {
        match &mut self.work {
            Work::Idle => {}
            Work::Spill(spill) => spill.tick(io),
            Work::Swap(swap, _) => swap.tick(io),
        }
        self.trash.tick(io);
        self.scrub.tick(io);
    }

    /// When something is due.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        let work = match &self.work {
            Work::Idle => None,
            Work::Spill(spill) => spill.deadline(),
            Work::Swap(swap, _) => swap.deadline(),
        };
        Deadline::earliest([work, self.trash.deadline(), self.scrub.deadline()])
    }

    /// Panics with what is broken.
    pub(super) fn invariants(&self, queue: &Queue) {
        self.image.invariants();
        assert_eq!(self.image.seq, self.stored.head.last, "the image is the fold of the head");
        if let Work::Swap(swap, entries) = &self.work {
            assert_eq!(swap.base(), Some(&self.stored.bytes), "a swap replaces the head as it is");
            assert_eq!(swap.head().last.0, self.image.seq.0 + entries.len() as u64, "a swap appends its entries");
            assert_eq!(swap.head().term, self.stored.head.term, "a leader stays in its term");
        }
        queue.invariants(self.under_way().len());
        let holds = |key: Key| self.trash.holds(&key);
        // Most of the time there is nothing to compare names with.
        let may_hold = !self.trash.is_empty();
        assert!(!may_hold || !self.stored.head.references().any(holds), "what the head refers to is kept");
    }

    /// Entries that may be durable, and may not.
    fn under_way(&self) -> &[Entry] {
        match &self.work {
            Work::Swap(_, entries) => entries,
            Work::Idle | Work::Spill(_) => &[],
        }
    }

    /// Swaps in a head with what waits, and with what was just written out of it.
    fn append(&mut self, io: &mut Io<'_>, queue: &mut Queue, spilled: Option<&Spill>) {
        let mut head = self.stored.head.clone();
        head.writer = self.me.writer(io, &self.image);
        if let Some(spill) = spilled {
            spill.apply(&mut head);
        }
        let at = io.now.wall.max(self.image.at);
        let commands = queue.take(self.rules.head_inline);
        let seqs = self.image.seq.0 + 1..;
        let entries: Vec<Entry> = seqs.zip(commands).map(|(seq, by)| Entry { seq: Seq(seq), at, by }).collect();
        head.last = entries.last().map_or(head.last, |entry| entry.seq);
        head.inline.extend(entries.iter().cloned());
        self.work = Work::Swap(Box::new(Swap::start(io, Some(&self.stored), head)), entries);
    }

    /// The entries are durable: only now are they applied, and heard of.
    fn won(&mut self, io: &mut Io<'_>, queue: &mut Queue, stored: Stored, entries: Vec<Entry>) {
        let before = mem::replace(&mut self.stored, stored);
        let referred: BTreeSet<Key> = self.stored.head.references().collect();
        for dropped in before.head.references().filter(|key| !referred.contains(key)) {
            self.trash.add(io.now.mono, dropped);
        }
        for entry in &entries {
            self.image.apply(entry);
            queue.done(&entry.by);
        }
        if !entries.is_empty() {
            io.tell(Mail::Entries(entries.into()));
        }
    }
}

impl Me {
    /// As the writer of a new head.
    pub(super) fn writer(&self, io: &mut Io<'_>, image: &Image) -> Writer {
        let registered = image.nodes.get(&self.node).filter(|node| node.incarnation == self.incarnation);
        Writer {
            node: self.node,
            epoch: registered.map(|node| node.epoch).unwrap_or_default(),
            incarnation: self.incarnation,
            nonce: io.desk.rng.next_u64(),
        }
    }
}

/// Somebody else replaced the head. If it holds what was being appended, that succeeded before.
fn deposed(io: &mut Io<'_>, theirs: &Bytes, entries: &[Entry]) -> Halt {
    let Ok(head) = Head::decode(theirs) else {
        return Halt::Fenced("meta/head was replaced by something that this broker can't read".into());
    };
    if !entries.is_empty() && entries.iter().all(|entry| head.inline.contains(entry)) {
        io.tell(Mail::Entries(entries.into()));
    }
    warn!(term = head.term.0, node = head.writer.node.0, "another broker leads the metadata log");
    Halt::Fenced(format!(
        "broker {} (run {}) took over the metadata log with term {}: if that is not meant to be, see that only one \
         broker with this node id and this bucket runs",
        head.writer.node, head.writer.incarnation, head.term
    ))
}
