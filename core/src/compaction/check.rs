//! Whether results hold exactly what their inputs held: looked at before they are committed, though the controller
//! looks again.

use super::plan::Plan;
use crate::id::{Offset, StreamId};
use crate::metadata::{CompactedObject, CompactedRange};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;

/// Compares what was written with what was to be rewritten.
///
/// # Errors
/// What is missing, there twice, or was not asked for.
pub(super) fn check(plan: &Plan, results: &[CompactedObject]) -> Result<(), String> {
    let mut ranges = BTreeMap::new();
    let mut states = BTreeSet::new();
    for input in &plan.inputs {
        ranges.extend(input.ranges.iter().map(|piece| ((piece.stream, piece.start), (piece.end, piece.bytes))));
        states.extend(input.states.iter().map(|state| (state.stream, state.end)));
    }
    for result in results {
        for range in &result.ranges {
            cover(&mut ranges, range)?;
        }
        for state in &result.states {
            if !states.remove(&(state.stream, state.end)) {
                return Err(format!("object {} has a state block of stream {} too many", result.id, state.stream));
            }
        }
    }
    match (ranges.first_key_value(), states.first()) {
        (Some(((stream, start), (end, _))), _) => {
            Err(format!("offsets {start} to {end} of stream {stream} are missing"))
        }
        (_, Some((stream, end))) => {
            Err(format!("what is known of producers of stream {stream} up to {end} is missing"))
        }
        (None, None) => Ok(()),
    }
}

/// Takes out what a range of a result covers.
fn cover(left: &mut BTreeMap<(StreamId, Offset), (Offset, u64)>, range: &CompactedRange) -> Result<(), String> {
    let (mut at, mut bytes) = (range.start, 0_u64);
    while at < range.end {
        let Some((end, len)) = left.remove(&(range.stream, at)) else {
            return Err(format!("stream {} was not to be rewritten at offset {at}, or is twice", range.stream));
        };
        (at, bytes) = (end, bytes.saturating_add(len));
    }
    if (at, bytes) != (range.end, range.bytes) {
        return Err(format!(
            "{} bytes up to offset {} of stream {} were to be rewritten, not {} up to {}",
            bytes, at, range.stream, range.bytes, range.end
        ));
    }
    Ok(())
}
