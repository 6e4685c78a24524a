//! The wiring: which machine runs on which thread, and which effect goes where.
//!
//! ```text
//!   io-0, io-1     Session per connection ─┐                         ┌─► wal-io-N: O_DIRECT, O_DSYNC; or store calls
//!   shard          Shard ──────────────────┤                         │
//!   wal            Wal ────────────────────┼── mail among all ───────┘
//!   uploader       Uploader ───────────────┤
//!   compactor      Compactor ──────────────┤
//!   controller     Controller ─────────────┤  store calls ──► store-N: the directory; s3: the bucket
//!   node           Node ───────────────────┘──► Ready, Halt: to the main thread
//!   http           pages about all of them
//! ```

mod hands;
mod opening;

use crate::clock::Clock;
use crate::compute::Computer;
use crate::config::{Config, Endpoint};
use crate::data_dir;
use crate::disk::Ended;
use crate::exit::Code;
use crate::lock::LockFile;
use crate::monitor::metrics::Asker;
use crate::monitor::{Look, Monitor, Owners, Phase};
use crate::net::{self, Ends, Net, Open, Rules, Sessions};
use crate::owner::{self, Address, Outbox};
use crate::signals::GiveUp;
use crate::store::Submit;
use hands::{Hands, NodeHands, Post, Recovered, ShardHands, WalHands};
use karst_core::compaction::{self, Compactor};
use karst_core::controller::{self, Controller};
use karst_core::id::{ClusterId, ConnId, Incarnation};
use karst_core::kafka::Api;
use karst_core::limits::Limits;
use karst_core::machine::{Check, Effects, Now, Rng, Turn, TurnBudget};
use karst_core::mail::Halt;
use karst_core::node::{self, Node};
use karst_core::session::{self, RequestNumber, Session};
use karst_core::shard::{self, Shard};
use karst_core::upload::{self, Uploader};
use karst_core::wal::{self, Wal};
use opening::{Place, connections, entropy, fit, open_store, open_wal, watch};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

/// A broker that runs. It ends with the process, and with the process only.
#[derive(Debug)]
pub struct Broker {
    net: Net,
    node: Address<node::Input>,
    monitor: Arc<Monitor>,
    listening: SocketAddr,
    advertised: Endpoint,
    _lock: Option<LockFile>,
}

/// What a running broker tells the process.
#[derive(Debug)]
pub enum Event {
    /// Clients are served from now on.
    Ready(Report),
    /// The node is done, for this reason.
    Halt(Halt),
}

/// What a start came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// Which cluster this is.
    pub cluster: ClusterId,
    /// Records read back from the WAL.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Why a broker can't start: its exit code, and a text for the operator.
#[derive(Debug)]
pub struct StartError {
    /// How the process should end.
    pub code: Code,
    /// What is wrong and what to do.
    pub what: String,
}

impl StartError {
    pub(crate) fn new(code: Code, what: impl ToString) -> Self {
        Self { code, what: what.to_string() }
    }
}

impl Broker {
    /// Takes the data directory, the address and the WAL, and starts all owners. Clients are let in once the node is
    /// ready. A start takes long where a WAL is made: that can be given up.
    ///
    /// # Errors
    /// Says what could not be had.
    pub fn start(
        config: &Config,
        monitor: &Arc<Monitor>,
        give_up: &GiveUp,
        events: UnboundedSender<Event>,
    ) -> Result<Self, StartError> {
        let lock = if config.keeps_files() { Some(data_dir::claim(&config.data_dir)?) } else { None };
        let listener = net::bind("--listen", &config.listen).map_err(|error| StartError::new(Code::ADDRESS, error))?;
        let listening = listener.local_addr().map_err(|error| StartError::new(Code::ADDRESS, error))?;
        watch(config, monitor).map_err(|error| StartError::new(Code::ADDRESS, error))?;
        let advertised = config.advertised(listening);
        monitor.listens(listening, &advertised);
        let place = open_wal(config, monitor, give_up)?;
        let limits = fit(&place, config)?;
        let rng = Rng::new(entropy().map_err(|error| StartError::new(Code::BUCKET, error))?);
        let wal = place.wal(&limits, &rng)?;
        let store = open_store(config, monitor, &rng, give_up)?;
        monitor.enter(Phase::Joining);

        let check = if config.check_invariants { Check::Invariants } else { Check::Nothing };
        let rules = Rules {
            connections: connections(&limits),
            turn: Turn::new(TurnBudget::default(), check),
            clock: Clock::start(),
        };
        let identity = node::Config {
            node: config.node,
            incarnation: Incarnation::draw(&mut rng.child("incarnation")),
            host: advertised.host.clone(),
            port: advertised.port,
            purpose: node::Purpose::Serve,
        };
        let machines = Machines {
            shard: Shard::new(&limits, rng.child("shard")).storing_at(&config.store_name()),
            wal,
            uploader: Uploader::new(&limits, rng.child("uploader")),
            compactor: Compactor::new(&limits, rng.child("compactor")),
            controller: Controller::new(config.node, identity.incarnation, &limits, rng.child("controller")),
            node: Node::new(identity, &limits, rng.child("node")),
            limits,
        };
        let (net, node) = machines
            .start(rules, config, listener, (place, store), &Shell { monitor: monitor.clone(), events })
            .map_err(|error| StartError::new(Code::ADDRESS, error))?;
        node.send(node::Input::Start);
        Ok(Self { net, node, monitor: monitor.clone(), listening, advertised, _lock: lock })
    }

    /// Where it listens.
    #[must_use]
    pub const fn listening(&self) -> SocketAddr {
        self.listening
    }

    /// Where clients reach it.
    #[must_use]
    pub const fn advertised(&self) -> &Endpoint {
        &self.advertised
    }

    /// Lets clients in: once it is ready.
    pub fn admit(&self) {
        self.net.admit();
    }

    /// Asks it to stop: no new connections or requests, then drain, upload, commit, mark the WAL clean. It ends with
    /// [`Event::Halt`].
    pub fn stop(&self) {
        self.monitor.enter(Phase::Stopping);
        self.net.halt();
        self.node.send(node::Input::Stop);
    }

    /// Gives clients a moment to read their last answers.
    pub fn part(&self, grace: Duration) {
        self.net.halt();
        self.net.settle(grace);
    }
}

/// All but the sessions.
struct Machines {
    shard: Shard,
    wal: Wal,
    uploader: Uploader,
    compactor: Compactor,
    controller: Controller,
    node: Node,
    limits: Limits,
}

impl Machines {
    fn start(
        self,
        rules: Rules,
        config: &Config,
        listener: TcpListener,
        (place, store): (Place, Arc<dyn Submit>),
        Shell { monitor, events }: &Shell,
    ) -> io::Result<(Net, Address<node::Input>)> {
        let limits = self.limits;
        let sessions = Sessions::new(config.network_threads as usize);
        let ((shard, at_shard), (wal, at_wal)) = (owner::inbox(), owner::inbox());
        let ((uploader, at_uploader), (controller, at_controller)) = (owner::inbox(), owner::inbox());
        let ((compactor, at_compactor), (node, at_node)) = (owner::inbox(), owner::inbox());
        let post = Post {
            sessions: sessions.outbox(),
            shard: Outbox::new(shard.clone()),
            wal: Outbox::new(wal.clone()),
            uploader: Outbox::new(uploader.clone()),
            compactor: Outbox::new(compactor.clone()),
            controller: Outbox::new(controller.clone()),
            node: Outbox::new(node.clone()),
        };
        let recovered = Arc::new(Recovered::new(&place));
        monitor.metrics.wal.length.set(place.len());
        let (device_monitor, device_wal) = (monitor.clone(), wal.clone());
        let disk = match place {
            Place::Device(device) => Some(device.start(limits.wal_depth, move |op, Ended { result, len, took }| {
                device_monitor.metrics.wal.ended(len, took, &result);
                device_wal.send(wal::Input::Disk(op, result));
            })),
            Place::Objects(_) => None,
        };
        let (look, looked) = Look::new({
            let shard = shard.clone();
            move || shard.wake()
        });
        monitor.started(Owners { sessions: sessions.clone(), shard: look });
        let Rules { turn, clock, .. } = rules;

        let watch = monitor.clone();
        let hands = Hands::new(&post, (&store, monitor), (wal, wal::Input::Store), Asker::Wal);
        let hands = WalHands { hands, disk, recovered: recovered.clone() };
        owner::spawn("wal", at_wal, self.wal, turn, clock, hands, move |wal| {
            watch.metrics.wal.at(wal.positions());
            watch.metrics.wal.objects.set(wal.objects());
        });
        let asker = shard.clone();
        let computer = Computer::start("lookups", move |op, outcome| asker.send(shard::Input::Computed(op, outcome)));
        let hands = Hands::new(&post, (&store, monitor), (shard, shard::Input::Store), Asker::Shard);
        let hands = ShardHands { hands, computer };
        owner::spawn("shard", at_shard, self.shard, turn, clock, hands, move |shard| looked.at(shard));
        let watch = monitor.clone();
        let hands = Hands::new(&post, (&store, monitor), (uploader, upload::Input::Store), Asker::Uploader);
        owner::spawn("uploader", at_uploader, self.uploader, turn, clock, hands, move |uploader| {
            watch.metrics.uploads.waiting.set(uploader.uncommitted() as u64);
            watch.metrics.uploads.waiting_bytes.set(uploader.uncommitted_bytes());
        });
        let watch = monitor.clone();
        let hands = Hands::new(&post, (&store, monitor), (compactor, compaction::Input::Store), Asker::Compactor);
        owner::spawn("compactor", at_compactor, self.compactor, turn, clock, hands, move |compactor| {
            watch.metrics.compaction.at(&compactor.totals(), compactor.held());
        });
        let hands = Hands::new(&post, (&store, monitor), (controller, controller::Input::Store), Asker::Controller);
        owner::spawn("controller", at_controller, self.controller, turn, clock, hands, |_| {});
        let hands = Hands::new(&post, (&store, monitor), (node.clone(), node::Input::Store), Asker::Node);
        let hands = NodeHands { hands, events: events.clone(), recovered, cluster: ClusterId::default() };
        owner::spawn("node", at_node, self.node, turn, clock, hands, |_| {});
        let everywhere = config.advertise.is_none() && listener.local_addr()?.ip().is_unspecified();
        let tells = if everywhere { Tells::Arrival } else { Tells::Registered };

        let net = Net::start(listener, sessions, rules, &OpenSession(limits, tells), &post)?;
        Ok((net, node))
    }
}

/// Who hears how the broker is.
struct Shell {
    monitor: Arc<Monitor>,
    events: UnboundedSender<Event>,
}

/// What clients are told of where this broker is.
#[derive(Clone, Copy, Debug)]
enum Tells {
    /// What it has registered.
    Registered,
    /// The address that they have connected to: it listens on all that its host has.
    Arrival,
}

#[derive(Clone)]
struct OpenSession(Limits, Tells);

impl Open for OpenSession {
    type Session = Session;

    fn open(&self, conn: ConnId, ends: Ends, now: Now, out: &mut Effects<session::Effect>) -> Session {
        let mut session = Session::new(conn, &self.0);
        // One that listens on IPv6 sees IPv4 addresses in its own way.
        let host = |end: SocketAddr| end.ip().to_canonical().to_string();
        let at = match self.1 {
            Tells::Registered => None,
            Tells::Arrival => Some(shard::Endpoint { host: host(ends.local), port: ends.local.port() }),
        };
        let from = format!("/{}", host(ends.peer)).into();
        session.opened(now, shard::Arrival { from, at }, out);
        session
    }

    fn under_way(session: &Session) -> impl DoubleEndedIterator<Item = (RequestNumber, Api)> {
        session.under_way()
    }

    fn is_over(session: &Session) -> bool {
        session.is_over()
    }
}
