use super::*;
use karst_core::kafka::CheckedBatch;
use karst_core::machine::{Check, Deadline, Instant as Mono, Job, OpId, OpIds, Outcome, TurnBudget};
use karst_core::session::{Effect, Input};
use karst_core::shard;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::Command;
use std::sync::mpsc;

/// Length of the answer before a close: more than the kernel keeps for a client that does not read.
const LAST: usize = 32 << 20;

/// Echoes what it hears; some first bytes mean something to it.
struct Echo {
    conn: ConnId,
    ops: OpIds,
    unsent: VecDeque<OpId>,
    due: Option<Mono>,
    closed: bool,
    /// A grant is under way.
    owed: bool,
}

impl Echo {
    fn send(&mut self, what: impl Into<karst_core::machine::Rope>, out: &mut Effects<Effect>) {
        let op = self.ops.issue();
        self.unsent.push_back(op);
        out.push(Effect::Send(op, what.into()));
    }
}

impl Machine for Echo {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, now: Now, input: Input, out: &mut Effects<Effect>) {
        assert!(!self.closed || self.owed, "nothing follows the end: {input:?}");
        match input {
            Input::Received(bytes) => match bytes[0] {
                b'P' => out.push(Effect::Pause),
                b'G' => self.owed = true,
                b'T' => self.due = Some(now.mono.after(Duration::from_millis(30))),
                b'C' => {
                    self.send(vec![b'c'; LAST], out);
                    out.push(Effect::Close("asked to".into()));
                }
                b'!' => panic!("planted"),
                b'J' => out.push(Effect::Compute(self.ops.issue(), long_job())),
                _ => self.send(bytes.0, out),
            },
            Input::Sent(op) => assert_eq!(self.unsent.pop_front(), Some(op), "sends leave in order"),
            Input::Mail(karst_core::session::Mail::Parked(_)) => {}
            Input::Computed(_, Outcome::CheckedRecords(verdicts)) => {
                assert!(verdicts.iter().all(Result::is_ok));
                self.send(&b"computed"[..], out);
            }
            Input::Computed(..) => panic!("another job's outcome"),
            Input::Closed => {
                self.closed = true;
                out.push(Effect::Mail(Mail::Shard(shard::Mail::Closed(self.conn))));
            }
            Input::Mail(session::Mail::Credit(pool, bytes)) if self.closed => {
                self.owed = false;
                out.push(Effect::Mail(Mail::Shard(shard::Mail::CreditBack(self.conn, pool, bytes))));
            }
            Input::Mail(session::Mail::Credit(..)) => out.push(Effect::Resume),
            Input::Mail(session::Mail::Halt | session::Mail::Hurry) => {
                out.push(Effect::Close("the broker stops".into()))
            }
            Input::Mail(session::Mail::Answer { .. }) => self.send(&b"answer"[..], out),
            Input::Tick => {
                self.due = None;
                self.send(&b"tick"[..], out);
            }
        }
    }

    fn deadline(&self) -> Option<Deadline> {
        self.due.map(|at| Deadline { at, reason: "asked" })
    }

    fn tick() -> Input {
        Input::Tick
    }

    fn invariants(&self) {}
}

/// Takes some ten milliseconds at least.
fn long_job() -> Job {
    const RECORDS: u32 = 100_000;
    let varint = |value: u32| [value as u8 | 0x80, (value >> 7) as u8 | 0x80, (value >> 14) as u8];
    let records = (0..RECORDS).flat_map(|delta| {
        let [a, b, c] = varint(delta << 1);
        // Length, attributes, timestamp, offset, no key, an empty value, no headers.
        [16, 0, 0, a, b, c, 1, 0, 0]
    });
    let fields = [&[0; 2][..], &(RECORDS - 1).to_be_bytes(), &[0; 16], &[0xff; 14], &RECORDS.to_be_bytes()].concat();
    let covered: Vec<u8> = fields.into_iter().chain(records).collect();
    let length = u32::try_from(covered.len() + 9).expect("a megabyte");
    let crc = crc32c::crc32c(&covered);
    let head = [&[0; 8][..], &length.to_be_bytes(), &[0xff; 4], &[2], &crc.to_be_bytes()].concat();
    let batch = CheckedBatch::check(&[head, covered].concat().into()).expect("a sound batch");
    Job::CheckRecords { batches: vec![batch; 20], inflated: u64::MAX }
}

#[derive(Clone)]
struct Opens;

impl Open for Opens {
    type Session = Echo;

    fn open(&self, conn: ConnId, ends: Ends, _now: Now, out: &mut Effects<Effect>) -> Echo {
        assert!(ends.local.ip().is_loopback() && ends.peer.ip().is_loopback(), "{ends:?}");
        out.push(Effect::Mail(Mail::Shard(shard::Mail::Opened(conn, shard::Arrival::default()))));
        Echo { conn, ops: OpIds::default(), unsent: VecDeque::new(), due: None, closed: false, owed: false }
    }

    fn under_way(_: &Echo) -> impl DoubleEndedIterator<Item = (RequestNumber, Api)> {
        std::iter::empty()
    }

    fn is_over(session: &Echo) -> bool {
        session.closed && !session.owed
    }
}

#[derive(Clone)]
struct Tell(mpsc::Sender<shard::Mail>);

impl Perform<Mail> for Tell {
    fn perform(&mut self, mail: Mail) {
        if let Mail::Shard(mail) = mail {
            let _ = self.0.send(mail);
        }
    }
}

struct Server {
    net: Net,
    address: SocketAddr,
    shard: mpsc::Receiver<shard::Mail>,
}

impl Server {
    fn start(connections: usize) -> Self {
        let listener = bind("--listen", "127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (tell, shard) = mpsc::channel();
        let turn = Turn::new(TurnBudget { inputs: 4, effects: 8 }, Check::Invariants);
        let rules = Rules { connections, turn, clock: Clock::start() };
        let net = Net::start(listener, Sessions::new(2), rules, &Opens, &Tell(tell)).expect("two threads");
        Self { net, address, shard }
    }

    fn open(connections: usize) -> Self {
        let server = Self::start(connections);
        server.net.admit();
        server
    }

    fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(self.address).expect("listening");
        client.set_read_timeout(Some(Duration::from_secs(10))).expect("nonzero");
        client
    }

    fn opened(&self) -> ConnId {
        match self.shard.recv_timeout(Duration::from_secs(10)) {
            Ok(shard::Mail::Opened(conn, _)) => conn,
            other => panic!("not opened: {other:?}"),
        }
    }

    fn closed(&self) -> ConnId {
        match self.shard.recv_timeout(Duration::from_secs(10)) {
            Ok(shard::Mail::Closed(conn)) => conn,
            other => panic!("not closed: {other:?}"),
        }
    }

    fn tell(&self, conn: ConnId, mail: session::Mail) {
        let mut outbox = self.net.sessions.outbox();
        outbox.push(conn, mail);
        outbox.flush();
    }
}

fn read(client: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut into = vec![0; len];
    client.read_exact(&mut into).expect("so many bytes come");
    into
}

#[test]
fn bytes_come_back_in_order_on_many_connections() {
    let server = Server::open(100);
    let clients: Vec<TcpStream> = (0..8).map(|_| server.connect()).collect();
    let conns: Vec<_> = (0..8).map(|_| server.opened()).collect();
    std::thread::scope(|scope| {
        for (client, mut from) in clients.into_iter().enumerate() {
            let mut to = from.try_clone().expect("a handle more");
            let sent: Vec<u8> = (0..5_000_000_u32).map(|at| b'a' + ((at * 31 + client as u32) % 26) as u8).collect();
            let expected = sent.clone();
            scope.spawn(move || {
                for chunk in sent.chunks(77_777) {
                    to.write_all(chunk).expect("open");
                }
            });
            scope.spawn(move || assert!(read(&mut from, expected.len()) == expected));
        }
    });
    assert_eq!(conns.iter().filter(|conn| conn.0 % 2 == 0).count(), 4, "spread over both threads: {conns:?}");
    let mut gone: Vec<_> = (0..8).map(|_| server.closed()).collect();
    gone.sort_unstable();
    assert!(conns.iter().all(|conn| gone.contains(conn)));
}

#[test]
fn a_paused_connection_is_not_read_until_it_is_resumed() {
    let server = Server::open(10);
    let mut client = server.connect();
    let conn = server.opened();
    client.write_all(b"P").expect("open");
    std::thread::sleep(Duration::from_millis(50));
    client.set_nonblocking(true).expect("a socket");
    let chunk = vec![b'x'; 64 << 10];
    // Until the kernel's buffers are full and stay full: nobody reads.
    let (mut written, mut refused_at) = (0, Vec::new());
    while !refused_at.ends_with(&[written; 2]) {
        match client.write(&chunk) {
            Ok(more) => written += more,
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                refused_at.push(written);
                std::thread::sleep(Duration::from_millis(200));
            }
        }
        assert!(written < 64 << 20, "nothing holds the client back");
    }
    client.set_nonblocking(false).expect("a socket");
    server.tell(conn, session::Mail::Credit(shard::Pool::Control, 1));
    assert!(read(&mut client, written).iter().all(|byte| *byte == b'x'));
}

#[test]
fn a_job_comes_back_to_its_session_and_holds_up_nobody() {
    let server = Server::open(10);
    let mut busy = server.connect();
    let mut others = [server.connect(), server.connect()];
    let conns = [server.opened(), server.opened(), server.opened()];
    assert!(conns.iter().any(|conn| conn.0 % 2 == 0) && conns.iter().any(|conn| conn.0 % 2 == 1), "on both threads");
    busy.write_all(b"J").expect("open");
    for _ in 0..3 {
        for other in &mut others {
            other.write_all(b"hello").expect("open");
            assert_eq!(read(other, 5), b"hello");
        }
    }
    busy.set_nonblocking(true).expect("a socket");
    let early = busy.read(&mut [0; 8]).map_err(|error| error.kind());
    assert_eq!(early, Err(io::ErrorKind::WouldBlock), "the others were served before the job was done");
    busy.set_nonblocking(false).expect("a socket");
    assert_eq!(read(&mut busy, 8), b"computed");
}

#[test]
fn closing_flushes_what_was_sent_even_with_input_unread() {
    let server = Server::open(10);
    let mut client = server.connect();
    let conn = server.opened();
    client.write_all(b"C").expect("open");
    let (mut reader, mut all) = (client.try_clone().expect("a handle more"), Vec::new());
    // Written while the answer is on its way: nobody will read it.
    std::thread::sleep(Duration::from_millis(50));
    client.write_all(&[b'z'; 10_000]).expect("open");
    reader.read_to_end(&mut all).expect("ends in order");
    assert_eq!(all, vec![b'c'; LAST]);
    assert_eq!(server.closed(), conn);
}

#[test]
fn a_client_that_never_reads_its_last_answer_is_let_go() {
    let server = Server::open(10);
    let mut client = server.connect();
    let conn = server.opened();
    client.write_all(b"C").expect("open");
    assert!(server.shard.recv_timeout(Duration::from_millis(100)).is_err(), "there is more to send");
    // Asked to close again.
    server.tell(conn, session::Mail::Halt);
    assert_eq!(server.closed(), conn);
    assert!(server.shard.recv_timeout(Duration::from_millis(50)).is_err(), "told once");
}

#[test]
fn mail_finds_its_session_and_that_of_a_lost_one_is_dropped() {
    let server = Server::open(10);
    let (mut first, mut second) = (server.connect(), server.connect());
    let (one, two) = (server.opened(), server.opened());
    let answer = || session::Mail::Answer { to: session::RequestNumber(1), answer: session::Answer::Nothing };
    server.tell(two, answer());
    server.tell(one, answer());
    server.tell(ConnId(4711), answer());
    assert_eq!(read(&mut first, 6), b"answer");
    assert_eq!(read(&mut second, 6), b"answer");
    drop(first);
    let gone = server.closed();
    assert!(gone == one || gone == two);
    server.tell(gone, answer());
}

#[test]
fn a_session_hears_its_mail_until_it_is_over() {
    let server = Server::open(10);
    let mut client = server.connect();
    let conn = server.opened();
    client.write_all(b"G").expect("open");
    drop(client);
    assert_eq!(server.closed(), conn);
    server.tell(conn, session::Mail::Credit(shard::Pool::Control, 7));
    let back = server.shard.recv_timeout(Duration::from_secs(10));
    assert!(matches!(back, Ok(shard::Mail::CreditBack(of, _, 7)) if of == conn), "{back:?}");
    server.net.settle(Duration::from_secs(10));
    assert_eq!(server.net.sessions.connections(), 0);
}

#[test]
fn a_deadline_wakes_the_session() {
    let server = Server::open(10);
    let mut client = server.connect();
    let asked = Instant::now();
    client.write_all(b"T").expect("open");
    assert_eq!(read(&mut client, 4), b"tick");
    assert!(asked.elapsed() >= Duration::from_millis(30));
}

#[test]
fn no_more_connections_than_allowed() {
    let server = Server::open(2);
    let (kept, mut also) = (server.connect(), server.connect());
    server.opened();
    server.opened();
    let mut extra = server.connect();
    assert!(matches!(extra.read(&mut [0]), Ok(0) | Err(_)));
    also.write_all(b"hi").expect("open");
    assert_eq!(read(&mut also, 2), b"hi");
    drop(kept);
    server.closed();
    while server.net.sessions.connections() > 1 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut next = server.connect();
    next.write_all(b"hi").expect("open");
    assert_eq!(read(&mut next, 2), b"hi");
}

#[test]
fn clients_wait_until_they_are_admitted() {
    let server = Server::start(10);
    let mut early = server.connect();
    early.write_all(b"hi").expect("the kernel takes it");
    assert!(server.shard.recv_timeout(Duration::from_millis(50)).is_err());
    server.net.admit();
    server.opened();
    assert_eq!(read(&mut early, 2), b"hi");
}

#[test]
fn an_address_has_one_listener() {
    let server = Server::open(10);
    let refused = bind("--listen", &server.address.to_string()).expect_err("taken");
    assert!(refused.to_string().contains("is in use"), "{refused}");
    assert!(bind("--listen", "nowhere").expect_err("no port").to_string().contains("HOST:PORT"));
    server.net.refuse();
    let until = Instant::now() + Duration::from_secs(10);
    while bind("--listen", &server.address.to_string()).is_err() {
        assert!(Instant::now() < until, "the address is never given back");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn halting_closes_every_connection() {
    let server = Server::open(10);
    let mut clients = [server.connect(), server.connect(), server.connect()];
    for _ in &clients {
        server.opened();
    }
    server.net.halt();
    server.net.settle(Duration::from_secs(10));
    assert_eq!(server.net.sessions.connections(), 0);
    assert!(clients.iter_mut().all(|client| matches!(client.read(&mut [0]), Ok(0))));
}

#[test]
fn a_half_closed_client_counts_as_gone() {
    let server = Server::open(10);
    let client = server.connect();
    let conn = server.opened();
    client.shutdown(Shutdown::Write).expect("open");
    assert_eq!(server.closed(), conn);
}

#[test]
fn a_panic_in_a_session_ends_the_process() {
    let me = std::env::current_exe().expect("tests have a path");
    let child = Command::new(me)
        .args(["net::tests::child_with_a_panicking_session", "--exact", "--ignored", "--nocapture"])
        .output()
        .expect("the test binary starts");
    let said = String::from_utf8_lossy(&child.stderr);
    assert_eq!(child.status.code(), Some(70), "{said}");
    assert!(said.contains("planted") && said.contains("internal error in a connection"), "{said}");
}

#[test]
#[ignore = "run by the test above, in a process of its own"]
fn child_with_a_panicking_session() {
    let server = Server::open(10);
    let mut client = server.connect();
    client.write_all(b"!").expect("open");
    std::thread::sleep(Duration::from_secs(60));
}
