//! FAULT MODEL: the network. Byte streams between hosts, as TCP makes them.
//!
//! Each direction of a connection delivers bytes in order, cut anywhere. It may stall, break at any byte (what was on its
//! way may or may not arrive), be half open (one side does not know that the other is gone), or be held up by a
//! partition until somebody loses patience. A slow reader holds its sender up.
//!
//! The model has an agenda of its own: after each call [`SimNet::next`] says when to call [`SimNet::pop`], which gives
//! out what happens at one end of a connection. Times are simulated; nothing here waits.

mod flow;
mod knobs;
mod pipe;

#[cfg(test)]
mod tests;

pub use knobs::NetKnobs;
pub use pipe::SendTag;

use crate::fates::Fates;
use crate::gate::Gate;
use crate::report::Counters;
use crate::time::SimTime;
use core::time::Duration;
use karst_core::machine::{Payload, Rng, Rope};
use pipe::{Outgoing, Pipe, Reading};
use std::collections::{BTreeMap, BTreeSet};

/// A machine with an address of its own. Several processes may live on it one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host(pub u32);

/// A connection; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The one that connected.
    Client,
    /// The one that accepted.
    Server,
}

/// One end of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct End {
    /// Of which connection.
    pub connection: ConnectionId,
    /// Which one.
    pub side: Side,
}

impl End {
    /// The other end.
    #[must_use]
    pub const fn peer(self) -> Self {
        let side = match self.side {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        };
        Self { connection: self.connection, side }
    }
}

/// What happens at one end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NetEvent {
    /// The connection is there. The server's end hears first, and may refuse.
    Opened,
    /// Bytes from the other end, at least one.
    Received(Payload),
    /// All bytes of a send have left; the other end need not have them.
    Sent(SendTag),
    /// The connection is gone. Nothing follows.
    Closed(Closed),
}

/// Why a connection is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Closed {
    /// The other end closed it, after all that it had sent.
    Orderly,
    /// It broke.
    Reset,
    /// Nobody listens there.
    Refused,
    /// No progress for too long.
    TimedOut,
}

/// Sends of one end that follow each other within this are told apart by their order.
const SLOT: Duration = Duration::from_millis(1);

/// The network.
#[derive(Debug)]
pub struct SimNet {
    knobs: NetKnobs,
    rng: Rng,
    connections: BTreeMap<ConnectionId, Connection>,
    cuts: BTreeSet<(Host, Host)>,
    links: BTreeMap<(Host, Host), u64>,
    agenda: BTreeMap<(SimTime, u64), Happening>,
    issued: u64,
    scheduled: u64,
    gate: Gate,
    fired: Counters,
}

#[derive(Debug)]
struct Connection {
    hosts: [Host; 2],
    ends: [EndState; 2],
    /// By the side that sends.
    pipes: [Pipe; 2],
    fates: Fates,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EndState {
    Opening,
    /// Nobody accepts: it never opens, and hears so soon.
    Refused,
    Open,
    Gone,
}

#[derive(Clone, Copy, Debug)]
enum Happening {
    Opens(End),
    /// Something of what this end sent may be read by the other.
    Flows(End),
    Left(End, SendTag),
    Breaks(End, Closed),
}

impl SimNet {
    /// A network without connections.
    #[must_use]
    pub fn new(knobs: NetKnobs, rng: Rng) -> Self {
        Self {
            knobs,
            rng,
            connections: BTreeMap::new(),
            cuts: BTreeSet::new(),
            links: BTreeMap::new(),
            agenda: BTreeMap::new(),
            issued: 0,
            scheduled: 0,
            gate: Gate::open(),
            fired: Counters::default(),
        }
    }

    /// Who decides which of its faults happen; at first all do.
    pub fn set_gate(&mut self, gate: Gate) {
        self.gate = gate;
    }

    /// Connects. [`NetEvent::Opened`] or [`NetEvent::Closed`] follows.
    pub fn connect(&mut self, now: SimTime, from: Host, to: Host) -> ConnectionId {
        self.issued += 1;
        let id = ConnectionId(self.issued);
        let nth = self.links.entry((from, to)).or_default();
        *nth += 1;
        let mut fates = Fates::new(&self.rng.child(&format!("{}-{}/{nth}", from.0, to.0)), SLOT);
        let accepted = now.after(self.knobs.latency.draw(&mut fates.draw(now, "accepted")));
        let opened = accepted.after(self.knobs.latency.draw(&mut fates.draw(now, "opened")));
        let pipes = [Pipe::new(opened), Pipe::new(opened)];
        let ends = [EndState::Opening; 2];
        self.connections.insert(id, Connection { hosts: [from, to], ends, pipes, fates });
        let (client, server) = (End { connection: id, side: Side::Client }, End { connection: id, side: Side::Server });
        if self.is_cut(from, to) || self.is_cut(to, from) {
            self.fired.add("net.connect_timed_out");
            self.end_mut(server, EndState::Gone);
            self.schedule(now.after(self.knobs.patience), Happening::Breaks(client, Closed::TimedOut));
        } else {
            self.schedule(accepted, Happening::Opens(server));
            self.schedule(opened, Happening::Opens(client));
        }
        id
    }

    /// Nobody accepts this connection, which the server's end just heard of.
    pub fn refuse(&mut self, now: SimTime, connection: ConnectionId) {
        let client = End { connection, side: Side::Client };
        self.end_mut(client.peer(), EndState::Gone);
        if self.connections.get(&connection).is_some_and(|all| all.end(client) == EndState::Opening) {
            self.end_mut(client, EndState::Refused);
        }
        self.tell(client, now, Closed::Refused);
    }

    /// Sends bytes; [`NetEvent::Sent`] follows when the last of them has left, unless the connection breaks before.
    pub fn send(&mut self, now: SimTime, from: End, tag: SendTag, data: Rope) {
        if let Some(pipe) = self.open_pipe(from) {
            pipe.waiting.push_back(Outgoing::Data(tag, data));
            self.admit(now, from);
        }
    }

    /// Closes after what was sent. The other end hears [`Closed::Orderly`] behind it, this end nothing more.
    pub fn close(&mut self, now: SimTime, from: End) {
        // One that is not there yet can be given up as well; the other end then hears of both.
        let connection = self.connections.get_mut(&from.connection);
        if let Some(connection) = connection.filter(|connection| connection.end(from) != EndState::Gone) {
            connection.pipe_mut(from).waiting.push_back(Outgoing::End);
            self.end_mut(from, EndState::Gone);
            self.admit(now, from);
            self.forget_if_over(from);
        }
    }

    /// This end reads no more, for now.
    pub fn pause(&mut self, end: End) {
        if let Some(connection) = self.connections.get_mut(&end.connection) {
            connection.pipe_mut(end.peer()).reading = Reading::Paused;
        }
    }

    /// This end reads again.
    pub fn resume(&mut self, now: SimTime, end: End) {
        if let Some(connection) = self.connections.get_mut(&end.connection) {
            let pipe = connection.pipe_mut(end.peer());
            if pipe.reading == Reading::Paused {
                pipe.reading = Reading::Flowing;
                self.flow(now, end.peer());
            }
        }
    }

    /// Breaks a connection, as a firewall does that forgot it. What is on its way may or may not arrive.
    pub fn reset(&mut self, now: SimTime, connection: ConnectionId) {
        self.fired.add("net.reset");
        for side in [Side::Client, Side::Server] {
            self.tell(End { connection, side }, now, Closed::Reset);
        }
    }

    /// All processes on a host die at once. Its peers hear, at once or much later.
    pub fn host_died(&mut self, now: SimTime, host: Host) {
        let ends: Vec<_> = self.connections.iter().flat_map(|(id, connection)| connection.ends_of(*id, host)).collect();
        for end in ends {
            self.end_died(now, end);
        }
    }

    /// A process died on a host where another has taken its place: these ends were its own.
    pub fn ends_died(&mut self, now: SimTime, ends: &[End]) {
        for end in ends {
            self.end_died(now, *end);
        }
    }

    /// From now on nothing gets from one host to the other; the other way is another call.
    pub fn cut(&mut self, from: Host, to: Host) {
        self.fired.add("net.cut");
        self.cuts.insert((from, to));
    }

    /// Ends a cut.
    pub fn mend(&mut self, now: SimTime, from: Host, to: Host) {
        self.cuts.remove(&(from, to));
        self.thaw(now, |link| link == (from, to));
    }

    /// Other faults from now on.
    pub fn set_knobs(&mut self, knobs: NetKnobs) {
        self.knobs = knobs;
    }

    /// Ends all cuts, and all faults but latency and the size of buffers.
    pub fn heal(&mut self, now: SimTime) {
        let NetKnobs { latency, bandwidth, buffer, patience, .. } = self.knobs;
        let latency = crate::fault::Latency { tail: crate::fault::Chance::NEVER, ..latency };
        self.knobs = NetKnobs { latency, bandwidth, buffer, patience, ..NetKnobs::CALM };
        self.cuts.clear();
        self.thaw(now, |_| true);
    }

    /// When something happens next.
    #[must_use]
    pub fn next(&self) -> Option<SimTime> {
        self.agenda.first_key_value().map(|((at, _), _)| *at)
    }

    /// The next thing that happens, if its moment has come. Call it until there is none.
    pub fn pop(&mut self, now: SimTime) -> Option<(End, NetEvent)> {
        while let Some(entry) = self.agenda.first_entry()
            && entry.key().0 <= now
        {
            let ((due, _), happening) = entry.remove_entry();
            if let Some(event) = self.happen(now, due, happening) {
                return Some(event);
            }
        }
        None
    }

    /// Connections of which at least one end is not gone.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Which hosts a connection joins: the one that connected, the one that accepted.
    #[must_use]
    pub fn hosts(&self, connection: ConnectionId) -> Option<[Host; 2]> {
        self.connections.get(&connection).map(|connection| connection.hosts)
    }

    /// Faults that fired.
    #[must_use]
    pub const fn fired(&self) -> &Counters {
        &self.fired
    }

    fn is_cut(&self, from: Host, to: Host) -> bool {
        self.cuts.contains(&(from, to))
    }

    fn schedule(&mut self, at: SimTime, what: Happening) {
        self.scheduled += 1;
        self.agenda.insert((at, self.scheduled), what);
    }

    fn open_pipe(&mut self, from: End) -> Option<&mut Pipe> {
        let connection = self.connections.get_mut(&from.connection)?;
        (connection.end(from) == EndState::Open).then(|| connection.pipe_mut(from))
    }

    fn end_mut(&mut self, end: End, state: EndState) {
        if let Some(connection) = self.connections.get_mut(&end.connection) {
            connection.ends[end.side as usize] = state;
        }
    }
}

impl Connection {
    fn end(&self, end: End) -> EndState {
        self.ends[end.side as usize]
    }

    fn pipe_mut(&mut self, sender: End) -> &mut Pipe {
        &mut self.pipes[sender.side as usize]
    }

    /// From which host to which this end sends.
    fn link(&self, sender: End) -> (Host, Host) {
        (self.hosts[sender.side as usize], self.hosts[sender.peer().side as usize])
    }

    fn ends_of(&self, connection: ConnectionId, host: Host) -> Vec<End> {
        let ends = [Side::Client, Side::Server].map(|side| End { connection, side });
        ends.into_iter().filter(|end| self.link(*end).0 == host && self.end(*end) != EndState::Gone).collect()
    }
}
