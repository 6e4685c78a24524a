//! One connection: a socket, and the session that decides what it means.
//!
//! ```text
//!   Open ──Effect::Close──► Closing: sends what is queued ──► Gone: the session hears `Closed`, and mail until it is over
//!     └──── end of stream, error ─────────────────────────────┘
//! ```

use super::io_thread::{LocalMailbox, Shared};
use super::outgoing::{Outgoing, SLICES};
use super::requests::Requests;
use crate::exit::PanicGuard;
use crate::monitor::metrics::IoMetrics;
use crate::owner::Perform;
use bytes::{Bytes, BytesMut};
use karst_core::id::ConnId;
use karst_core::machine::{Effects, Inbox, Instant as Mono, Job, Machine, OpId};
use karst_core::mail::Mail;
use karst_core::session::{Effect, Input};
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{spawn_blocking, spawn_local};
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tracing::debug;

/// Bytes asked of the socket at once.
const READ: usize = 256 << 10;

/// A read buffer with less room than this is not worth a system call.
const ROOM: usize = 64 << 10;

/// What arrives in smaller pieces is copied, so that it does not pin a whole read buffer.
const COPIED: usize = 16 << 10;

/// A connection being closed may take so long to send what is queued.
const FLUSH: Duration = Duration::from_secs(5);

/// After its last byte a client has so long to read and close.
const LINGER: Duration = Duration::from_secs(1);

pub(super) struct Connection<M: Machine, P> {
    id: ConnId,
    peer: SocketAddr,
    /// Until it is gone.
    stream: Option<TcpStream>,
    session: M,
    inbox: Inbox<M::Input>,
    effects: Effects<M::Effect>,
    outgoing: Outgoing,
    mailbox: Rc<LocalMailbox>,
    shared: Rc<Shared<P>>,
    state: State,
    reading: Reading,
    alarm: Option<(Instant, Pin<Box<Sleep>>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Closing { until: Instant },
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    On,
    Paused,
}

impl<M, P> Connection<M, P>
where
    M: Machine<Input = Input, Effect = Effect>,
    P: Perform<Mail>,
{
    pub(super) fn new(
        id: ConnId,
        (stream, peer): (TcpStream, SocketAddr),
        session: M,
        effects: Effects<Effect>,
        mailbox: Rc<LocalMailbox>,
        shared: Rc<Shared<P>>,
    ) -> Self {
        Self {
            id,
            peer,
            stream: Some(stream),
            session,
            inbox: Inbox::default(),
            effects,
            outgoing: Outgoing::default(),
            mailbox,
            shared,
            state: State::Open,
            reading: Reading::On,
            alarm: None,
        }
    }

    /// Until the connection is gone and the session says that it is over. After each turn `time` may look at what is
    /// under way in the session.
    pub(super) async fn run(
        mut self,
        is_over: impl Fn(&M) -> bool,
        time: impl Fn(&M, &mut Requests, Mono, &IoMetrics),
    ) {
        let mut requests = Requests::default();
        self.perform();
        while self.state != State::Gone || !self.inbox.is_empty() || !is_over(&self.session) {
            if self.inbox.is_empty() {
                poll_fn(|cx| self.poll(cx)).await;
            }
            let Self { session, inbox, effects, shared, state, .. } = &mut self;
            let now = shared.rules.clock.now();
            shared.rules.turn.run(session, now, inbox, effects, |_| {});
            if *state != State::Gone {
                time(session, &mut requests, now.mono, &shared.metrics);
            }
            self.perform();
        }
    }

    fn perform(&mut self) {
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain() {
            match effect {
                Effect::Mail(mail) => self.shared.post.borrow_mut().perform(mail),
                Effect::Send(op, data) if self.state != State::Gone => self.outgoing.push(op, &data),
                Effect::Send(..) => {}
                Effect::Compute(op, job) => self.compute(op, job),
                Effect::Pause => self.reading = Reading::Paused,
                Effect::Resume => self.reading = Reading::On,
                Effect::Close(reason) => self.close(&reason),
            }
        }
        self.effects = effects;
        self.shared.post.borrow_mut().flush();
    }

    /// On a thread of its own, so that nobody else on this one has to wait.
    fn compute(&self, op: OpId, job: Job) {
        let mailbox = self.mailbox.clone();
        spawn_local(async move {
            let outcome = spawn_blocking(move || {
                let _guard = PanicGuard::new("a job");
                job.run()
            });
            // There is none only where the thread ends, and all its sessions with it.
            if let Ok(outcome) = outcome.await {
                mailbox.push(Input::Computed(op, outcome));
            }
        });
    }

    fn close(&mut self, reason: &str) {
        match self.state {
            State::Open => {
                debug!(conn = self.id.0, peer = %self.peer, reason, "closing a connection");
                self.state = State::Closing { until: Instant::now() + FLUSH };
            }
            // Asked twice: what is still queued is not wanted any more.
            State::Closing { .. } => self.gone(),
            State::Gone => {}
        }
    }

    fn gone(&mut self) {
        if let Some(stream) = self.stream.take() {
            spawn_local(linger(stream));
            self.state = State::Gone;
            self.outgoing.clear();
            self.inbox.push(Input::Closed);
        }
    }

    /// Ready when the session has something to hear, or the connection is gone.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(input) = self.mailbox.poll(cx) {
            self.inbox.push(input);
        }
        self.poll_write(cx);
        self.poll_read(cx);
        let late = self.poll_alarm(cx);
        if late || !self.inbox.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) {
        let Some(stream) = &mut self.stream else { return };
        while !self.outgoing.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let filled = self.outgoing.slices(&mut slices);
            let taken = match filled {
                0 => 0,
                _ => match Pin::new(&mut *stream).poll_write_vectored(cx, &slices[..filled]) {
                    Poll::Ready(Ok(taken)) => taken,
                    Poll::Ready(Err(error)) => return self.lost(&error),
                    Poll::Pending => return,
                },
            };
            let inbox = &mut self.inbox;
            self.shared.metrics.sent.add(taken);
            self.outgoing.advance(taken, |op| inbox.push(Input::Sent(op)));
        }
        if matches!(self.state, State::Closing { .. }) {
            self.gone();
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) {
        let Some(stream) = self.stream.as_mut().filter(|_| self.state == State::Open) else { return };
        if self.reading == Reading::Paused {
            return;
        }
        let mut buffer = self.shared.buffer.borrow_mut();
        if buffer.capacity() - buffer.len() < ROOM {
            *buffer = BytesMut::with_capacity(READ);
        }
        let read = pin!(stream.read_buf(&mut *buffer)).poll(cx);
        let received = match read {
            Poll::Ready(Ok(len)) if len < COPIED => {
                let copied = Bytes::copy_from_slice(&buffer);
                buffer.clear();
                copied
            }
            Poll::Ready(Ok(_)) => buffer.split().freeze(),
            Poll::Ready(Err(error)) => {
                drop(buffer);
                return self.lost(&error);
            }
            Poll::Pending => return,
        };
        drop(buffer);
        if received.is_empty() {
            debug!(conn = self.id.0, peer = %self.peer, "the client closed its connection");
            self.gone();
        } else {
            self.shared.metrics.received.add(received.len());
            self.inbox.push(Input::Received(received.into()));
        }
    }

    /// Whether a moment has come that was waited for.
    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> bool {
        let asked = self.session.deadline().and_then(|due| self.moment(due.at));
        let forced = match self.state {
            State::Closing { until } => Some(until),
            State::Open | State::Gone => None,
        };
        let Some(at) = asked.into_iter().chain(forced).min() else {
            self.alarm = None;
            return false;
        };
        let (set, sleep) = self.alarm.get_or_insert_with(|| (at, Box::pin(sleep_until(at))));
        if *set != at {
            *set = at;
            sleep.as_mut().reset(at);
        }
        if sleep.as_mut().poll(cx).is_pending() {
            return false;
        }
        self.alarm = None;
        if forced.is_some_and(|until| until <= at) {
            debug!(conn = self.id.0, peer = %self.peer, "the client did not read what it was sent last");
            self.gone();
        }
        true
    }

    fn moment(&self, at: Mono) -> Option<Instant> {
        self.shared.rules.clock.when(at).map(Instant::from_std)
    }

    fn lost(&mut self, error: &io::Error) {
        debug!(conn = self.id.0, peer = %self.peer, %error, "lost a connection");
        self.gone();
    }
}

/// Closes a socket such that what was sent last arrives: closing one with unread input would reset the connection, and
/// the client's kernel may then drop what the client has not read.
async fn linger(mut stream: TcpStream) {
    let last = async {
        stream.shutdown().await?;
        let mut ignored = [0; 4096];
        while stream.read(&mut ignored).await? > 0 {}
        io::Result::Ok(())
    };
    // That the client is gone, or stays, is all the same now.
    let _ = timeout(LINGER, last).await;
}
