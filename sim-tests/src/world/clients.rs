//! The clients of a run, each a process of its own.

use super::Judge;
use crate::client::{self, Client, Effect};
use crate::plan::Numbers;
use karst_core::machine::Rope;
use karst_runtime_sim::clock::NodeClock;
use karst_runtime_sim::exec::{Address, Connection, Net, NetHost, Owner, Process, World};
use karst_runtime_sim::net::{Host, NetEvent, SendTag};
use karst_runtime_sim::report::Counters;
use karst_runtime_sim::seed::SeedTree;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// Where the broker is.
pub(super) const BROKER: Host = Host(1);

pub(super) struct Clients {
    net: Net,
    all: Vec<Rc<One>>,
}

/// One client and its connection.
pub(super) struct One {
    owner: Owner<Client>,
    /// The plan leaves out all that it would do.
    is_off: bool,
}

/// What a client's effects act on.
pub(super) struct Shell {
    process: Process,
    host: NetHost,
    address: Address<client::Input>,
    judge: Judge,
    connection: RefCell<Option<(u64, Connection)>>,
    opened: Cell<u64>,
    sends: Cell<u64>,
}

impl Clients {
    pub(super) fn new(world: &World, numbers: &Numbers, tree: &SeedTree, net: Net, judge: Judge) -> Self {
        // One more than work: it reads everything back in the end.
        let count = u32::try_from(numbers.clients).unwrap_or(1) + 1;
        let all = (0..count).map(|id| {
            let process = world.start_process(&format!("client-{id}"), NodeClock::perfect(world.now()));
            let host = net.attach(&process, Host(100 + id));
            let address = process.mailbox("client");
            let machine = Client::new(id, numbers.habits(), tree.client(id), world.gate().clone());
            let shell = Shell::new(&process, host, &address, &judge);
            let owner = process.drive(&address, machine, move |effect| shell.perform(effect));
            let is_off = world.gate().is_shut(process.name());
            Rc::new(One { owner, is_off })
        });
        let all: Vec<Rc<One>> = all.collect();
        count_requests(world, &all[1..]);
        Self { net: net.clone(), all }
    }

    pub(super) fn start(&self) {
        for one in self.all[1..].iter().filter(|one| !one.is_off) {
            one.owner.address().send(client::Input::Start);
        }
    }

    pub(super) fn heal(&self) {
        self.net.change(|model, now| model.heal(now));
    }

    pub(super) fn stop_all(&self) {
        for one in &self.all[1..] {
            self.stop(one);
        }
    }

    pub(super) fn stop(&self, one: &Rc<One>) {
        one.owner.address().send(client::Input::Stop);
    }

    /// The client that reads everything back.
    pub(super) fn verify(&self) -> Rc<One> {
        let one = self.all[0].clone();
        one.owner.address().send(client::Input::Verify);
        one
    }

    pub(super) fn is_done(&self, one: &Rc<One>) -> bool {
        one.owner.machine().is_done()
    }
}

/// Puts into the report what clients asked for.
fn count_requests(world: &World, clients: &[Rc<One>]) {
    let clients = clients.to_vec();
    world.count_at_end(move || {
        let mut sum = Counters::default();
        for client in &clients {
            for (kind, count) in client.owner.machine().asked() {
                sum.add_many(requests_of(kind), *count);
            }
        }
        sum
    });
}

/// The counter of a kind of request. See [`super::report`].
pub(super) fn requests_of(kind: &str) -> &'static str {
    match kind {
        "api-versions" => "requests.api-versions",
        "metadata" => "requests.metadata",
        "produce" => "requests.produce",
        "produce-sequenced" => "requests.produce-sequenced",
        "init-producer-id" => "requests.init-producer-id",
        "fetch" => "requests.fetch",
        "list-offsets" => "requests.list-offsets",
        "list-offsets-by-time" => "requests.list-offsets-by-time",
        "offset-for-leader-epoch" => "requests.offset-for-leader-epoch",
        "delete-records" => "requests.delete-records",
        "create-topic" => "requests.create-topic",
        "delete-topic" => "requests.delete-topic",
        "grow-topic" => "requests.grow-topic",
        "describe-configs" | "change-configs" | "replace-configs" => "requests.configs",
        "garbage" => "requests.garbage",
        "find-coordinator" => "requests.find-coordinator",
        "join-group" => "requests.join-group",
        "sync-group" => "requests.sync-group",
        "heartbeat" => "requests.heartbeat",
        "offset-commit" => "requests.offset-commit",
        "offset-fetch" => "requests.offset-fetch",
        "leave-group" => "requests.leave-group",
        _ => "requests.other",
    }
}

impl Shell {
    pub(super) fn new(process: &Process, host: NetHost, address: &Address<client::Input>, judge: &Judge) -> Rc<Self> {
        Rc::new(Self {
            process: process.clone(),
            host,
            address: address.clone(),
            judge: judge.clone(),
            connection: RefCell::new(None),
            opened: Cell::new(0),
            sends: Cell::new(0),
        })
    }

    pub(super) fn perform(self: &Rc<Self>, effect: Effect) {
        match effect {
            Effect::Connect => self.connect(),
            Effect::Disconnect => self.disconnect(),
            Effect::Send(data) => self.send(data),
            Effect::Observe(seen) => self.judge.observe(self.process.world(), seen),
        }
    }

    /// Events of an earlier connection are dropped by its number.
    fn connect(self: &Rc<Self>) {
        self.disconnect();
        let number = self.opened.get() + 1;
        self.opened.set(number);
        let shell = Rc::downgrade(self);
        let connection = self.host.connect(BROKER, move |event| {
            let Some(shell) = shell.upgrade().filter(|shell| shell.opened.get() == number) else { return };
            shell.tell_connection(&event);
            shell.address.send(match event {
                NetEvent::Opened => client::Input::Connected,
                NetEvent::Received(bytes) => client::Input::Received(bytes),
                NetEvent::Closed(_) => client::Input::Disconnected,
                NetEvent::Sent(_) => return,
            });
        });
        *self.connection.borrow_mut() = Some((number, connection));
    }

    /// Whatever the client does on a connection is about that.
    fn tell_connection(&self, event: &NetEvent) {
        let name = || self.connection.borrow().as_ref().and_then(|(_, connection)| connection.name());
        match event {
            NetEvent::Opened => name().into_iter().for_each(|name| self.address.always_about(name)),
            NetEvent::Closed(_) => self.address.no_longer_about_it(),
            NetEvent::Received(_) | NetEvent::Sent(_) => {}
        }
    }

    fn disconnect(&self) {
        self.address.no_longer_about_it();
        self.opened.set(self.opened.get() + 1);
        if let Some((_, connection)) = self.connection.borrow_mut().take() {
            connection.close();
        }
    }

    fn send(&self, data: Rope) {
        if let Some((_, connection)) = &*self.connection.borrow() {
            self.sends.set(self.sends.get() + 1);
            connection.send(SendTag(self.sends.get()), data);
        }
    }
}
