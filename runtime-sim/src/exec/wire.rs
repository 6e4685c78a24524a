//! The network, bound to the world's time and to processes.

use super::process::Process;
use super::timers::TimerId;
use super::world::World;
use crate::net::{Closed, ConnectionId, End, Host, NetEvent, SendTag, Side, SimNet};
use crate::recording::{EntryId, Tag};
use karst_core::machine::Rope;
use std::cell::{Cell, RefCell, RefMut};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

/// The network. A clone is the same one.
#[derive(Clone)]
pub struct Net(Rc<Inner>);

struct Inner {
    world: World,
    model: RefCell<SimNet>,
    ends: RefCell<BTreeMap<End, Handler>>,
    listeners: RefCell<BTreeMap<Host, Listener>>,
    /// What both ends call a connection, once one of them said so; only while that is recorded.
    names: RefCell<BTreeMap<ConnectionId, Tag>>,
    /// Why what is on its way was sent, by the end that sends; only while that is recorded.
    on_their_way: RefCell<BTreeMap<End, OnItsWay>>,
    timer: Cell<Option<TimerId>>,
}

/// What one end of a connection did, and why.
#[derive(Default)]
struct OnItsWay {
    /// Why it connected.
    opened: Option<EntryId>,
    /// Why it closed or broke the connection.
    ended: Option<EntryId>,
    sent: u64,
    received: u64,
    /// Up to which byte each send reaches.
    sends: VecDeque<(u64, SendTag, Option<EntryId>)>,
}

#[derive(Clone)]
struct Handler {
    process: Process,
    on: Rc<RefCell<dyn FnMut(NetEvent)>>,
}

#[derive(Clone)]
struct Listener {
    process: Process,
    accept: Rc<RefCell<dyn FnMut(Connection) -> OnEvent>>,
}

type OnEvent = Box<dyn FnMut(NetEvent)>;

/// A process on its host: it listens and connects from there.
#[derive(Clone)]
pub struct NetHost {
    net: Net,
    host: Host,
    process: Process,
}

/// One end of a connection, as its process holds it. A clone is the same end; dropping it closes nothing.
#[derive(Clone)]
pub struct Connection {
    net: Net,
    end: End,
}

impl OnItsWay {
    /// The other end reads so many bytes more. Returns why they were sent.
    fn read(&mut self, bytes: u64) -> Vec<EntryId> {
        self.received += bytes;
        let begun =
            self.sends.iter().position(|(upto, ..)| *upto >= self.received).map_or(self.sends.len(), |at| at + 1);
        let mut why: Vec<EntryId> = self.sends.iter().take(begun).filter_map(|(_, _, cause)| *cause).collect();
        why.dedup();
        while self.sends.pop_front_if(|(upto, ..)| *upto <= self.received).is_some() {}
        why
    }
}

impl Net {
    /// Puts a network into the world.
    #[must_use]
    pub fn new(world: &World, mut model: SimNet) -> Self {
        model.set_gate(world.gate().clone());
        let net = Self(Rc::new(Inner {
            world: world.clone(),
            model: RefCell::new(model),
            ends: RefCell::default(),
            listeners: RefCell::default(),
            names: RefCell::default(),
            on_their_way: RefCell::default(),
            timer: Cell::new(None),
        }));
        let (counted, ended) = (Rc::downgrade(&net.0), Rc::downgrade(&net.0));
        world.count_at_end(move || counted.upgrade().map(|net| net.model.borrow().fired().clone()).unwrap_or_default());
        world.at_end(move || {
            if let Some(net) = ended.upgrade() {
                let (ends, listeners) = (net.ends.take(), net.listeners.take());
                drop((ends, listeners));
            }
        });
        net
    }

    /// Puts a process on a host. When it is killed, its connections end.
    #[must_use]
    pub fn attach(&self, process: &Process, host: Host) -> NetHost {
        let dying = NetHost { net: self.clone(), host, process: process.clone() };
        let attached = dying.clone();
        process.on_kill(move || dying.died());
        attached
    }

    /// The model: to look at. Changes go through [`Net::change`].
    #[must_use]
    pub fn model(&self) -> RefMut<'_, SimNet> {
        self.0.model.borrow_mut()
    }

    /// Cuts, mends, heals: whatever changes when something happens next.
    pub fn change(&self, change: impl FnOnce(&mut SimNet, crate::time::SimTime)) {
        change(&mut self.0.model.borrow_mut(), self.0.world.now());
        self.0.world.record_faults("world");
        self.set_timer();
    }

    /// Remembers why an end does what it does.
    fn remember(&self, end: End, remember: impl FnOnce(&mut OnItsWay, Option<EntryId>)) {
        if self.0.world.is_recording() {
            let cause = self.0.world.shared().recorder.cause();
            remember(self.0.on_their_way.borrow_mut().entry(end).or_default(), cause);
        }
    }

    /// Why this happens at an end: what the other end did, or what this one did before. Bytes that are read at once are
    /// those of all sends of which some are among them.
    fn tell_why(&self, end: End, event: &NetEvent) {
        let recorder = &self.0.world.shared().recorder;
        let mut all = self.0.on_their_way.borrow_mut();
        let cause = match event {
            NetEvent::Opened => all.get(&End { side: Side::Client, ..end }).and_then(|theirs| theirs.opened),
            NetEvent::Sent(tag) => all.get(&end).and_then(|own| own.sends.iter().find(|(_, one, _)| one == tag)?.2),
            NetEvent::Received(bytes) => {
                let sent = all.get_mut(&end.peer()).map(|theirs| theirs.read(bytes.len() as u64));
                return recorder.because_of_bytes(sent.unwrap_or_default());
            }
            NetEvent::Closed(_) => all.remove(&end.peer()).and_then(|theirs| theirs.ended),
        };
        recorder.because(cause);
    }

    fn set_timer(&self) {
        let next = self.0.model.borrow().next();
        let set = self.0.timer.get();
        let Some(next) = next.filter(|next| set.is_none_or(|timer| timer.at() > *next)) else { return };
        if let Some(timer) = set {
            self.0.world.cancel(timer);
        }
        let net = self.clone();
        self.0.timer.set(Some(self.0.world.at(next, move || net.deliver())));
    }

    fn deliver(&self) {
        self.0.timer.set(None);
        let now = self.0.world.now();
        loop {
            let Some((end, event)) = self.0.model.borrow_mut().pop(now) else { break };
            self.dispatch(end, event);
        }
        self.0.world.record_faults("world");
        self.set_timer();
    }

    fn dispatch(&self, end: End, event: NetEvent) {
        if self.0.world.is_recording() {
            self.tell_why(end, &event);
        }
        if event == NetEvent::Opened && end.side == Side::Server && !self.accept(end) {
            self.0.model.borrow_mut().refuse(self.0.world.now(), end.connection);
            return;
        }
        let handler = match event {
            NetEvent::Closed(_) => self.0.ends.borrow_mut().remove(&end),
            _ => self.0.ends.borrow().get(&end).cloned(),
        };
        if let Some(Handler { process, on }) = handler
            && process.is_alive()
        {
            (on.borrow_mut())(event);
        }
    }

    fn accept(&self, end: End) -> bool {
        let Some([_, host]) = self.0.model.borrow().hosts(end.connection) else { return false };
        let Some(Listener { process, accept }) = self.0.listeners.borrow().get(&host).cloned() else { return false };
        if !process.is_alive() {
            return false;
        }
        let on = (accept.borrow_mut())(Connection { net: self.clone(), end });
        self.0.ends.borrow_mut().insert(end, Handler { process, on: Rc::new(RefCell::new(on)) });
        true
    }
}

impl NetHost {
    /// The network that it is part of.
    #[must_use]
    pub const fn net(&self) -> &Net {
        &self.net
    }

    /// Accepts connections: `accept` is called with each, and returns who hears of its events, [`NetEvent::Opened`]
    /// first. A host has one listener.
    pub fn listen(&self, accept: impl FnMut(Connection) -> Box<dyn FnMut(NetEvent)> + 'static) {
        let accept = Rc::new(RefCell::new(accept));
        let listener = Listener { process: self.process.clone(), accept };
        self.net.0.listeners.borrow_mut().insert(self.host, listener);
    }

    /// Accepts no more.
    pub fn stop_listening(&self) {
        let listener = self.net.0.listeners.borrow_mut().remove(&self.host);
        drop(listener);
    }

    /// Connects; `on` hears of [`NetEvent::Opened`] or [`NetEvent::Closed`] first.
    pub fn connect(&self, to: Host, on: impl FnMut(NetEvent) + 'static) -> Connection {
        let connection = self.net.0.model.borrow_mut().connect(self.net.0.world.now(), self.host, to);
        let end = End { connection, side: Side::Client };
        self.net.remember(end, |on_its_way, cause| on_its_way.opened = cause);
        let handler = Handler { process: self.process.clone(), on: Rc::new(RefCell::new(on)) };
        self.net.0.ends.borrow_mut().insert(end, handler);
        self.net.set_timer();
        Connection { net: self.net.clone(), end }
    }

    fn died(&self) {
        let is_mine = |listener: &Listener| !listener.process.is_alive();
        if self.net.0.listeners.borrow().get(&self.host).is_some_and(is_mine) {
            self.stop_listening();
        }
        let dead: Vec<_> = {
            let ends = self.net.0.ends.borrow();
            ends.iter().filter(|(_, handler)| !handler.process.is_alive()).map(|(end, _)| *end).collect()
        };
        for end in &dead {
            self.net.remember(*end, |on_its_way, cause| on_its_way.ended = cause);
            let handler = self.net.0.ends.borrow_mut().remove(end);
            drop(handler);
        }
        let has_successor = self.net.0.listeners.borrow().contains_key(&self.host);
        self.net.change(
            |model, now| {
                if has_successor { model.ends_died(now, &dead) } else { model.host_died(now, self.host) }
            },
        );
    }
}

impl Connection {
    /// Names the connection.
    #[must_use]
    pub const fn id(&self) -> ConnectionId {
        self.end.connection
    }

    /// In a recording both ends call it so from now on.
    pub fn call_it(&self, name: Tag) {
        if self.net.0.world.is_recording() {
            self.net.0.names.borrow_mut().insert(self.id(), name);
        }
    }

    /// What one end called it in a recording.
    #[must_use]
    pub fn name(&self) -> Option<Tag> {
        self.net.0.names.borrow().get(&self.id()).cloned()
    }

    /// Sends; [`NetEvent::Sent`] with this tag follows when all of it has left.
    pub fn send(&self, tag: SendTag, data: Rope) {
        self.net.remember(self.end, |on_its_way, cause| {
            on_its_way.sent += data.len() as u64;
            on_its_way.sends.push_back((on_its_way.sent, tag, cause));
        });
        self.net.change(|model, now| model.send(now, self.end, tag, data));
    }

    /// Reads no more for now: the other side is held up in the end.
    pub fn pause(&self) {
        self.net.change(|model, _| model.pause(self.end));
    }

    /// Reads again.
    pub fn resume(&self) {
        self.net.change(|model, now| model.resume(now, self.end));
    }

    /// Closes after what was sent. No event follows at this end.
    pub fn close(&self) {
        self.net.remember(self.end, |on_its_way, cause| on_its_way.ended = cause);
        self.net.change(|model, now| model.close(now, self.end));
        let handler = self.net.0.ends.borrow_mut().remove(&self.end);
        drop(handler);
    }

    /// Breaks it off: both ends hear [`Closed::Reset`].
    pub fn reset(&self) {
        for end in [self.end, self.end.peer()] {
            self.net.remember(end, |on_its_way, cause| on_its_way.ended = cause);
        }
        self.net.change(|model, now| model.reset(now, self.end.connection));
    }
}

impl NetEvent {
    /// The reason, if this is the end of a connection.
    #[must_use]
    pub const fn closed(&self) -> Option<Closed> {
        match self {
            Self::Closed(why) => Some(*why),
            _ => None,
        }
    }
}
