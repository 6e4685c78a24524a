//! How bytes, ends and breaks travel.

use super::pipe::{Outgoing, Piece, Pipe, Reading, SendTag};
use super::{Closed, Connection, End, EndState, Happening, Host, NetEvent, NetKnobs, SimNet};
use crate::fates::{Fates, apart};
use crate::time::SimTime;
use core::time::Duration;
use karst_core::machine::{Payload, Rng, Rope};

impl SimNet {
    /// Takes what waits at this end, as far as there is room.
    pub(super) fn admit(&mut self, now: SimTime, from: End) {
        let buffer = self.knobs.buffer.max(1);
        while let Some(connection) = self.connections.get_mut(&from.connection) {
            let pipe = connection.pipe_mut(from);
            if pipe.held >= buffer {
                break;
            }
            match pipe.waiting.pop_front() {
                None => break,
                Some(Outgoing::End) => self.enter_mark(now, from, Piece::End, Duration::ZERO),
                Some(Outgoing::Data(tag, data)) => self.take(now, from, tag, &data),
            }
        }
    }

    /// One send leaves its host.
    fn take(&mut self, now: SimTime, from: End, tag: SendTag, data: &Rope) {
        let knobs = self.knobs;
        let Some(connection) = self.connections.get_mut(&from.connection) else { return };
        let trouble = Trouble::draw(&knobs, data.len(), &mut connection.fates.draw(now, (from.side, "send")));
        let Trouble { latency, stall, breaks_at, discards, .. } = trouble;
        let pipe = connection.pipe_mut(from);
        let stall = stall.filter(|_| self.gate.happens("net.stall")).unwrap_or_default();
        let breaks_at = breaks_at.filter(|_| !pipe.broken && self.gate.happens("net.reset"));
        let at = now.max(pipe.last_arrival()).after(transfer(&knobs, data.len())).max(now.after(latency + stall));
        let intact = breaks_at.unwrap_or(data.len());
        if !pipe.broken {
            push_prefix(pipe, at, data, intact);
        }
        let first = pipe.next_arrival();
        if stall > Duration::ZERO {
            self.fired.add("net.stall");
        }
        self.schedule(now, Happening::Left(from, tag));
        if let Some(first) = first {
            self.flow(first.max(now), from);
        }
        if breaks_at.is_some() {
            self.fired.add("net.reset");
            if discards && self.gate.happens("net.discarded") {
                self.fired.add("net.discarded");
                self.pipe(from, Pipe::discard);
            }
            self.break_off(now, from, trouble);
        }
    }

    /// The connection is broken behind what this end just sent. One side may not notice for a while.
    fn break_off(&mut self, now: SimTime, from: End, trouble: Trouble) {
        let Trouble { latency, half_open, .. } = trouble;
        let half_open = half_open.filter(|_| self.gate.happens("net.half_open"));
        let (mine, theirs) = match half_open {
            None => (Duration::ZERO, Duration::ZERO),
            Some((Unaware::Sender, by)) => (by, Duration::ZERO),
            Some((Unaware::Receiver, by)) => (Duration::ZERO, by),
        };
        if half_open.is_some() {
            self.fired.add("net.half_open");
        }
        self.enter_mark(now, from, Piece::Break, theirs);
        self.schedule(now.after(latency + mine), Happening::Breaks(from, Closed::Reset));
    }

    /// The end of what this end sends, in order behind it.
    fn enter_mark(&mut self, now: SimTime, from: End, mark: Piece, delay: Duration) {
        let knobs = self.knobs;
        let Some(connection) = self.connections.get_mut(&from.connection) else { return };
        let latency = knobs.latency.draw(&mut connection.fates.draw(now, (from.side, "mark")));
        let pipe = connection.pipe_mut(from);
        if !pipe.broken {
            pipe.push(now.max(pipe.last_arrival()).after(delay).max(now.after(latency)), mark);
            pipe.broken = true;
        }
        let first = pipe.next_arrival().map_or(now, |first| first.max(now));
        self.flow(first, from);
    }

    pub(super) fn end_died(&mut self, now: SimTime, end: End) {
        let knobs = self.knobs;
        let Some(connection) = self.connections.get_mut(&end.connection) else { return };
        let mut rng = connection.fates.draw(now, (end.side, "died"));
        let silent = half_open(&knobs, &mut rng).filter(|_| self.gate.happens("net.half_open"));
        connection.ends[end.side as usize] = EndState::Gone;
        let pipe = connection.pipe_mut(end);
        pipe.waiting.clear();
        match silent {
            Some((_, by)) => {
                pipe.discard();
                self.fired.add("net.half_open");
                self.schedule(now.after(by), Happening::Breaks(end.peer(), Closed::TimedOut));
            }
            // The kernel says goodbye for its dead process: what it had taken still arrives.
            None => self.enter_mark(now, end, Piece::Break, Duration::ZERO),
        }
        self.forget_if_over(end);
    }

    /// This end hears soon that the connection is gone.
    pub(super) fn tell(&mut self, end: End, now: SimTime, why: Closed) {
        let knobs = self.knobs;
        if let Some(connection) = self.connections.get_mut(&end.connection) {
            let latency = knobs.latency.draw(&mut connection.fates.draw(now, (end.side, "told")));
            self.schedule(now.after(latency), Happening::Breaks(end, why));
        }
    }

    pub(super) fn thaw(&mut self, now: SimTime, is_mended: impl Fn((Host, Host)) -> bool) {
        let mut flowing = Vec::new();
        for (id, connection) in &mut self.connections {
            for side in [super::Side::Client, super::Side::Server] {
                let end = End { connection: *id, side };
                if is_mended(connection.link(end)) && connection.pipe_mut(end).frozen.take().is_some() {
                    flowing.push(end);
                }
            }
        }
        for end in flowing {
            self.flow(now, end);
        }
    }

    /// Looks at what `sender` sent at that moment, unless it does so earlier anyway.
    pub(super) fn flow(&mut self, at: SimTime, sender: End) {
        let Some(connection) = self.connections.get_mut(&sender.connection) else { return };
        let pipe = connection.pipe_mut(sender);
        if pipe.flows_at.is_none_or(|earlier| at < earlier) {
            pipe.flows_at = Some(at);
            self.schedule(at, Happening::Flows(sender));
        }
    }

    /// What was due at `due` happens now.
    pub(super) fn happen(&mut self, now: SimTime, due: SimTime, what: Happening) -> Option<(End, NetEvent)> {
        match what {
            Happening::Opens(end) => self.opens(end),
            Happening::Flows(sender) => {
                let pipe = self.connections.get_mut(&sender.connection)?.pipe_mut(sender);
                // Otherwise it was looked at earlier than planned.
                (pipe.flows_at == Some(due)).then(|| pipe.flows_at = None)?;
                self.flows(now, sender)
            }
            Happening::Left(end, tag) => self.is_open(end).then_some((end, NetEvent::Sent(tag))),
            Happening::Breaks(end, why) => self.breaks(end, why),
        }
    }

    fn opens(&mut self, end: End) -> Option<(End, NetEvent)> {
        let connection = self.connections.get_mut(&end.connection)?;
        if connection.end(end) != EndState::Opening {
            return None;
        }
        connection.ends[end.side as usize] = EndState::Open;
        Some((end, NetEvent::Opened))
    }

    fn breaks(&mut self, end: End, why: Closed) -> Option<(End, NetEvent)> {
        let connection = self.connections.get_mut(&end.connection)?;
        if connection.end(end) == EndState::Gone {
            return None;
        }
        connection.ends[end.side as usize] = EndState::Gone;
        connection.pipe_mut(end).waiting.clear();
        self.forget_if_over(end);
        Some((end, NetEvent::Closed(why)))
    }

    /// The other end reads something of what `sender` sent, if it can.
    fn flows(&mut self, now: SimTime, sender: End) -> Option<(End, NetEvent)> {
        let reader = sender.peer();
        let knobs = self.knobs;
        let connection = self.connections.get_mut(&sender.connection)?;
        let next = connection.pipe_mut(sender).next_arrival()?;
        if next > now {
            self.flow(next, sender);
            return None;
        }
        let link = connection.link(sender);
        if self.cuts.contains(&link) {
            return self.held_up(now, sender);
        }
        let is_reading = connection.end(reader) != EndState::Gone;
        let (fates, pipe) = connection.split(sender);
        if !is_reading {
            // Nobody is there to read: it vanishes, and makes room for more to vanish.
            pipe.discard();
            self.admit_waiting(now, sender);
            return None;
        }
        if pipe.reading == Reading::Paused {
            return None;
        }
        if let Some(mark) = pipe.take_mark(now) {
            let why = if matches!(mark, Piece::End) { Closed::Orderly } else { Closed::Reset };
            return self.breaks(reader, why);
        }
        let readable = pipe.readable(now);
        let (len, gap) = chunk(&knobs, readable, &mut fates.draw(now, (sender.side, "read")));
        let len = if len < readable && self.gate.happens("net.split") { len } else { readable };
        let bytes = pipe.read(len);
        let next = pipe.next_arrival().map(|at| if len < readable { now.after(gap) } else { at.max(now) });
        if len < readable {
            self.fired.add("net.split");
        }
        if let Some(next) = next {
            self.flow(next, sender);
        }
        self.admit_waiting(now, sender);
        Some((reader, NetEvent::Received(Payload(bytes))))
    }

    fn admit_waiting(&mut self, now: SimTime, sender: End) {
        if self.connections.get_mut(&sender.connection).is_some_and(|all| !all.pipe_mut(sender).waiting.is_empty()) {
            self.admit(now, sender);
        }
    }

    /// A partition holds this pipe up. In the end its sender gives up; the reader hears of that even later.
    fn held_up(&mut self, now: SimTime, sender: End) -> Option<(End, NetEvent)> {
        let knobs = self.knobs;
        let connection = self.connections.get_mut(&sender.connection)?;
        let later = knobs.half_open_for.draw(&mut connection.fates.draw(now, (sender.side, "held up")));
        let pipe = connection.pipe_mut(sender);
        if pipe.frozen.is_none() {
            self.fired.add("net.held_up");
        }
        let patience = pipe.frozen.get_or_insert(now).after(knobs.patience);
        if now < patience {
            self.flow(patience, sender);
            return None;
        }
        pipe.discard();
        pipe.broken = true;
        self.fired.add("net.gave_up");
        self.schedule(now.after(later), Happening::Breaks(sender.peer(), Closed::TimedOut));
        self.breaks(sender, Closed::TimedOut)
    }

    fn is_open(&self, end: End) -> bool {
        self.connections.get(&end.connection).is_some_and(|connection| connection.end(end) == EndState::Open)
    }

    fn pipe(&mut self, sender: End, change: impl FnOnce(&mut Pipe)) {
        if let Some(connection) = self.connections.get_mut(&sender.connection) {
            change(connection.pipe_mut(sender));
        }
    }

    pub(super) fn forget_if_over(&mut self, end: End) {
        if self.connections.get(&end.connection).is_some_and(|all| all.ends == [EndState::Gone; 2]) {
            self.connections.remove(&end.connection);
        }
    }
}

/// Who does not notice that a connection broke.
#[derive(Clone, Copy, Debug)]
enum Unaware {
    Sender,
    Receiver,
}

/// What one send meets.
#[derive(Clone, Copy, Debug)]
struct Trouble {
    latency: Duration,
    stall: Option<Duration>,
    breaks_at: Option<usize>,
    discards: bool,
    half_open: Option<(Unaware, Duration)>,
}

impl Trouble {
    fn draw(knobs: &NetKnobs, len: usize, rng: &mut Rng) -> Self {
        let stalls = knobs.stall.fires(rng);
        let stall_for = knobs.stall_for.draw(&mut apart(rng));
        let breaks = knobs.reset.fires(rng);
        let at = rng.between(0, len as u64) as usize;
        Self {
            latency: knobs.latency.draw(&mut apart(rng)),
            stall: stalls.then_some(stall_for),
            breaks_at: breaks.then_some(at),
            discards: knobs.discard.fires(rng),
            half_open: half_open(knobs, rng),
        }
    }
}

fn half_open(knobs: &NetKnobs, rng: &mut Rng) -> Option<(Unaware, Duration)> {
    let fires = knobs.half_open.fires(rng);
    let who = if rng.chance(1, 2) { Unaware::Sender } else { Unaware::Receiver };
    let by = knobs.half_open_for.draw(rng);
    fires.then_some((who, by))
}

/// How many of the readable bytes come at once, and how long the rest takes.
fn chunk(knobs: &NetKnobs, readable: usize, rng: &mut Rng) -> (usize, Duration) {
    let splits = knobs.split.fires(rng);
    let gap = knobs.gap.draw(&mut apart(rng));
    let part = part(readable, rng);
    (if splits { part } else { readable }, gap)
}

/// Some of so many bytes, at least one: often just one, often all but one, otherwise of any order of magnitude.
fn part(of: usize, rng: &mut Rng) -> usize {
    let of = of as u64;
    let octave = rng.below(u64::from(of.max(1).ilog2()) + 1);
    let some = 1 + rng.below(2 << octave);
    let part = match rng.below(4) {
        0 => 1,
        1 => of.saturating_sub(1),
        _ => some,
    };
    part.clamp(1, of) as usize
}

impl Connection {
    fn split(&mut self, sender: End) -> (&mut Fates, &mut Pipe) {
        (&mut self.fates, &mut self.pipes[sender.side as usize])
    }
}

fn push_prefix(pipe: &mut Pipe, at: SimTime, data: &Rope, mut intact: usize) {
    for piece in data.pieces() {
        let len = piece.len().min(intact);
        if len > 0 {
            pipe.push(at, Piece::Data(piece.slice(..len)));
        }
        intact -= len;
    }
}

fn transfer(knobs: &NetKnobs, len: usize) -> Duration {
    if knobs.bandwidth == 0 {
        return Duration::ZERO;
    }
    let nanos = u128::from(len as u64) * 1_000_000_000 / u128::from(knobs.bandwidth);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}
