//! One IO thread: its mailbox, and the connections on it.

use super::connection::Connection;
use super::requests::Requests;
use super::{Ends, Gate, Open, Rules, Sessions, acceptor};
use crate::exit::PanicGuard;
use crate::monitor::metrics::IoMetrics;
use crate::owner::Perform;
use bytes::BytesMut;
use karst_core::id::ConnId;
use karst_core::machine::Effects;
use karst_core::mail::Mail;
use karst_core::session;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::io;
use std::net::TcpStream;
use std::num::NonZero;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};
use tokio::sync::{Notify, watch};
use tokio::task::{LocalSet, spawn_local};
use tracing::debug;

/// What other threads tell an IO thread.
#[derive(Debug)]
pub(super) enum IoMail {
    /// To one of its sessions.
    Session(ConnId, session::Mail),
    /// A new connection, counted already.
    Accepted(TcpStream),
    /// To all its sessions: the broker stops.
    Halt,
    /// End.
    End,
}

/// Where an IO thread's mail goes.
#[derive(Debug, Default)]
pub(super) struct IoMailbox {
    queue: Mutex<Vec<IoMail>>,
    arrived: Notify,
    connections: AtomicUsize,
    /// What the thread counts.
    pub(super) metrics: Arc<IoMetrics>,
}

impl IoMailbox {
    pub(super) fn send(&self, mail: IoMail) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).push(mail);
        self.arrived.notify_one();
    }

    pub(super) fn send_all(&self, mail: &mut Vec<IoMail>) {
        if !mail.is_empty() {
            self.queue.lock().unwrap_or_else(PoisonError::into_inner).append(mail);
            self.arrived.notify_one();
        }
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Counts a connection in, until its task ends.
    pub(super) fn admit(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    fn take(&self, into: &mut Vec<IoMail>) {
        std::mem::swap(into, &mut *self.queue.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// What the connections of one thread share.
pub(super) struct Shared<P> {
    pub(super) rules: Rules,
    pub(super) metrics: Arc<IoMetrics>,
    pub(super) post: RefCell<P>,
    /// What the next read goes into; whoever reads takes what it filled.
    pub(super) buffer: RefCell<BytesMut>,
}

/// Mail and outcomes for one session that its task has not looked at.
#[derive(Default)]
pub(super) struct LocalMailbox {
    queue: RefCell<VecDeque<session::Input>>,
    waker: RefCell<Option<Waker>>,
}

impl LocalMailbox {
    pub(super) fn push(&self, input: session::Input) {
        self.queue.borrow_mut().push_back(input);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Takes the first, or has the task woken when there is one.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Option<session::Input> {
        let next = self.queue.borrow_mut().pop_front();
        if next.is_none() {
            self.waker.borrow_mut().get_or_insert_with(|| cx.waker().clone()).clone_from(cx.waker());
        }
        next
    }
}

pub(super) struct IoThread<O, P> {
    pub(super) number: usize,
    pub(super) sessions: Sessions,
    pub(super) rules: Rules,
    pub(super) open: O,
    pub(super) post: P,
}

impl<O: Open, P: Perform<Mail> + Send + 'static> IoThread<O, P> {
    /// Runs it; the first one accepts for all.
    pub(super) fn start(self, accepts: Option<(std::net::TcpListener, watch::Receiver<Gate>)>) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(self.compute_threads())
            .build()?;
        std::thread::Builder::new().name(format!("io-{}", self.number)).spawn(move || {
            let _guard = PanicGuard::new("an IO thread");
            LocalSet::new().block_on(&runtime, async move {
                if let Some((listener, gate)) = accepts {
                    let limit = self.rules.connections;
                    spawn_local(guarded(acceptor::accept(listener, gate, self.sessions.clone(), limit)));
                }
                self.distribute().await;
            });
        })?;
        Ok(())
    }

    /// How many jobs of this thread's sessions are computed at once: all threads together, one for each processor.
    fn compute_threads(&self) -> usize {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        processors.div_ceil(self.sessions.0.len())
    }

    /// Hands mail to the connections, and makes new ones, until told to end.
    async fn distribute(self) {
        let Self { number, sessions, rules, open, post } = self;
        let mailbox = sessions.0[number].clone();
        let metrics = mailbox.metrics.clone();
        let shared = Rc::new(Shared { rules, metrics, post: RefCell::new(post), buffer: RefCell::default() });
        let local = Rc::new(Local { open, shared, sessions, number, table: RefCell::default(), opened: Cell::new(0) });
        let mut arrived = Vec::new();
        loop {
            mailbox.arrived.notified().await;
            mailbox.take(&mut arrived);
            for mail in arrived.drain(..) {
                match mail {
                    IoMail::Session(conn, mail) => local.deliver(conn, mail),
                    IoMail::Accepted(stream) => local.clone().start(stream),
                    IoMail::Halt => {
                        local.table.borrow().values().for_each(|to| to.push(session::Input::Mail(session::Mail::Halt)))
                    }
                    IoMail::End => return,
                }
            }
        }
    }
}

struct Local<O, P> {
    open: O,
    shared: Rc<Shared<P>>,
    sessions: Sessions,
    number: usize,
    table: RefCell<HashMap<ConnId, Rc<LocalMailbox>>>,
    opened: Cell<u64>,
}

impl<O: Open, P: Perform<Mail> + 'static> Local<O, P> {
    fn deliver(&self, conn: ConnId, mail: session::Mail) {
        if let Some(to) = self.table.borrow().get(&conn) {
            to.push(session::Input::Mail(mail));
        }
    }

    fn start(self: Rc<Self>, stream: TcpStream) {
        let leave = Leave(self.sessions.0[self.number].clone());
        let addresses = stream.peer_addr().and_then(|peer| Ok((peer, stream.local_addr()?)));
        let opened = addresses
            .and_then(|(peer, local)| Ok(((tokio::net::TcpStream::from_std(stream)?, peer), Ends { peer, local })));
        let (stream, ends) = match opened {
            Ok(opened) => opened,
            Err(error) => return debug!(%error, "a new connection is gone"),
        };
        self.shared.metrics.opened.add(1);
        let conn = ConnId(self.number as u64 + self.opened.get() * self.sessions.0.len() as u64);
        self.opened.set(self.opened.get() + 1);
        let mailbox = Rc::new(LocalMailbox::default());
        self.table.borrow_mut().insert(conn, mailbox.clone());
        let mut effects = Effects::default();
        let session = self.open.open(conn, ends, self.shared.rules.clock.now(), &mut effects);
        let connection = Connection::new(conn, stream, session, effects, mailbox, self.shared.clone());
        spawn_local(guarded(async move {
            let time = |session: &O::Session, requests: &mut Requests, now, metrics: &IoMetrics| {
                requests.follow(now, || O::under_way(session), metrics);
            };
            connection.run(O::is_over, time).await;
            self.table.borrow_mut().remove(&conn);
            drop(leave);
        }));
    }
}

/// Counts a connection out.
struct Leave(Arc<IoMailbox>);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A task whose panic ends the process. Tokio would catch it, and only later drop what the task holds: the guard must be
/// on the stack.
async fn guarded(task: impl Future<Output = ()>) {
    let mut task = pin!(task);
    poll_fn(|cx| {
        let _guard = PanicGuard::new("a connection");
        task.as_mut().poll(cx)
    })
    .await;
}
