//! The wiring: which machine runs on which thread, and which effect goes where.
//!
//! ```text
//!   io-0, io-1     Session per connection ─┐                         ┌─► wal-io-N: O_DIRECT, O_DSYNC
//!   shard          Shard ──────────────────┤                         │
//!   wal            Wal ────────────────────┼── mail among all ───────┘
//!   uploader       Uploader ───────────────┤
//!   controller     Controller ─────────────┤  store calls ──► store-N: the directory; s3: the bucket
//!   node           Node ───────────────────┘──► Ready, Halt: to the main thread
//!   http           pages about all of them
//! ```

use crate::clock::Clock;
use crate::compute::Computer;
use crate::config::{Config, Endpoint};
use crate::data_dir;
use crate::disk::{self, Device, DiskQueue, Ended};
use crate::exit::Code;
use crate::http;
use crate::lock::LockFile;
use crate::monitor::metrics::{Asker, Operation};
use crate::monitor::{Look, Monitor, Owners, Phase, Progress};
use crate::net::{self, Net, Open, Rules, SessionOutbox, Sessions};
use crate::owner::{self, Address, Outbox, Perform};
use crate::signals::GiveUp;
use crate::store::{self, Directory, Location, OpenError, S3, Submit, Workers};
use karst_core::controller::{self, Controller};
use karst_core::id::{ClusterId, ConnId, Incarnation, Lsn};
use karst_core::kafka::Api;
use karst_core::limits::Limits;
use karst_core::machine::{Check, Effects, Now, OpId, Rng, Turn, TurnBudget};
use karst_core::mail::{Halt, Mail};
use karst_core::node::{self, Node};
use karst_core::session::{self, Answer, RequestNumber, Session};
use karst_core::shard::{self, Shard};
use karst_core::store::probe::Unfit;
use karst_core::store::{StoreCall, StoreOp, StoreResult};
use karst_core::upload::{self, Uploader};
use karst_core::wal::{self, Wal};
use rand::TryRngCore;
use rand::rngs::OsRng;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedSender;
use tracing::{info, warn};

/// A broker that runs. It ends with the process, and with the process only.
#[derive(Debug)]
pub struct Broker {
    net: Net,
    node: Address<node::Input>,
    monitor: Arc<Monitor>,
    listening: SocketAddr,
    advertised: Endpoint,
    _lock: LockFile,
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
        let limits = &config.limits();
        let lock = data_dir::claim(&config.data_dir)?;
        let listener = net::bind("--listen", &config.listen).map_err(|error| StartError::new(Code::ADDRESS, error))?;
        let listening = listener.local_addr().map_err(|error| StartError::new(Code::ADDRESS, error))?;
        watch(config, monitor).map_err(|error| StartError::new(Code::ADDRESS, error))?;
        let advertised = config.advertised(listening);
        monitor.listens(listening, &advertised);
        let device = open_wal(config, monitor, give_up)?;
        let wal = Wal::new(device.len(), limits).map_err(|error| StartError::new(Code::WAL_REFUSED, error))?;
        let rng = Rng::new(entropy().map_err(|error| StartError::new(Code::BUCKET, error))?);
        let store = open_store(config, monitor, &rng, give_up)?;
        monitor.enter(Phase::Joining);

        let check = if config.check_invariants { Check::Invariants } else { Check::Nothing };
        let rules = Rules {
            connections: connections(limits),
            turn: Turn::new(TurnBudget::default(), check),
            clock: Clock::start(),
        };
        let identity = node::Config {
            node: config.node,
            incarnation: Incarnation::draw(&mut rng.child("incarnation")),
            host: advertised.host.clone(),
            port: advertised.port,
        };
        let machines = Machines {
            shard: Shard::new(limits, rng.child("shard")),
            wal,
            uploader: Uploader::new(limits, rng.child("uploader")),
            controller: Controller::new(config.node, identity.incarnation, limits, rng.child("controller")),
            node: Node::new(identity, limits, rng.child("node")),
        };
        let (net, node) = machines
            .start(rules, config, listener, (device, store), &Shell { monitor: monitor.clone(), events })
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
    controller: Controller,
    node: Node,
}

impl Machines {
    fn start(
        self,
        rules: Rules,
        config: &Config,
        listener: TcpListener,
        (device, store): (Device, Arc<dyn Submit>),
        Shell { monitor, events }: &Shell,
    ) -> io::Result<(Net, Address<node::Input>)> {
        let limits = &config.limits;
        let sessions = Sessions::new(config.network_threads as usize);
        let ((shard, at_shard), (wal, at_wal)) = (owner::inbox(), owner::inbox());
        let ((uploader, at_uploader), (controller, at_controller)) = (owner::inbox(), owner::inbox());
        let (node, at_node) = owner::inbox();
        let post = Post {
            sessions: sessions.outbox(),
            shard: Outbox::new(shard.clone()),
            wal: Outbox::new(wal.clone()),
            uploader: Outbox::new(uploader.clone()),
            controller: Outbox::new(controller.clone()),
            node: Outbox::new(node.clone()),
        };
        let recovered = Arc::new(Recovered::new(device.len()));
        monitor.metrics.wal.length.set(device.len());
        let device_monitor = monitor.clone();
        let disk = device.start(limits.wal_depth, move |op, Ended { result, len, took }| {
            device_monitor.metrics.wal.ended(len, took, &result);
            wal.send(wal::Input::Disk(op, result));
        });
        let (look, looked) = Look::new({
            let shard = shard.clone();
            move || shard.wake()
        });
        monitor.started(Owners { sessions: sessions.clone(), shard: look });
        let Rules { turn, clock, .. } = rules;

        let watch = monitor.clone();
        let hands = WalHands { post: post.clone(), disk, recovered: recovered.clone(), monitor: monitor.clone() };
        owner::spawn("wal", at_wal, self.wal, turn, clock, hands, move |wal| watch.metrics.wal.at(wal.positions()));
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
        let hands = Hands::new(&post, (&store, monitor), (controller, controller::Input::Store), Asker::Controller);
        owner::spawn("controller", at_controller, self.controller, turn, clock, hands, |_| {});
        let hands = Hands::new(&post, (&store, monitor), (node.clone(), node::Input::Store), Asker::Node);
        let hands = NodeHands { hands, events: events.clone(), recovered, cluster: ClusterId::default() };
        owner::spawn("node", at_node, self.node, turn, clock, hands, |_| {});
        let everywhere = config.advertise.is_none() && listener.local_addr()?.ip().is_unspecified();
        let tells = if everywhere { Tells::Arrival } else { Tells::Registered };

        let net = Net::start(listener, sessions, rules, &OpenSession(limits.clone(), tells), &post)?;
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

    fn open(&self, conn: ConnId, at: SocketAddr, now: Now, out: &mut Effects<session::Effect>) -> Session {
        let mut session = Session::new(conn, &self.0);
        let arrived = match self.1 {
            Tells::Registered => None,
            // One that listens on IPv6 sees IPv4 addresses in its own way.
            Tells::Arrival => Some(shard::Endpoint { host: at.ip().to_canonical().to_string(), port: at.port() }),
        };
        session.opened(now, arrived, out);
        session
    }

    fn under_way(session: &Session) -> impl DoubleEndedIterator<Item = (RequestNumber, Api)> {
        session.under_way()
    }

    fn is_over(session: &Session) -> bool {
        session.is_over()
    }
}

/// Delivers mail from one owner to all others, in order to each.
#[derive(Clone)]
struct Post {
    sessions: SessionOutbox,
    shard: Outbox<shard::Input>,
    wal: Outbox<wal::Input>,
    uploader: Outbox<upload::Input>,
    controller: Outbox<controller::Input>,
    node: Outbox<node::Input>,
}

impl Perform<Mail> for Post {
    fn perform(&mut self, mail: Mail) {
        match mail {
            Mail::Session(conn, mail) => self.sessions.push(conn, mail),
            Mail::Shard(mail) => self.shard.push(shard::Input::Mail(mail)),
            Mail::Wal(mail) => self.wal.push(wal::Input::Mail(mail)),
            Mail::Uploader(mail) => self.uploader.push(upload::Input::Mail(mail)),
            Mail::Controller(mail) => self.controller.push(controller::Input::Mail(mail)),
            Mail::Node(mail) => self.node.push(node::Input::Mail(mail)),
        }
    }

    fn flush(&mut self) {
        self.wal.flush();
        self.sessions.flush();
        self.shard.flush();
        self.uploader.flush();
        self.controller.flush();
        self.node.flush();
    }
}

/// Performs what an owner with mail and store calls wants done.
struct Hands<I> {
    post: Post,
    store: Arc<dyn Submit>,
    monitor: Arc<Monitor>,
    owner: Address<I>,
    completed: fn(OpId, StoreResult) -> I,
    asker: Asker,
}

impl<I: Send + 'static> Hands<I> {
    fn new(
        post: &Post,
        (store, monitor): (&Arc<dyn Submit>, &Arc<Monitor>),
        (owner, completed): (Address<I>, fn(OpId, StoreResult) -> I),
        asker: Asker,
    ) -> Self {
        Self { post: post.clone(), store: store.clone(), monitor: monitor.clone(), owner, completed, asker }
    }

    fn call(&self, op: OpId, call: StoreCall) {
        let (owner, completed, monitor, asker) = (self.owner.clone(), self.completed, self.monitor.clone(), self.asker);
        let (operation, begun) = (Operation::of(&call.op), Instant::now());
        let sent = if let StoreOp::Put { body, .. } = &call.op { body.len() } else { 0 };
        self.store.submit(
            call,
            Box::new(move |result| {
                monitor.metrics.store.ended(asker, operation, sent, begun.elapsed(), &result);
                owner.send(completed(op, result));
            }),
        );
    }

    fn mail(&mut self, mail: Mail) {
        match &mail {
            Mail::Session(_, session::Mail::Answer { answer: Answer::Paid(body, fee), .. })
                if fee.pool == shard::Pool::Answers =>
            {
                self.monitor.metrics.records.fetched_bytes.add(body.len());
            }
            Mail::Node(node::Mail::CutCommitted(_)) => self.monitor.metrics.uploads.committed.add(1),
            _ => {}
        }
        self.post.perform(mail);
    }
}

/// For machines that want nothing done but mail and calls of the object store.
macro_rules! mail_and_store {
    ($($machine:ident),*) => {
        $(impl Perform<$machine::Effect> for Hands<$machine::Input> {
            fn perform(&mut self, effect: $machine::Effect) {
                match effect {
                    $machine::Effect::Mail(mail) => self.mail(mail),
                    $machine::Effect::Store(op, call) => self.call(op, call),
                }
            }

            fn flush(&mut self) {
                self.post.flush();
            }
        })*
    };
}

mail_and_store!(upload, controller);

/// The shard's: it also has records looked into.
struct ShardHands {
    hands: Hands<shard::Input>,
    computer: Computer,
}

impl Perform<shard::Effect> for ShardHands {
    fn perform(&mut self, effect: shard::Effect) {
        match effect {
            shard::Effect::Mail(mail) => self.hands.mail(mail),
            shard::Effect::Store(op, call) => self.hands.call(op, call),
            shard::Effect::Compute(op, job) => self.computer.submit(op, job),
        }
    }

    fn flush(&mut self) {
        self.hands.post.flush();
    }
}

/// The node's: it also speaks to the process.
struct NodeHands {
    hands: Hands<node::Input>,
    events: UnboundedSender<Event>,
    recovered: Arc<Recovered>,
    cluster: ClusterId,
}

impl NodeHands {
    /// What the node tells others says where in its life it is.
    fn see(&mut self, mail: &Mail) {
        let monitor = &self.hands.monitor;
        match mail {
            Mail::Shard(shard::Mail::Image(image)) => self.cluster = image.cluster,
            Mail::Shard(shard::Mail::Serve { epoch, .. }) => monitor.serves(self.cluster, *epoch),
            Mail::Wal(wal::Mail::Recover { from }) => monitor.enter(Phase::Recovering(self.recovered.begin(*from))),
            Mail::Wal(wal::Mail::Format(_)) => monitor.enter(Phase::Opening),
            // As asked, or since the WAL failed.
            Mail::Shard(shard::Mail::Drain) => monitor.enter(Phase::Stopping),
            _ => {}
        }
    }

    fn tell(&self, event: Event) {
        // Nobody hears it only when the process ends already.
        let _ = self.events.send(event);
    }
}

impl Perform<node::Effect> for NodeHands {
    fn perform(&mut self, effect: node::Effect) {
        match effect {
            node::Effect::Mail(mail) => {
                self.see(&mail);
                self.hands.mail(mail);
            }
            node::Effect::Store(op, call) => self.hands.call(op, call),
            node::Effect::Ready => {
                let (records, bytes) = self.recovered.total();
                self.tell(Event::Ready(Report { cluster: self.cluster, records, bytes }));
            }
            node::Effect::Halt(halt) => self.tell(Event::Halt(halt)),
        }
    }

    fn flush(&mut self) {
        self.hands.post.flush();
    }
}

/// The WAL's: it has the disk, and its recoveries are counted for the operator.
struct WalHands {
    post: Post,
    disk: DiskQueue,
    recovered: Arc<Recovered>,
    monitor: Arc<Monitor>,
}

impl Perform<wal::Effect> for WalHands {
    fn perform(&mut self, effect: wal::Effect) {
        match effect {
            wal::Effect::Mail(mail) => {
                match &mail {
                    Mail::Shard(shard::Mail::Appended(batches)) => self.monitor.metrics.records.durable(batches),
                    Mail::Node(node::Mail::WalFound(wal::Inspection::Ring(found))) => self.recovered.found(found.trim),
                    Mail::Node(node::Mail::WalRecovered(wal::Recovered::Part { records, upto, .. })) => {
                        self.monitor.progress(self.recovered.add(records, *upto));
                    }
                    _ => {}
                }
                self.post.perform(mail);
            }
            wal::Effect::Disk(op, call) => self.disk.submit(op, call),
        }
    }

    fn flush(&mut self) {
        self.post.flush();
    }
}

/// What was read back from the WAL.
#[derive(Debug)]
struct Recovered {
    records: AtomicU64,
    bytes: AtomicU64,
    /// Where that begins, as an LSN.
    from: AtomicU64,
    /// How much there can be.
    ring: u64,
}

impl Recovered {
    const fn new(ring: u64) -> Self {
        Self { records: AtomicU64::new(0), bytes: AtomicU64::new(0), from: AtomicU64::new(0), ring }
    }

    /// The ring knows that everything below was committed.
    fn found(&self, trim: Lsn) {
        self.from.fetch_max(trim.0, Ordering::Relaxed);
    }

    /// The metadata knows that, too.
    fn begin(&self, from: Lsn) -> Progress {
        self.found(from);
        Progress { done: 0, of: self.ring }
    }

    fn add(&self, batches: &[wal::Appended], upto: Lsn) -> Progress {
        let records: u64 = batches.iter().map(|batch| batch.end.0.saturating_sub(batch.base.0)).sum();
        let bytes: usize = batches.iter().map(|batch| batch.batch.len()).sum();
        self.records.fetch_add(records, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        Progress { done: upto.0.saturating_sub(self.from.load(Ordering::Relaxed)), of: self.ring }
    }

    fn total(&self) -> (u64, u64) {
        (self.records.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

/// Lets others watch from now on, while all else is still to be done.
fn watch(config: &Config, monitor: &Arc<Monitor>) -> Result<(), String> {
    let Some(address) = &config.http else { return Ok(()) };
    let listener = net::bind("--http", address).map_err(|error| error.to_string())?;
    let at = listener.local_addr().map_err(|error| error.to_string())?;
    http::start(listener, monitor.clone()).map_err(|error| format!("no HTTP listener: {error}"))?;
    info!("metrics, health and status: http://{at}/");
    Ok(())
}

fn open_wal(config: &Config, monitor: &Monitor, give_up: &GiveUp) -> Result<Device, StartError> {
    let len = config.wal_size.unwrap_or(crate::config::WAL_SIZE);
    if !config.wal().exists() {
        // Before a file is made that would be in the way of a better try.
        Wal::new(len, &config.limits).map_err(|error| StartError::new(Code::USAGE, error))?;
        monitor.enter(Phase::PreparingWal(Progress { done: 0, of: len }));
    }
    let tell = |progress| monitor.progress(progress);
    let device = Device::open(&config.wal(), len, give_up, &tell).map_err(|error| {
        let code = match error {
            disk::OpenError::Held(_) => Code::IN_USE,
            disk::OpenError::NoSpace(_) => Code::BUCKET,
            disk::OpenError::GivenUp(_) => Code::NOT_STARTED,
            disk::OpenError::Unusable(_) => Code::WAL_REFUSED,
        };
        StartError::new(code, error)
    })?;
    if let Some(asked) = config.wal_size.filter(|asked| asked.div_ceil(4096) * 4096 != device.len()) {
        warn!(
            asked,
            length = device.len(),
            "the WAL exists and keeps its length: to change it, stop the broker in order and remove {}",
            config.wal().display()
        );
    }
    Ok(device)
}

fn open_store(config: &Config, monitor: &Monitor, rng: &Rng, give_up: &GiveUp) -> Result<Arc<dyn Submit>, StartError> {
    if let Some(location) = &config.bucket {
        monitor.enter(Phase::ProbingStore);
        return Ok(Arc::new(open_bucket(location, config, rng.child("probe"), give_up)?));
    }
    // What a directory does is known; only others' stores are probed.
    let directory = Directory::open(&config.objects()).map_err(|error| {
        let code = match error {
            OpenError::Held(_) => Code::IN_USE,
            OpenError::Unusable(_) => Code::BUCKET,
        };
        StartError::new(code, error)
    })?;
    Ok(Arc::new(Workers::start(directory, config.store_threads)))
}

fn open_bucket(location: &Location, config: &Config, rng: Rng, give_up: &GiveUp) -> Result<S3, StartError> {
    let bucket = S3::open(location, &config.credentials).map_err(|error| StartError::new(Code::USAGE, error))?;
    let report = store::probe(&bucket, &config.limits, rng, give_up).map_err(|unfit| {
        let code = match unfit {
            Unfit::Flawed(_) => Code::STORE_UNFIT,
            Unfit::Refused(..) | Unfit::Unreachable(_) => Code::BUCKET,
            Unfit::GivenUp => Code::NOT_STARTED,
        };
        let latest = bucket.latest_failure().filter(|_| matches!(unfit, Unfit::Refused(..) | Unfit::Unreachable(_)));
        let detail = latest.map_or_else(String::new, |latest| format!("\nIt said last: {latest}"));
        StartError::new(code, format_args!("{location}: {unfit}{detail}"))
    })?;
    info!("the object store {location} is fit: {} swaps in {} ms", report.swaps, report.took.as_millis());
    bucket.look_at_versioning();
    Ok(bucket)
}

/// As many connections as the limits and the operating system allow; a file descriptor each, and some for ourselves.
fn connections(limits: &Limits) -> usize {
    const OURS: u64 = 128;
    let allowed = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: allowed.maximum, maximum: allowed.maximum };
    let files = if setrlimit(Resource::Nofile, raised).is_ok() { allowed.maximum } else { allowed.current };
    let possible = files.map_or(u64::MAX, |files| files.saturating_sub(OURS).max(1));
    let wanted = u64::from(limits.connections);
    if possible < wanted {
        warn!(possible, wanted, "fewer connections than wanted: raise the limit of open files (ulimit -n)");
    }
    usize::try_from(possible.min(wanted)).unwrap_or(usize::MAX)
}

fn entropy() -> io::Result<u64> {
    OsRng.try_next_u64().map_err(io::Error::other)
}
