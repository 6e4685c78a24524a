//! What idempotent producers wrote to a partition: P1.
//!
//! Each (producer, epoch, sequence) is in the log at most once, and in order: what has a newer epoch, or a higher
//! sequence under the same one, lies behind. Sequences begin at 0 in the simulated world and never come to their end.

use super::partition::Violation;
use karst_core::kafka::BatchHeader;
use std::collections::BTreeMap;

/// The invariant's name.
pub(super) const P1: &str = "P1-exactly-once-in-order";

/// Where a batch lies, and its last sequence.
#[derive(Clone, Copy, Debug)]
struct Lies {
    base: i64,
    last: i32,
}

/// By producer, then by epoch and first sequence.
#[derive(Debug, Default)]
pub(super) struct Sequences(BTreeMap<i64, BTreeMap<(i16, i32), Lies>>);

impl Sequences {
    /// The batch lies there, somebody says.
    pub(super) fn lies_at(&mut self, name: &str, batch: &[u8], base: i64) -> Result<(), Violation> {
        let Some(header) = BatchHeader::parse(batch).filter(|header| header.producer_id >= 0) else { return Ok(()) };
        let key = (header.producer_epoch, header.base_sequence);
        let last = header.base_sequence + header.last_offset_delta;
        let all = self.0.entry(header.producer_id).or_default();
        let broken = |why: &str, other: Lies| {
            let id = header.producer_id;
            let message = format!(
                "{name}: producer {id}, (epoch, sequence) {key:?} at offset {base} {why} offset {}",
                other.base
            );
            Err(Violation::new(P1, message))
        };
        if let Some(other) = all.insert(key, Lies { base, last })
            && other.base != base
        {
            return broken("is also at", other);
        }
        if let Some(((epoch, _), other)) = all.range(..key).next_back()
            && (other.base >= base || (*epoch == key.0 && other.last >= key.1))
        {
            return broken("should lie behind what is at", *other);
        }
        if let Some(((epoch, first), other)) = all.range(key..).nth(1)
            && (other.base <= base || (*epoch == key.0 && *first <= last))
        {
            return broken("should lie before what is at", *other);
        }
        Ok(())
    }

    /// All of the log from `start` to `end` is known: there are no gaps.
    pub(super) fn check_complete(&self, name: &str, start: i64, end: i64) -> Result<(), Violation> {
        for (producer, all) in &self.0 {
            let within: Vec<_> = all.iter().filter(|(_, lies)| (start..end).contains(&lies.base)).collect();
            for pair in within.windows(2) {
                let [((epoch, _), one), ((next_epoch, first), next)] = pair else { unreachable!("windows of two") };
                let expected = if epoch == next_epoch { one.last + 1 } else { 0 };
                if *first != expected {
                    let base = next.base;
                    let message =
                        format!("{name}: producer {producer} has sequence {first} at offset {base}, not {expected}");
                    return Err(Violation::new(P1, message));
                }
            }
        }
        Ok(())
    }
}
