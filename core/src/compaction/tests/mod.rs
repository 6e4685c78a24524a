//! Plans, the machine in a world that fails, and a year of traffic.

mod model;
mod planning;
mod world;
mod year;

use super::Plan;
use crate::id::ObjectId;
use crate::metadata::{CompactedObject, CompactedRange, CompactedState, Compaction};

/// What the plan comes to if nothing happens meanwhile, with results no longer than they need to be.
pub(crate) fn sketched(plan: &Plan, first: ObjectId) -> Compaction {
    let result = |(number, planned): (u64, &super::plan::PlannedResult)| {
        let range = |range: &super::plan::PlannedRange| CompactedRange {
            stream: range.stream(),
            start: range.start(),
            end: range.end(),
            bytes: range.bytes(),
        };
        let state = |state: &super::StatePiece| CompactedState {
            stream: state.stream,
            end: state.end,
            at: state.at,
            len: state.len,
        };
        CompactedObject {
            id: ObjectId(first.0 + number),
            size: planned.bytes() + 300,
            ranges: planned.ranges.iter().map(range).collect(),
            states: planned.states.iter().map(state).collect(),
        }
    };
    let inputs = plan.inputs().map(|(id, _)| id).collect();
    Compaction { inputs, results: (0..).zip(&plan.results).map(result).collect() }
}
