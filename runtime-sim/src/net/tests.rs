use super::*;
use crate::fault::{Chance, Latency};
use core::time::Duration;

const CALM: NetKnobs = NetKnobs::CALM;
const CLIENT: Host = Host(1);
const SERVER: Host = Host(2);

/// A network with one connection, and all that happened at its ends.
struct Wire {
    net: SimNet,
    now: SimTime,
    client: End,
    seen: Vec<(End, NetEvent)>,
}

impl Wire {
    fn new(knobs: NetKnobs, seed: u64) -> Self {
        let mut net = SimNet::new(knobs, Rng::new(seed));
        let connection = net.connect(SimTime::ZERO, CLIENT, SERVER);
        let client = End { connection, side: Side::Client };
        let mut wire = Self { net, now: SimTime::ZERO, client, seen: Vec::new() };
        wire.run();
        assert_eq!(wire.seen, [(client.peer(), NetEvent::Opened), (client, NetEvent::Opened)]);
        wire.seen.clear();
        wire
    }

    fn send(&mut self, from: End, bytes: &[u8]) {
        self.net.send(self.now, from, SendTag(bytes.len() as u64), Rope::from(bytes.to_vec()));
    }

    fn run(&mut self) {
        self.run_until(SimTime::NEVER);
    }

    fn run_until(&mut self, until: SimTime) {
        while let Some(next) = self.net.next().filter(|next| *next <= until) {
            assert!(next >= self.now, "time goes forward");
            self.now = next;
            while let Some(event) = self.net.pop(self.now) {
                self.seen.push(event);
            }
        }
    }

    fn received(&self, at: End) -> Vec<u8> {
        let of = self.seen.iter().filter(|(end, _)| *end == at);
        of.filter_map(|(_, event)| if let NetEvent::Received(bytes) = event { Some(bytes.to_vec()) } else { None })
            .flatten()
            .collect()
    }

    fn chunks(&self, at: End) -> Vec<usize> {
        let of = self.seen.iter().filter(|(end, _)| *end == at);
        of.filter_map(|(_, event)| if let NetEvent::Received(bytes) = event { Some(bytes.len()) } else { None })
            .collect()
    }

    fn closed(&self, at: End) -> Option<Closed> {
        self.seen.iter().find_map(|(end, event)| match event {
            NetEvent::Closed(why) if *end == at => Some(*why),
            _ => None,
        })
    }
}

fn text(len: usize) -> Vec<u8> {
    (0..len).map(|n| n as u8).collect()
}

/// Many sends in both directions over several connections: returns what fired.
fn exercise(knobs: NetKnobs) -> Counters {
    let mut fired = Counters::default();
    for seed in 0..100 {
        let mut wire = Wire::new(knobs, seed);
        for n in 0..10 {
            wire.send(wire.client, &text(n * 50));
            wire.send(wire.client.peer(), &text(n));
            wire.run();
        }
        fired.merge(wire.net.fired());
    }
    fired
}

#[test]
fn a_calm_wire_delivers_everything_in_order_and_nothing_fires() {
    let mut wire = Wire::new(CALM, 1);
    let (client, server) = (wire.client, wire.client.peer());
    wire.send(client, &text(1000));
    wire.send(client, &[7; 10]);
    wire.send(server, b"answer");
    wire.run();
    assert_eq!(wire.received(server), [text(1000), vec![7; 10]].concat());
    assert_eq!(wire.received(client), b"answer");
    let sent = |len| NetEvent::Sent(SendTag(len));
    for (end, len) in [(client, 1000), (client, 10), (server, 6)] {
        assert_eq!(wire.seen.iter().filter(|seen| **seen == (end, sent(len))).count(), 1);
    }
    wire.send(client, b"bye");
    wire.net.close(wire.now, client);
    wire.run();
    assert!(wire.received(server).ends_with(b"bye"), "closing comes behind what was sent");
    assert_eq!((wire.closed(server), wire.closed(client)), (Some(Closed::Orderly), None));
    assert_eq!(wire.net.connections(), 0);
    assert!(exercise(CALM).is_empty());
}

#[test]
fn bytes_are_cut_anywhere_and_keep_their_order() {
    let mut lengths = BTreeSet::new();
    for seed in 0..200 {
        let mut wire = Wire::new(NetKnobs { split: Chance::percent(80), ..CALM }, seed);
        let (client, server) = (wire.client, wire.client.peer());
        wire.send(client, &text(40));
        wire.send(client, &text(60));
        wire.run();
        assert_eq!(wire.received(server), [text(40), text(60)].concat());
        lengths.extend(wire.chunks(server));
    }
    assert!(lengths.len() > 60, "only {lengths:?}");
    assert!(lengths.contains(&1) && lengths.contains(&39));
}

#[test]
fn each_knob_fires_alone() {
    let some = Chance::percent(10);
    let cases = [
        ("net.split", NetKnobs { split: some, ..CALM }),
        ("net.stall", NetKnobs { stall: some, ..CALM }),
        ("net.reset", NetKnobs { reset: some, discard: Chance::NEVER, ..CALM }),
    ];
    for (kind, knobs) in cases {
        let fired = exercise(knobs);
        assert!(fired.get(kind) > 20, "{kind} fired {} times", fired.get(kind));
        assert_eq!(fired.iter().count(), 1, "{kind} alone, not {fired:?}");
    }
    let with_reset = exercise(NetKnobs { reset: some, half_open: some, ..CALM });
    assert!(with_reset.get("net.half_open") > 0 && with_reset.get("net.discarded") > 0);
    assert!(exercise(NetKnobs { half_open: Chance::ALWAYS, discard: Chance::ALWAYS, ..CALM }).is_empty());
}

#[test]
fn a_break_keeps_a_prefix_and_tells_both_ends_once() {
    let mut lengths = BTreeSet::new();
    for seed in 0..300 {
        let mut wire = Wire::new(NetKnobs { reset: Chance::ALWAYS, discard: Chance::percent(20), ..CALM }, seed);
        let (client, server) = (wire.client, wire.client.peer());
        wire.send(client, &text(30));
        wire.send(client, b"vanishes");
        wire.run();
        let received = wire.received(server);
        assert!(text(30).starts_with(&received), "a prefix, and nothing behind it");
        lengths.insert(received.len());
        assert_eq!(wire.net.fired().get("net.reset"), 1, "what is broken does not break again");
        for end in [client, server] {
            let closes = |(at, event): &&(End, NetEvent)| *at == end && matches!(event, NetEvent::Closed(_));
            assert_eq!(wire.seen.iter().filter(closes).count(), 1);
            assert_eq!(wire.closed(end), Some(Closed::Reset));
        }
        assert_eq!(wire.net.connections(), 0);
    }
    assert!(lengths.len() > 25, "at any byte, not only {lengths:?}");
}

#[test]
fn a_half_open_side_hears_late_and_talks_to_nobody() {
    let knobs = NetKnobs { reset: Chance::ALWAYS, half_open: Chance::ALWAYS, ..CALM };
    let mut unaware = BTreeSet::new();
    for seed in 0..50 {
        let mut wire = Wire::new(knobs, seed);
        wire.send(wire.client, &text(30));
        wire.run_until(wire.now.after(Duration::from_millis(500)));
        let told = [wire.client, wire.client.peer()].map(|end| wire.closed(end).is_some());
        assert!(told != [true, true], "one side does not know");
        unaware.insert(told);
        wire.run();
        assert_eq!(wire.net.connections(), 0, "in the end it does");
    }
    assert!(unaware.contains(&[true, false]) && unaware.contains(&[false, true]));
}

#[test]
fn a_slow_reader_holds_its_sender_up() {
    let mut wire = Wire::new(NetKnobs { buffer: 100, ..CALM }, 1);
    let (client, server) = (wire.client, wire.client.peer());
    wire.net.pause(server);
    for _ in 0..4 {
        wire.send(client, &text(60));
    }
    wire.run();
    assert_eq!(wire.seen, vec![(client, NetEvent::Sent(SendTag(60))); 2], "no more fits");
    wire.net.resume(wire.now, server);
    wire.run();
    assert_eq!(wire.received(server).len(), 240);
    assert_eq!(wire.seen.iter().filter(|(end, _)| *end == client).count(), 4);
}

#[test]
fn a_partition_holds_up_until_it_is_mended() {
    let mut wire = Wire::new(CALM, 1);
    let (client, server) = (wire.client, wire.client.peer());
    wire.net.cut(CLIENT, SERVER);
    wire.send(client, b"held");
    wire.send(server, b"flows");
    wire.run_until(SimTime::ZERO.after(CALM.patience / 2));
    assert_eq!((wire.received(server), wire.received(client)), (vec![], b"flows".to_vec()), "one way only");
    wire.now = SimTime::ZERO.after(CALM.patience / 2);
    wire.net.mend(wire.now, CLIENT, SERVER);
    wire.run();
    assert_eq!(wire.received(server), b"held");
    assert_eq!((wire.closed(client), wire.closed(server)), (None, None));
    assert_eq!(wire.net.fired().get("net.held_up"), 1);
}

#[test]
fn patience_ends() {
    let mut wire = Wire::new(CALM, 1);
    let (client, server) = (wire.client, wire.client.peer());
    wire.net.cut(CLIENT, SERVER);
    wire.send(client, b"lost");
    wire.run();
    assert_eq!((wire.closed(client), wire.closed(server)), (Some(Closed::TimedOut), Some(Closed::TimedOut)));
    assert_eq!(wire.received(server), b"");
    wire.seen.clear();
    let connection = wire.net.connect(wire.now, CLIENT, SERVER);
    wire.run();
    let end = End { connection, side: Side::Client };
    assert_eq!(wire.seen, [(end, NetEvent::Closed(Closed::TimedOut))]);
    assert_eq!(wire.net.connections(), 0);
}

#[test]
fn nobody_listens() {
    let mut net = SimNet::new(CALM, Rng::new(1));
    let connection = net.connect(SimTime::ZERO, CLIENT, SERVER);
    let accepted = net.next().unwrap();
    let client = End { connection, side: Side::Client };
    assert_eq!(net.pop(accepted), Some((client.peer(), NetEvent::Opened)));
    net.refuse(accepted, connection);
    let mut seen = Vec::new();
    while let Some(next) = net.next() {
        seen.extend(net.pop(next));
    }
    assert!(seen.contains(&(client, NetEvent::Closed(Closed::Refused))));
    assert_eq!(net.connections(), 0);
}

#[test]
fn a_dead_hosts_peers_hear_at_once_or_late() {
    for (half_open, why, early) in [(Chance::NEVER, Closed::Reset, true), (Chance::ALWAYS, Closed::TimedOut, false)] {
        let mut wire = Wire::new(NetKnobs { half_open, ..CALM }, 1);
        let (client, server) = (wire.client, wire.client.peer());
        wire.send(server, b"last words");
        wire.net.host_died(wire.now, SERVER);
        wire.send(client, b"to nobody");
        wire.run_until(wire.now.after(Duration::from_millis(500)));
        assert_eq!(wire.closed(client).is_some(), early);
        assert_eq!(wire.received(client).is_empty(), !early);
        wire.run();
        assert_eq!((wire.closed(client), wire.closed(server)), (Some(why), None));
        assert_eq!(wire.net.connections(), 0);
    }
}

#[test]
fn bandwidth_and_latency_add_up() {
    let latency = Latency::uniform(Duration::from_millis(1), Duration::from_millis(1));
    let mut wire = Wire::new(NetKnobs { latency, bandwidth: 1_000_000, ..CALM }, 1);
    let start = wire.now;
    wire.send(wire.client, &text(5000));
    wire.send(wire.client, &text(5000));
    wire.run();
    assert_eq!(wire.now.since(start), Duration::from_millis(10));
}

#[test]
fn a_connection_given_up_before_it_is_there_is_closed_at_the_other_end() {
    for seed in 0..50 {
        let mut net = SimNet::new(NetKnobs::CALM, Rng::new(seed));
        let connection = net.connect(SimTime::ZERO, CLIENT, SERVER);
        let client = End { connection, side: Side::Client };
        net.close(SimTime::ZERO, client);
        let mut wire = Wire { net, now: SimTime::ZERO, client, seen: Vec::new() };
        wire.run();
        let server = client.peer();
        assert_eq!(wire.seen, [(server, NetEvent::Opened), (server, NetEvent::Closed(Closed::Orderly))]);
    }
}
