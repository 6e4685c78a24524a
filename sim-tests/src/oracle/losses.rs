//! Records that were acknowledged and are lost for good: their WAL was, and its operator gave it up.
//!
//! What is below the committed end is as certain as ever. What lay above may not come back, only be written again, and
//! its offsets are given again: in a later leader epoch, so that who has read on can tell (KIP-320).

use super::{Oracle, Place, Violation, subject};
use karst_core::metadata::TopicName;

/// What a partition has lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Its topic.
    pub topic: String,
    /// Its index.
    pub partition: i32,
    /// How many partitions the topic has.
    pub partitions: u32,
    /// Everything below is still there, and nothing else.
    pub end: i64,
    /// The last leader epoch in which something may be lost.
    pub epoch: i32,
    /// Whether anybody may have heard of something that is lost.
    pub was_heard: bool,
}

/// Where a partition was cut off, and up to which leader epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) end: i64,
    pub(super) epoch: i32,
}

impl Cut {
    /// A record is there, behind the end of what was left: it must be newer than all that was lost.
    pub(super) fn check_record(self, name: &str, offset: i64, epoch: i32) -> Result<(), Violation> {
        if offset >= self.end && epoch <= self.epoch {
            let why =
                format!("{name}: offset {offset} is of epoch {epoch}, and what lay there and is lost of {self:?}");
            return Err(Violation::new("truncation-is-noticed", why).about(subject::record(name, offset)));
        }
        Ok(())
    }
}

impl Oracle {
    /// A WAL was given up: all partitions of its broker end where they were committed.
    pub fn lose(&mut self, losses: &[Loss]) {
        for loss in losses {
            let is_log = TopicName::parse(&loss.topic).is_some_and(|topic| topic.is_internal());
            if is_log && loss.was_heard {
                let lost = |group: &&String| partition_of(group, loss.partitions) == i64::from(loss.partition);
                let names: Vec<String> = self.groups.keys().filter(lost).cloned().collect();
                for name in names {
                    self.groups.entry(name).or_default().lost();
                }
            }
            let place = Place { topic: loss.topic.clone(), partition: loss.partition };
            if let Some(model) = self.places.get_mut(&place) {
                model.lost(Cut { end: loss.end, epoch: loss.epoch });
            }
        }
    }
}

/// Where Kafka keeps a group: by the hash that Java has for texts.
fn partition_of(group: &str, partitions: u32) -> i64 {
    let hash = group.bytes().fold(0_i32, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
    i64::from(hash & i32::MAX) % i64::from(partitions.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_where_kafka_keeps_them() {
        // "group-0".hashCode() is 293427298 in Java.
        assert_eq!([1, 2, 50].map(|count| partition_of("group-0", count)), [0, 0, 48]);
    }

    #[test]
    fn offsets_that_are_given_again_are_of_a_later_epoch() {
        let cut = Cut { end: 10, epoch: 3 };
        assert!(cut.check_record("p", 9, 3).is_ok() && cut.check_record("p", 10, 4).is_ok());
        assert!(cut.check_record("p", 10, 3).is_err());
    }
}
