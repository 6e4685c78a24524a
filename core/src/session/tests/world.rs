//! What is around a session: a shell, a shard that keeps books on its credit, and a clock.

use super::*;
use crate::machine::{Instant, Job, OpId, WallTime};
use alloc::collections::{BTreeMap, VecDeque};

/// The idle credit that the shard grants.
pub(super) const IDLE: u64 = 1000;

const CONN: ConnId = ConnId(5);

pub(super) fn limits() -> Limits {
    Limits { request: 8 << 20, stalled_connection: PATIENCE, crowded_patience: HURRY, ..Limits::default() }
}

pub(super) struct World {
    pub(super) session: Session,
    out: Effects<Effect>,
    now: Now,
    /// What the client has read.
    pub(super) client: Vec<u8>,
    sends: VecDeque<(OpId, Rope)>,
    pub(super) hold_sends: bool,
    jobs: VecDeque<(OpId, Job)>,
    pub(super) hold_jobs: bool,
    pub(super) paused: bool,
    /// The reason with which the session closed.
    pub(super) why: Option<String>,
    pub(super) requests: Vec<Numbered>,
    answered: Vec<bool>,
    /// What the shard heard, but for requests.
    pub(super) mail: Vec<&'static str>,
    /// What was wanted and not granted.
    pub(super) wishes: Vec<(Pool, u64)>,
    pub(super) hold_grants: bool,
    books: BTreeMap<Pool, u64>,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with_idle_credit(&limits())
    }

    pub(super) fn with_idle_credit(limits: &Limits) -> Self {
        let mut world = Self::without_credit(limits);
        world.credit(Pool::Control, IDLE);
        world
    }

    pub(super) fn without_idle_credit() -> Self {
        Self::without_credit(&limits())
    }

    fn without_credit(limits: &Limits) -> Self {
        let mut world = Self {
            session: Session::new(CONN, limits),
            out: Effects::default(),
            now: Now { mono: Instant(1), wall: WallTime(0) },
            client: Vec::new(),
            sends: VecDeque::new(),
            hold_sends: false,
            jobs: VecDeque::new(),
            hold_jobs: false,
            paused: false,
            why: None,
            requests: Vec::new(),
            answered: Vec::new(),
            mail: Vec::new(),
            wishes: Vec::new(),
            hold_grants: false,
            books: BTreeMap::new(),
        };
        world.session.opened(world.now, shard::Arrival::default(), &mut world.out);
        world.perform();
        world
    }

    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.input(Input::Received(Payload(bytes::Bytes::copy_from_slice(bytes))));
    }

    /// The shard answers the request that it got as the `at`th.
    pub(super) fn answer(&mut self, at: usize, answer: Answer) {
        assert!(!core::mem::replace(&mut self.answered[at], true));
        let to = self.requests[at].number;
        self.input(Input::Mail(Mail::Answer { to, answer }));
    }

    /// The shard lets the request that it got as the `at`th wait for other clients.
    pub(super) fn park(&mut self, at: usize) {
        let number = self.requests[at].number;
        self.input(Input::Mail(Mail::Parked(number)));
    }

    /// Others wait for what it holds.
    pub(super) fn hurry(&mut self) {
        self.input(Input::Mail(Mail::Hurry));
    }

    pub(super) fn answer_all(&mut self, text: &'static str) {
        while let Some(at) = self.unanswered().first().copied() {
            self.answer(at, body(text));
        }
    }

    pub(super) fn unanswered(&self) -> Vec<usize> {
        self.answered.iter().enumerate().filter(|(_, answered)| !**answered).map(|(at, _)| at).collect()
    }

    pub(super) fn credit(&mut self, pool: Pool, bytes: u64) {
        *self.books.entry(pool).or_default() += bytes;
        self.input(Input::Mail(Mail::Credit(pool, bytes)));
    }

    /// A grant that crossed the end of the connection: the shard has taken it back.
    pub(super) fn late_credit(&mut self, pool: Pool, bytes: u64) {
        self.input(Input::Mail(Mail::Credit(pool, bytes)));
    }

    /// Grants what is wanted.
    pub(super) fn grant(&mut self) {
        for (pool, bytes) in core::mem::take(&mut self.wishes) {
            self.credit(pool, bytes);
        }
    }

    /// What the session holds from a pool, by the shard's books.
    pub(super) fn granted(&self, pool: Pool) -> u64 {
        self.books.get(&pool).copied().unwrap_or(0)
    }

    pub(super) fn unsent(&self) -> usize {
        self.sends.len()
    }

    /// The client reads one send.
    pub(super) fn release_send(&mut self) {
        if let Some((op, rope)) = self.sends.pop_front() {
            self.client.extend_from_slice(&rope.to_bytes());
            self.input(Input::Sent(op));
        }
    }

    pub(super) fn release_sends(&mut self) {
        while !self.sends.is_empty() {
            self.release_send();
        }
    }

    pub(super) fn jobs(&self) -> usize {
        self.jobs.len()
    }

    /// A job comes back.
    pub(super) fn release_job(&mut self) {
        if let Some((op, job)) = self.jobs.pop_front() {
            self.input(Input::Computed(op, job.run()));
        }
    }

    /// A job comes back under a number that is not its own.
    pub(super) fn misdeliver_job(&mut self) {
        if let Some((OpId(op), job)) = self.jobs.pop_front() {
            self.input(Input::Computed(OpId(op + 1), job.run()));
        }
    }

    /// A job comes back twice.
    pub(super) fn repeat_job(&mut self) {
        self.jobs.extend(self.jobs.front().cloned());
        self.release_job();
        self.release_job();
    }

    pub(super) fn halt(&mut self) {
        self.input(Input::Mail(Mail::Halt));
    }

    pub(super) fn close(&mut self) {
        self.input(Input::Closed);
    }

    pub(super) fn mono(&self) -> Instant {
        self.now.mono
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now.mono = self.now.mono.after(time);
        if self.session.deadline().is_some_and(|due| due.at <= self.now.mono) {
            self.input(Input::Tick);
        }
    }

    /// Nothing is left of the session anywhere.
    pub(super) fn assert_settled(&self) {
        assert!(self.session.is_over());
        assert_eq!(self.mail.last(), Some(&"closed"));
        assert!(self.books.values().all(|bytes| *bytes == 0), "credit is left: {:?}", self.books);
    }

    fn input(&mut self, input: Input) {
        self.session.handle(self.now, input, &mut self.out);
        self.session.invariants();
        self.perform();
    }

    fn perform(&mut self) {
        let effects: Vec<Effect> = self.out.drain().collect();
        for effect in effects {
            match effect {
                Effect::Send(op, rope) => {
                    assert_eq!(self.why, None, "nothing is sent after closing");
                    self.sends.push_back((op, rope));
                }
                Effect::Compute(op, job) => {
                    self.jobs.push_back((op, job));
                    assert_eq!(self.jobs.len(), 1, "a connection takes one thread");
                }
                Effect::Pause => assert!(!core::mem::replace(&mut self.paused, true)),
                Effect::Resume => assert!(core::mem::replace(&mut self.paused, false)),
                Effect::Close(why) => assert_eq!(self.why.replace(why), None, "closed once"),
                Effect::Mail(crate::mail::Mail::Shard(mail)) => self.post(mail),
                Effect::Mail(other) => panic!("a session writes to the shard only: {other:?}"),
            }
        }
        if !self.hold_sends {
            self.release_sends();
        }
        if !self.hold_jobs {
            self.release_job();
        }
        if !self.hold_grants && !self.wishes.is_empty() {
            self.grant();
        }
    }

    fn post(&mut self, mail: shard::Mail) {
        assert!(!self.session.is_over() || self.mail.last() != Some(&"closed"), "nothing after closed: {mail:?}");
        match mail {
            shard::Mail::Opened(CONN, _) => self.mail.push("opened"),
            shard::Mail::Closed(CONN) => {
                self.mail.push("closed");
                self.books.clear();
                self.wishes.clear();
            }
            shard::Mail::Request(CONN, numbered) => {
                self.requests.push(numbered);
                self.answered.push(false);
            }
            shard::Mail::CreditWanted(CONN, pool, bytes) => self.wishes.push((pool, bytes)),
            shard::Mail::CreditBack(CONN, pool, bytes) => {
                self.mail.push("back");
                let held = self.books.entry(pool).or_default();
                *held = held.checked_sub(bytes).expect("no more comes back than was granted");
            }
            other => panic!("not a session's: {other:?}"),
        }
    }
}
