//! The members of consumer groups, each a process of its own.

use super::Judge;
use super::clients::{Shell, requests_of};
use crate::client;
use crate::member::{Character, Member, Recess};
use crate::plan::Numbers;
use karst_runtime_sim::clock::NodeClock;
use karst_runtime_sim::exec::{Net, Owner, World};
use karst_runtime_sim::net::Host;
use karst_runtime_sim::report::Counters;
use karst_runtime_sim::seed::SeedTree;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

pub(super) struct Members {
    all: Vec<One>,
}

#[derive(Clone)]
struct One {
    owner: Rc<Owner<Member>>,
    /// The plan leaves out all that it would do.
    is_off: bool,
}

impl Members {
    pub(super) fn new(world: &World, numbers: &Numbers, tree: &SeedTree, net: &Net, judge: &Judge) -> Self {
        let each = u32::try_from(numbers.members).unwrap_or(1);
        let groups = u32::try_from(numbers.groups).unwrap_or(0);
        let all = (0..groups * each).map(|id| {
            let process = world.start_process(&format!("member-{id}"), NodeClock::perfect(world.now()));
            let host = net.attach(&process, Host(1_000 + id));
            let address = process.mailbox("member");
            let character = character(numbers, id, each);
            let machine = Member::new(character, tree.client(10_000 + id), world.gate().clone());
            let shell = Shell::new(&process, host, &address, judge);
            let owner = process.drive(&address, machine, move |effect| shell.perform(effect));
            One { owner: Rc::new(owner), is_off: world.gate().is_shut(process.name()) }
        });
        let all: Vec<One> = all.collect();
        let counted = all.clone();
        world.count_at_end(move || {
            let mut sum = Counters::default();
            for one in &counted {
                for (kind, count) in one.owner.machine().asked() {
                    sum.add_many(requests_of(kind), *count);
                }
            }
            sum
        });
        Self { all }
    }

    fn on(&self) -> impl Iterator<Item = &One> {
        self.all.iter().filter(|one| !one.is_off)
    }

    pub(super) fn are_there(&self) -> bool {
        self.on().next().is_some()
    }

    pub(super) fn start(&self) {
        self.on().for_each(|one| one.owner.address().send(client::Input::Start));
    }

    /// From now on they only do what keeps them alive.
    pub(super) fn settle(&self) {
        self.on().for_each(|one| one.owner.address().send(client::Input::Verify));
    }

    pub(super) fn stop(&self) {
        self.on().for_each(|one| one.owner.address().send(client::Input::Stop));
    }

    /// Successful heartbeats of each member.
    pub(super) fn beats(&self) -> Vec<u64> {
        self.on().map(|one| one.owner.machine().beats()).collect()
    }

    /// The generation of each group, if all its members have their place in it and each partition one owner; or what is
    /// amiss.
    pub(super) fn settled(&self) -> Result<BTreeMap<String, i32>, String> {
        let mut generations: BTreeMap<String, i32> = BTreeMap::new();
        let mut owned: BTreeMap<String, (i32, BTreeSet<i32>)> = BTreeMap::new();
        for one in self.on() {
            let member = one.owner.machine();
            let group = member.group().to_owned();
            let Some((generation, mine)) = member.place() else {
                return Err(format!("a member of {group} has no place: {:?}", &*member));
            };
            if *generations.entry(group.clone()).or_insert(generation) != generation {
                return Err(format!("members of {group} are in different generations"));
            }
            let (partitions, taken) = owned.entry(group.clone()).or_default();
            *partitions = member.partitions();
            for partition in mine {
                if !taken.insert(*partition) {
                    return Err(format!("two members of {group} own partition {partition}"));
                }
            }
        }
        for (group, (partitions, taken)) in owned {
            if !(0..partitions).eq(taken) {
                return Err(format!("not every partition of {group} is assigned"));
            }
        }
        Ok(generations)
    }
}

fn character(numbers: &Numbers, id: u32, each: u32) -> Character {
    let (group, place) = (id / each, id % each);
    let name = format!("group-{group}");
    Character {
        id,
        // The topic has the group's name: the oracle knows the one by the other.
        topic: name.clone(),
        group: name,
        partitions: 1 + i32::try_from(id / each % 4).unwrap_or(0),
        creates: place == 0,
        instance: (u64::from(place) < numbers.statics).then(|| format!("instance-{id}")),
        session: Duration::from_micros(numbers.session),
        timeout: Duration::from_micros(numbers.timeout),
        recess: (numbers.recess > 0).then(|| Recess {
            every: Duration::from_micros(numbers.recess),
            lasts: Duration::from_micros(numbers.recess_lasts),
        }),
    }
}
