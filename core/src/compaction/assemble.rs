//! Which of the pieces of some objects go into which new one.
//!
//! ```text
//!   inputs            1: A[0,9) B[0,4) C[0,5)    2: A[9,12) C[5,7)    3: A[20,30) B[4,6)
//!                       │
//!   runs              A[0,12)   A[20,30)   B[0,6)   C[0,7)          contiguous pieces become one range
//!                       │ large                                      
//!                       └──► an object of its own; the others share, in the order of their streams
//! ```
//! Of each stream an object holds one stretch without gaps, so that whoever reads on from one range never skips records:
//! what does not continue a stretch goes into a further object.

use super::plan::{Kind, Plan, PlannedRange, PlannedResult, Rules};
use super::survey::{Found, Piece, StatePiece};
use crate::id::{ClusterId, StreamId};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// How the pieces of these objects are to be laid out.
pub(super) fn assemble(cluster: ClusterId, kind: Kind, inputs: &[&Found], rules: &Rules) -> Plan {
    let mut pieces: BTreeMap<StreamId, Vec<Piece>> = BTreeMap::new();
    let mut states: BTreeMap<StreamId, Vec<StatePiece>> = BTreeMap::new();
    for input in inputs {
        input.ranges.iter().for_each(|piece| pieces.entry(piece.stream).or_default().push(*piece));
        input.states.iter().for_each(|state| states.entry(state.stream).or_default().push(*state));
    }
    let mut layout = Layout { room: rules.object, ..Layout::default() };
    for (stream, mut pieces) in pieces {
        pieces.sort_by_key(|piece| piece.start);
        let weight = states.get(&stream).into_iter().flatten().map(|state| u64::from(state.len)).sum();
        layout.add(stream, runs(pieces, rules.object), weight, |run| {
            kind == Kind::ForceSplit || kind == Kind::Gather || run.bytes() >= rules.split
        });
    }
    for (stream, mut states) in states {
        states.sort_by_key(|state| state.end);
        layout.add_states(stream, states);
    }
    let inputs = inputs.iter().map(|input| (**input).clone()).collect();
    Plan { cluster, kind, inputs, results: layout.results }
}

/// Contiguous pieces of one stream that become one range each.
fn runs(pieces: Vec<Piece>, room: u64) -> Vec<PlannedRange> {
    let mut runs: Vec<PlannedRange> = Vec::new();
    for piece in pieces {
        match runs.last_mut().filter(|run| run.takes(&piece, room)) {
            Some(run) => run.pieces.push(piece),
            None => runs.push(PlannedRange { pieces: alloc::vec![piece] }),
        }
    }
    runs
}

impl PlannedRange {
    fn takes(&self, piece: &Piece, room: u64) -> bool {
        let class = self.first().class;
        let room = room.min(class.room);
        self.end() == piece.start && class == piece.class && self.bytes() + piece.bytes <= room
    }
}

/// New objects as they are being filled.
#[derive(Default)]
struct Layout {
    room: u64,
    results: Vec<PlannedResult>,
    /// Those that are shared and being filled: the first takes the first stretch of each stream, the second what does not
    /// continue that, and so on.
    shared: Vec<(usize, u64)>,
    /// Where each stream's state blocks go.
    homes: BTreeMap<StreamId, usize>,
}

impl Layout {
    fn add(
        &mut self,
        stream: StreamId,
        runs: Vec<PlannedRange>,
        mut states: u64,
        stands_alone: impl Fn(&PlannedRange) -> bool,
    ) {
        let mut stretches: Vec<Vec<PlannedRange>> = Vec::new();
        for run in runs {
            if stands_alone(&run) {
                self.homes.entry(stream).or_insert(self.results.len());
                self.results.push(PlannedResult { ranges: alloc::vec![run], states: Vec::new() });
                continue;
            }
            let follows =
                |stretch: &&mut Vec<PlannedRange>| stretch.last().is_some_and(|last| last.end() == run.start());
            match stretches.last_mut().filter(follows) {
                Some(stretch) => stretch.push(run),
                None => stretches.push(alloc::vec![run]),
            }
        }
        for (layer, stretch) in stretches.into_iter().enumerate() {
            let bytes = stretch.iter().map(PlannedRange::bytes).sum::<u64>() + core::mem::take(&mut states);
            let result = self.shared(layer, bytes);
            self.homes.entry(stream).or_insert(result);
            self.results[result].ranges.extend(stretch);
        }
    }

    fn add_states(&mut self, stream: StreamId, states: Vec<StatePiece>) {
        let bytes = states.iter().map(|state| u64::from(state.len)).sum();
        let result = match self.homes.get(&stream) {
            Some(home) => *home,
            None => self.shared(0, bytes),
        };
        self.results[result].states.extend(states);
    }

    /// The shared object of that layer that has room for so much: the one that is being filled, or a new one.
    fn shared(&mut self, layer: usize, bytes: u64) -> usize {
        if let Some((result, held)) = self.shared.get_mut(layer)
            && held.saturating_add(bytes) <= self.room
        {
            *held += bytes;
            return *result;
        }
        let new = (self.results.len(), bytes);
        self.results.push(PlannedResult::default());
        match self.shared.get_mut(layer) {
            Some(slot) => *slot = new,
            // Layers begin one after the other: a stream's second stretch comes after its first.
            None => self.shared.push(new),
        }
        new.0
    }
}
