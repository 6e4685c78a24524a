//! Consumer groups on the pages. A group's name is a client's choice, and so is how many there are: what is shown is
//! bounded, and what is left out is counted.

use super::exposition::{Kind, Text};
use crate::json::Object;
use karst_core::shard::{WatchLimits, WatchedGroup, WatchedGroups};

/// What is told to Prometheus: at two samples for an offset and three for a group, some megabytes at most.
pub(super) const METRICS: WatchLimits = WatchLimits { groups: 1_000, offsets: 10_000, id: 256 };

/// Groups in a status, which people read.
const STATUS: usize = 100;

/// As families.
pub(super) fn families(to: &mut Text, view: &WatchedGroups) {
    to.family("karst_groups", Kind::Gauge, "Consumer groups, by state.");
    view.states.iter().for_each(|(state, count)| to.sample("karst_groups", &[("state", state)], count));
    let help = "Groups of which nothing more is told, since there are many or their ids are long.";
    to.single("karst_groups_left_out", Kind::Gauge, help, view.groups_left_out);
    let help = "Committed offsets that are not told, since there are many.";
    to.single("karst_group_offsets_left_out", Kind::Gauge, help, view.offsets_left_out);
    to.family("karst_group_info", Kind::Gauge, "Always 1; the state of the group is in a label.");
    for group in &view.groups {
        to.sample("karst_group_info", &[("group", &group.id), ("state", group.state)], 1);
    }
    each(to, view, "karst_group_members", "Members of the group.", |group| group.members as u64);
    let help = "The generation of the group; each rebalance begins one.";
    each(to, view, "karst_group_generation", help, |group| u64::try_from(group.generation).unwrap_or(0));
    offsets(to, view);
}

fn each(to: &mut Text, view: &WatchedGroups, name: &str, help: &str, value: impl Fn(&WatchedGroup) -> u64) {
    to.family(name, Kind::Gauge, help);
    view.groups.iter().for_each(|group| to.sample(name, &[("group", &group.id)], value(group)));
}

fn offsets(to: &mut Text, view: &WatchedGroups) {
    let committed = "The offset that the group has committed in the partition.";
    let lag = "Records between the group's committed offset and the partition's high watermark.";
    for (name, help) in [("karst_group_committed_offset", committed), ("karst_group_lag", lag)] {
        to.family(name, Kind::Gauge, help);
        for group in &view.groups {
            for offset in &group.offsets {
                let partition = offset.partition.to_string();
                let labels = [("group", &*group.id), ("topic", &*offset.topic), ("partition", &*partition)];
                match offset.lag {
                    _ if name == "karst_group_committed_offset" => to.sample(name, &labels, offset.committed),
                    Some(lag) => to.sample(name, &labels, lag),
                    None => {}
                }
            }
        }
    }
}

/// As a part of the status.
pub(super) fn json(view: &WatchedGroups) -> Object {
    let mut states = Object::default();
    view.states.iter().for_each(|(state, count)| states.number(state, *count as u64));
    let mut each = Object::default();
    for group in view.groups.iter().take(STATUS) {
        let mut one = Object::default();
        one.text("state", group.state);
        one.number("members", group.members as u64);
        one.number("generation", group.generation);
        one.number("lag", group.lag);
        each.object(&group.id, one);
    }
    let mut all = Object::default();
    all.number("count", count(view) as u64);
    all.object("states", states);
    all.number("left_out", (count(view) - view.groups.len().min(STATUS)) as u64);
    all.object("groups", each);
    all
}

/// As a line of the status, if there are any.
pub(super) fn line(view: &WatchedGroups) -> Option<String> {
    let states = view.states.iter().map(|(state, count)| format!("{count} {state}"));
    let behind = view.groups.iter().max_by_key(|group| group.lag).filter(|group| group.lag > 0);
    let behind = behind.map(|group| format!("; most behind: {:?} by {} records", group.id, group.lag));
    (count(view) > 0).then(|| states.collect::<Vec<_>>().join(", ") + &behind.unwrap_or_default())
}

fn count(view: &WatchedGroups) -> usize {
    view.groups.len() + view.groups_left_out
}
