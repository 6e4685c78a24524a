//! Sockets: one listener, and IO threads that drive the sessions of their connections.
//!
//! ```text
//!   listener ──accept──► IO thread (one tokio runtime each) ─┬─ connection: socket ◄──► Session ──mail──► Post ──► shard
//!                                                            └─ connection: ...          ▲
//!   shard ──SessionOutbox──► the thread's mailbox ──► the connection's mailbox ──────────┘
//! ```
//! A connection lives on one thread for life; its id tells which (id modulo the number of threads), so mail needs no
//! table to find it. Back-pressure is by not reading the socket. There is one listener per address: with SO_REUSEPORT a
//! second broker could take the same port unnoticed.

mod acceptor;
mod complaint;
mod connection;
mod io_thread;
mod outgoing;
mod requests;

use crate::clock::Clock;
use crate::monitor::metrics::IoMetrics;
use crate::owner::Perform;
use io_thread::{IoMail, IoMailbox, IoThread};
use karst_core::id::ConnId;
use karst_core::kafka::Api;
use karst_core::machine::{Effects, Machine, Now, Turn};
use karst_core::mail::Mail;
use karst_core::session::{self, RequestNumber};
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Makes the session of each new connection.
pub trait Open: Clone + Send + 'static {
    /// What drives a connection.
    type Session: Machine<Input = session::Input, Effect = session::Effect> + 'static;

    /// The session of `conn`, whose connection has these ends; what it wants done at once goes to `out`.
    fn open(&self, conn: ConnId, ends: Ends, now: Now, out: &mut Effects<session::Effect>) -> Self::Session;

    /// The requests of a session that are under way, in order, with their numbers.
    fn under_way(session: &Self::Session) -> impl DoubleEndedIterator<Item = (RequestNumber, Api)>;

    /// Whether a session whose connection is gone needs to hear nothing more.
    fn is_over(session: &Self::Session) -> bool;
}

/// The addresses of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// The client's.
    pub peer: SocketAddr,
    /// Where it has arrived.
    pub local: SocketAddr,
}

/// How sessions are driven, and how many.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Connections at once; more are closed as they come.
    pub connections: usize,
    /// How much a session does before others get the thread.
    pub turn: Turn,
    /// The process's clock.
    pub clock: Clock,
}

/// The mailboxes of all IO threads: how other owners reach sessions. Made before the threads, since each side needs the
/// other's address.
#[derive(Clone, Debug)]
pub struct Sessions(Arc<[Arc<IoMailbox>]>);

/// Gathers mail of one turn to sessions, so that each IO thread is woken once.
#[derive(Debug)]
pub struct SessionOutbox {
    to: Sessions,
    waiting: Vec<Vec<IoMail>>,
}

/// The running listener and its threads. Dropping it ends them and cuts their connections off.
#[derive(Debug)]
pub struct Net {
    sessions: Sessions,
    gate: watch::Sender<Gate>,
}

/// Whether clients may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    /// Not yet: they wait in the kernel's queue.
    Closed,
    /// Yes.
    Open,
    /// Not any more: the address is free.
    Over,
}

/// Why an address can't be listened on. Its text is for the operator.
#[derive(Debug)]
pub struct BindError(String);

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Takes a listen address, `HOST:PORT`, which was given by `flag`, at once and for nobody else. Nothing is accepted yet.
///
/// # Errors
/// Says what is wrong with it and what to do.
pub fn bind(flag: &str, address: &str) -> Result<TcpListener, BindError> {
    let resolved = address.to_socket_addrs().map_err(|error| {
        BindError(format!(
            "the {flag} address {address} cannot be resolved ({error}): use HOST:PORT with a host that is known here"
        ))
    })?;
    TcpListener::bind(&*resolved.collect::<Vec<_>>()).map_err(|error| {
        BindError(match error.kind() {
            io::ErrorKind::AddrInUse => format!(
                "the {flag} address {address} is in use: is another broker running? Stop it or choose another {flag}"
            ),
            io::ErrorKind::PermissionDenied => {
                format!("no permission to listen on {address}: ports below 1024 are reserved, choose another {flag}")
            }
            io::ErrorKind::AddrNotAvailable => format!(
                "cannot listen on {address}: no network interface here has that address. Choose another {flag}, such as \
                 0.0.0.0 with the same port, and say by --advertise under which name Kafka clients reach this host"
            ),
            _ => format!("cannot listen on {address}: {error}"),
        })
    })
}

impl Sessions {
    /// Mailboxes for so many IO threads, at least one.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        Self((0..threads.max(1)).map(|_| Arc::default()).collect())
    }

    /// Where one owner puts its mail to sessions.
    #[must_use]
    pub fn outbox(&self) -> SessionOutbox {
        SessionOutbox { to: self.clone(), waiting: self.0.iter().map(|_| Vec::new()).collect() }
    }

    /// What each thread counts.
    pub(crate) fn metrics(&self) -> impl Iterator<Item = &IoMetrics> {
        self.0.iter().map(|mailbox| &*mailbox.metrics)
    }

    /// Connections right now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.iter().map(|mailbox| mailbox.connections()).sum()
    }
}

impl Clone for SessionOutbox {
    /// An empty one to the same.
    fn clone(&self) -> Self {
        self.to.outbox()
    }
}

impl SessionOutbox {
    /// Adds mail to a session; it is dropped if that is gone.
    pub fn push(&mut self, conn: ConnId, mail: session::Mail) {
        let thread = conn.0 % self.waiting.len() as u64;
        self.waiting[thread as usize].push(IoMail::Session(conn, mail));
    }

    /// Sends what was gathered.
    pub fn flush(&mut self) {
        for (mailbox, waiting) in self.to.0.iter().zip(&mut self.waiting) {
            mailbox.send_all(waiting);
        }
    }
}

impl Net {
    /// Starts the IO threads. Clients are accepted from [`Net::admit`] on. `post` delivers what sessions send to other
    /// owners; each thread has its own copy.
    ///
    /// # Errors
    /// When the operating system refuses what a thread needs.
    pub fn start<O, P>(listener: TcpListener, sessions: Sessions, rules: Rules, open: &O, post: &P) -> io::Result<Self>
    where
        O: Open,
        P: Perform<Mail> + Clone + Send + 'static,
    {
        listener.set_nonblocking(true)?;
        let (gate, opened) = watch::channel(Gate::Closed);
        let mut listener = Some((listener, opened));
        for number in 0..sessions.0.len() {
            let thread = IoThread { number, sessions: sessions.clone(), rules, open: open.clone(), post: post.clone() };
            thread.start(listener.take())?;
        }
        Ok(Self { sessions, gate })
    }

    /// Lets clients in.
    pub fn admit(&self) {
        self.gate.send_replace(Gate::Open);
    }

    /// Lets no more clients in; those that are stay.
    pub fn refuse(&self) {
        self.gate.send_replace(Gate::Over);
    }

    /// Lets no more clients in, and tells all sessions that the broker stops.
    pub fn halt(&self) {
        self.refuse();
        self.sessions.0.iter().for_each(|mailbox| mailbox.send(IoMail::Halt));
    }

    /// Waits until all connections are gone, for `grace` at most.
    pub fn settle(&self, grace: Duration) {
        let until = Instant::now() + grace;
        while self.sessions.connections() > 0 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        self.sessions.0.iter().for_each(|mailbox| mailbox.send(IoMail::End));
    }
}

#[cfg(test)]
mod tests;
