//! What is on its way from the store, or waits to be asked for, and who waits for it.
//!
//! ```text
//!   wanted ──► InLine ──► InFlight ──► gone, with what it brought
//!                 ▲           │
//!                 └─ Pausing ◄┘ failed, and somebody waits
//! ```
//! Memory is reserved before a request leaves, and released when it is answered. Data blocks that are to be asked for,
//! and lie side by side in one object, are asked for together, whoever wants them.

use super::blocks::BlockKey;
use super::line::Line;
use super::load::{Load, State, Waiter, What};
use super::types::ReadId;
use crate::id::ObjectId;
use crate::machine::{Instant, Mark, OpId, sometimes};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// Names a load of data blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LoadId(u64);

/// What is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    /// The index of an object.
    Index(ObjectId),
    /// Data blocks.
    Data(LoadId),
}

/// All loads.
#[derive(Debug, Default)]
pub(super) struct Loads {
    issued: u64,
    all: BTreeMap<Target, Load>,
    /// Which load brings a block.
    loading: BTreeMap<BlockKey, LoadId>,
    in_flight: BTreeMap<OpId, Target>,
    line: Line<Target>,
    /// Data loads in line, by where they begin.
    at: BTreeMap<BlockKey, LoadId>,
    timers: BTreeSet<(Instant, Target)>,
    waiting: BTreeMap<ReadId, Target>,
    /// Memory that those in flight will fill.
    reserved: u64,
}

/// How those in flight are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct InFlight {
    pub(super) requests: usize,
    /// Of these, read ahead for somebody who has not come yet.
    pub(super) ahead: usize,
    /// Memory that these will fill.
    pub(super) ahead_reserved: u64,
}

impl Loads {
    pub(super) const fn reserved(&self) -> u64 {
        self.reserved
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn in_line(&self) -> usize {
        self.line.len()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn owns(&self, op: OpId) -> bool {
        self.in_flight.contains_key(&op)
    }

    pub(super) fn get(&self, target: Target) -> &Load {
        &self.all[&target]
    }

    pub(super) fn get_mut(&mut self, target: Target) -> &mut Load {
        self.all.get_mut(&target).expect("a load that is under way")
    }

    pub(super) fn contains(&self, target: Target) -> bool {
        self.all.contains_key(&target)
    }

    /// The load that brings a block.
    pub(super) fn bringing(&self, key: BlockKey) -> Option<Target> {
        self.loading.get(&key).copied().map(Target::Data)
    }

    pub(super) fn next_id(&mut self) -> LoadId {
        self.issued += 1;
        LoadId(self.issued)
    }

    pub(super) fn in_flight(&self) -> InFlight {
        let ahead = self.in_flight.values().map(|target| &self.all[target]).filter(|load| load.is_ahead());
        let (mut count, mut reserved) = (0, 0);
        for load in ahead {
            count += 1;
            reserved += load.cost();
        }
        InFlight { requests: self.in_flight.len(), ahead: count, ahead_reserved: reserved }
    }

    /// Begins a load that waits in line, until `due` at the latest.
    pub(super) fn line_up(&mut self, target: Target, load: Load, due: Instant) {
        let origin = load.origin;
        self.add(target, load);
        self.line.push_back(origin, target);
        self.enter_line(target, due);
    }

    /// Begins a load that leaves at once.
    pub(super) fn leave_at_once(&mut self, target: Target, load: Load, op: OpId) {
        self.add(target, load);
        self.depart(target, op);
    }

    /// Puts one back that has failed, to be tried again then.
    pub(super) fn pause(&mut self, target: Target, mut load: Load, until: Instant) {
        let waiting = core::mem::take(&mut load.waiting);
        load.state = State::Pausing(until);
        self.add(target, load);
        self.timers.insert((until, target));
        waiting.into_iter().for_each(|waiter| self.join(target, waiter));
    }

    /// Puts one back that has more to ask for; it leaves at once, in the place of what was answered.
    pub(super) fn go_on(&mut self, target: Target, mut load: Load, op: OpId) {
        let waiting = core::mem::take(&mut load.waiting);
        self.leave_at_once(target, load, op);
        waiting.into_iter().for_each(|waiter| self.join(target, waiter));
    }

    /// A read waits for a load. From then on it is worth as many attempts as if it had begun now.
    pub(super) fn join(&mut self, target: Target, waiter: Waiter) {
        let load = self.all.get_mut(&target).expect("a read joins a load that is under way");
        if load.is_ahead() {
            load.tries = None;
        }
        let id = waiter.read.id;
        load.waiting.push(waiter);
        let earlier = self.waiting.insert(id, target);
        assert!(earlier.is_none(), "{id:?} is not finished");
    }

    /// The load whose turn it is.
    pub(super) fn first(&self) -> Option<Target> {
        self.line.first()
    }

    /// That load leaves, with those in line that are its neighbours, as long as they take `room` together at most and
    /// are no longer than `longest`.
    pub(super) fn leave(&mut self, op: OpId, room: u64, longest: u64) -> Target {
        let target = self.line.pop().expect("who leaves was in line");
        self.leave_line(target);
        while let Some(neighbour) = self.neighbour(target, room, longest) {
            self.absorb(target, neighbour);
        }
        self.depart(target, op);
        target
    }

    /// A request was answered: takes its load out.
    pub(super) fn answered(&mut self, op: OpId) -> (Target, Load) {
        let target = self.in_flight.remove(&op).expect("one completion for each call of this reader");
        let load = self.take(target);
        self.reserved -= load.cost();
        (target, load)
    }

    /// Takes out those in line for too long, and puts those that have paused in line again.
    pub(super) fn expire(&mut self, now: Instant, due: Instant) -> Vec<Load> {
        let mut crowded = Vec::new();
        while let Some((at, target)) = self.timers.first().copied()
            && at <= now
        {
            if let State::InLine(_) = self.all[&target].state {
                self.drop_from_line(target);
                crowded.push(self.take(target));
                continue;
            }
            self.timers.remove(&(at, target));
            self.line.push_front(self.all[&target].origin, target);
            self.enter_line(target, due);
        }
        crowded
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// A read does not wait any more. Returns the request for its load if nobody else waits for that.
    pub(super) fn cancel(&mut self, read: ReadId) -> Option<OpId> {
        let target = self.waiting.remove(&read)?;
        let load = self.all.get_mut(&target).expect("a read waits for a load that is under way");
        load.waiting.retain(|waiter| waiter.read.id != read);
        if !load.waiting.is_empty() {
            return None;
        }
        match load.state {
            State::InFlight(op) => return (load.ahead_for.is_none() && !load.blocks().is_empty()).then_some(op),
            State::InLine(_) => self.drop_from_line(target),
            State::Pausing(until) => _ = self.timers.remove(&(until, target)),
        }
        self.take(target);
        None
    }

    fn add(&mut self, target: Target, load: Load) {
        if let Target::Data(id) = target {
            for entry in load.blocks() {
                let earlier = self.loading.insert(BlockKey::of(load.object(), entry), id);
                assert!(earlier.is_none(), "a block is loaded once at a time");
            }
        }
        let earlier = self.all.insert(target, load);
        assert!(earlier.is_none(), "a load is begun once");
    }

    /// Takes a load out, with all who wait for it.
    fn take(&mut self, target: Target) -> Load {
        let load = self.all.remove(&target).expect("a load that is under way");
        for entry in load.blocks() {
            self.loading.remove(&BlockKey::of(load.object(), entry));
        }
        for waiter in &load.waiting {
            self.waiting.remove(&waiter.read.id);
        }
        load
    }

    fn depart(&mut self, target: Target, op: OpId) {
        let load = self.all.get_mut(&target).expect("who departs is under way");
        load.state = State::InFlight(op);
        self.reserved += load.cost();
        self.in_flight.insert(op, target);
    }

    /// It stands in line already.
    fn enter_line(&mut self, target: Target, due: Instant) {
        let load = self.all.get_mut(&target).expect("who stands in line is under way");
        load.state = State::InLine(due);
        self.timers.insert((due, target));
        if let (Target::Data(id), Some(first)) = (target, load.blocks().first()) {
            self.at.insert(BlockKey::of(load.object(), first), id);
        }
    }

    fn leave_line(&mut self, target: Target) {
        let load = &self.all[&target];
        if let State::InLine(due) = load.state {
            self.timers.remove(&(due, target));
        }
        if let Some(first) = load.blocks().first() {
            self.at.remove(&BlockKey::of(load.object(), first));
        }
    }

    fn drop_from_line(&mut self, target: Target) {
        self.leave_line(target);
        self.line.remove(self.all[&target].origin, target);
    }

    /// One in line that begins where the load ends, or ends where it begins, if both together are not too much.
    fn neighbour(&self, target: Target, room: u64, longest: u64) -> Option<Target> {
        let load = &self.all[&target];
        let (first, object) = (load.blocks().first()?, load.object());
        let behind = self.at.get(&BlockKey { object, at: first.at + load.len() });
        let before = self.at.range(BlockKey { object, at: 0 }..BlockKey { object, at: first.at }).next_back();
        let before = before.filter(|(key, id)| key.at + self.all[&Target::Data(**id)].len() == first.at);
        let fits = |other: &LoadId| {
            let other = &self.all[&Target::Data(*other)];
            load.cost() + other.cost() <= room && load.len() + other.len() <= longest
        };
        behind.into_iter().chain(before.map(|(_, id)| id)).find(|id| fits(id)).map(|id| Target::Data(*id))
    }

    fn absorb(&mut self, target: Target, neighbour: Target) {
        sometimes!(Mark::ReadsMerged);
        self.drop_from_line(neighbour);
        let other = self.take(neighbour);
        let Target::Data(id) = target else { unreachable!("an index has no neighbours") };
        for entry in other.blocks() {
            self.loading.insert(BlockKey::of(other.object(), entry), id);
        }
        for waiter in &other.waiting {
            self.waiting.insert(waiter.read.id, target);
        }
        let load = self.all.get_mut(&target).expect("who absorbs is under way");
        load.waiting.extend(other.waiting);
        if let (What::Blocks { blocks, .. }, What::Blocks { blocks: others, .. }) = (&mut load.what, other.what) {
            blocks.extend(others);
            blocks.sort_by_key(|entry| entry.at);
        }
    }

    pub(super) fn invariants(&self) {
        self.line.invariants();
        let count = |is: fn(&State) -> bool| self.all.values().filter(|load| is(&load.state)).count();
        assert_eq!(count(|state| matches!(state, State::InFlight(_))), self.in_flight.len(), "one request for each");
        assert_eq!(count(|state| matches!(state, State::InLine(_))), self.line.len(), "one place for each");
        let timed = count(|state| !matches!(state, State::InFlight(_)));
        assert_eq!(timed, self.timers.len(), "who waits, waits until some time");
        let reserved = self.in_flight.values().map(|target| self.all[target].cost()).sum::<u64>();
        assert_eq!(reserved, self.reserved, "memory is reserved for what is in flight");
        let blocks: usize = self.all.values().map(|load| load.blocks().len()).sum();
        assert_eq!(blocks, self.loading.len(), "each block that is loaded is known");
        let waiting: usize = self.all.values().map(|load| load.waiting.len()).sum();
        assert_eq!(waiting, self.waiting.len(), "each read waits for one load");
        for (target, load) in &self.all {
            let wanted = !load.waiting.is_empty() || matches!(load.state, State::InFlight(_));
            assert!(wanted, "nothing is asked for again, or stands in line, for nobody");
            assert!(load.waiting.iter().all(|waiter| self.waiting.get(&waiter.read.id) == Some(target)));
            let mut at = load.blocks().first().map_or(0, |entry| entry.at);
            for entry in load.blocks() {
                assert_eq!(entry.at, at, "blocks that are loaded together lie side by side");
                at += u64::from(entry.len);
            }
        }
    }
}
