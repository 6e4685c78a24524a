//! What a runtime shows of groups to those who watch the broker: how far each got, and how far it is behind.

use super::Shard;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// How much is told at most. What is left out is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchLimits {
    /// Groups, the first ones by id.
    pub groups: usize,
    /// Offsets of them, together.
    pub offsets: usize,
    /// Bytes of a group's id: one whose id is longer is left out.
    pub id: usize,
}

/// The groups that this broker coordinates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchedGroups {
    /// How many there are in each state, in Kafka's words.
    pub states: BTreeMap<&'static str, usize>,
    /// By id.
    pub groups: Vec<WatchedGroup>,
    /// Groups that are not among these.
    pub groups_left_out: usize,
    /// Offsets that are not told, also those of these groups.
    pub offsets_left_out: usize,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedGroup {
    /// Its id.
    pub id: Arc<str>,
    /// Its state, in Kafka's words.
    pub state: &'static str,
    /// Members that it has.
    pub members: usize,
    /// The last generation that is durable; 0 before the first.
    pub generation: i32,
    /// Records that it has not committed, in all partitions whose lag is known.
    pub lag: u64,
    /// What it committed, by topic and partition.
    pub offsets: Vec<WatchedOffset>,
}

/// How far a group got in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedOffset {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's index.
    pub partition: i32,
    /// The committed offset, which is durable.
    pub committed: i64,
    /// How far the high watermark is beyond it, in records; 0 if it is not, and none if the partition is not open here.
    pub lag: Option<u64>,
}

impl Shard {
    /// The groups, as far as they are known by now, and no more of them than `limits` say.
    #[must_use]
    pub fn watch_groups(&self, limits: WatchLimits) -> WatchedGroups {
        let mut told = WatchedGroups::default();
        let mut room = limits.offsets;
        for group in self.groups.coordinator.watch() {
            *told.states.entry(group.state()).or_default() += 1;
            if told.groups.len() == limits.groups || group.id().len() > limits.id {
                told.groups_left_out += 1;
                told.offsets_left_out += group.offsets().count();
                continue;
            }
            let mut one = WatchedGroup {
                id: group.id().clone(),
                state: group.state(),
                members: group.members(),
                generation: group.durable_generation(),
                lag: 0,
                offsets: Vec::new(),
            };
            for (topic, partition, committed) in group.offsets() {
                let lag = self.lag(topic, partition, committed);
                one.lag = one.lag.saturating_add(lag.unwrap_or(0));
                if room == 0 {
                    told.offsets_left_out += 1;
                    continue;
                }
                room -= 1;
                one.offsets.push(WatchedOffset { topic: topic.clone(), partition, committed, lag });
            }
            told.groups.push(one);
        }
        told
    }

    /// What is applied of a partition, beyond that offset.
    fn lag(&self, topic: &str, partition: i32, committed: i64) -> Option<u64> {
        let stream = self.stream_named(topic, partition).ok()?;
        let end = self.high_watermark(stream)?.0;
        Some(end.saturating_sub(u64::try_from(committed).unwrap_or(0)))
    }
}
