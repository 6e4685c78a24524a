//! Which objects are rewritten next: a pure function of what the metadata says.
//!
//! An object is a *stream object* if it holds records of one stream only, else it is *shared*. The first of these that
//! there is something to do for is done:
//!
//! | kind | inputs | results |
//! |---|---|---|
//! | split | shared objects with records that were committed long ago | a stream object for each range |
//! | merge | neighbours in time, of similar size, all shared | one shared object; runs that are large enough, alone |
//! | merge | shared objects of the same streams, too large together | as many, each of some of the streams |
//! | gather | a stream's neighbouring stream objects, of similar size | one stream object |
//! | clean | an object of which streams have less than half | the same without the rest |
//!
//! *Of similar size* means that there are so many ([`Rules::fan_in`]), and that the largest is no more than half of them
//! together: so a byte is rewritten as often as that number goes into the growth of its object, logarithmically.
//!
//! **It ends.** Each kind makes, in this order of importance, the ranges fewer, the shared objects fewer (at least half of
//! those merged), or the bytes, and never makes more of what is more important. What would gain nothing is not done.

use super::assemble::assemble;
use super::survey::{Found, Piece, StatePiece, Survey};
use crate::id::{ClusterId, NodeId, ObjectId, Offset, StreamId};
use crate::limits::Limits;
use crate::machine::WallTime;
use crate::metadata::Image;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::ops::Range;
use core::time::Duration;

/// What is merged, and up to which size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rules {
    /// So many objects are merged at once, at least.
    pub fan_in: usize,
    /// An object grows up to so many bytes of records.
    pub object: u64,
    /// A run of so many bytes gets an object of its own.
    pub split: u64,
    /// Records stay so long in shared objects at most.
    pub force_split: Duration,
    /// A data block is closed at this size.
    pub data_block: u32,
}

/// At most so many objects are rewritten at once, and so many ranges unless one object alone has more.
const INPUTS: usize = 128;
const RANGES: usize = 20_000;

impl Rules {
    /// What the limits say.
    #[must_use]
    pub const fn new(limits: &Limits) -> Self {
        Self {
            fan_in: limits.compaction_fan_in as usize,
            object: limits.compaction_object,
            split: limits.split,
            force_split: limits.compaction_force_split,
            data_block: limits.data_block,
        }
    }
}

/// Objects to be rewritten, and into what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    /// Whose they are.
    pub cluster: ClusterId,
    /// Why.
    pub kind: Kind,
    pub(super) inputs: Vec<Found>,
    pub(super) results: Vec<PlannedResult>,
}

/// Why objects are rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Shared ones become fewer, or hold fewer streams each.
    Merge,
    /// Their records have been in shared ones for too long.
    ForceSplit,
    /// A stream's become fewer.
    Gather,
    /// They hold mostly what no stream has any more.
    Clean,
}

/// A new object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct PlannedResult {
    /// By stream and offset.
    pub(super) ranges: Vec<PlannedRange>,
    pub(super) states: Vec<StatePiece>,
}

/// Contiguous pieces of a stream that become one range.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct PlannedRange {
    /// At least one.
    pub(super) pieces: Vec<Piece>,
}

impl PlannedRange {
    pub(super) fn first(&self) -> &Piece {
        self.pieces.first().expect("a range is made of something")
    }

    pub(super) fn stream(&self) -> StreamId {
        self.first().stream
    }

    pub(super) fn start(&self) -> Offset {
        self.first().start
    }

    pub(super) fn end(&self) -> Offset {
        self.pieces.last().expect("a range is made of something").end
    }

    pub(super) fn bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.bytes).sum()
    }
}

impl PlannedResult {
    /// What it takes to hold all of it.
    pub(super) fn bytes(&self) -> u64 {
        let states: u64 = self.states.iter().map(|state| u64::from(state.len)).sum();
        self.ranges.iter().map(PlannedRange::bytes).sum::<u64>() + states
    }

    /// Whether others than one stream have something of it.
    fn is_shared(&self) -> bool {
        let streams = self.ranges.iter().map(PlannedRange::stream).chain(self.states.iter().map(|state| state.stream));
        self.ranges.is_empty() || streams.collect::<BTreeSet<_>>().len() > 1
    }
}

impl Plan {
    /// The objects that are rewritten, with their lengths.
    pub fn inputs(&self) -> impl Iterator<Item = (ObjectId, u64)> {
        self.inputs.iter().map(|input| (input.id, input.size))
    }

    /// How many objects are written.
    #[must_use]
    pub fn results(&self) -> usize {
        self.results.len()
    }

    fn ranges_after(&self) -> usize {
        self.results.iter().map(|result| result.ranges.len()).sum()
    }

    fn ranges_before(&self) -> usize {
        self.inputs.iter().map(|input| input.ranges.len()).sum()
    }

    /// Whether it is worth it; without that it might never end.
    fn gains(&self) -> bool {
        let shared = self.results.iter().filter(|result| result.is_shared()).count();
        match self.kind {
            Kind::Merge => {
                let (before, after) = (self.ranges_before(), self.ranges_after());
                shared * 2 <= self.inputs.len() || (before > 0 && after * 2 <= before)
            }
            Kind::Gather => self.results.len() * 2 <= self.inputs.len(),
            Kind::ForceSplit | Kind::Clean => true,
        }
    }
}

/// What a broker should rewrite next, if anything. Objects that are excluded stay as they are.
#[must_use]
pub fn plan(image: &Image, node: NodeId, now: WallTime, rules: &Rules, excluded: &BTreeSet<ObjectId>) -> Option<Plan> {
    let survey = Survey::take(image, node, excluded);
    let planner = Planner { cluster: image.cluster, rules, survey: &survey };
    let (own, shared): (Vec<&Found>, Vec<&Found>) = survey.objects.values().partition(|found| found.is_own());
    planner
        .force_split(&shared, now)
        .or_else(|| planner.merge_in_time(&shared))
        .or_else(|| planner.merge_by_stream(&shared))
        .or_else(|| planner.gather(&own))
        .or_else(|| planner.clean())
}

struct Planner<'a> {
    cluster: ClusterId,
    rules: &'a Rules,
    survey: &'a Survey,
}

impl Planner<'_> {
    fn assemble(&self, kind: Kind, inputs: &[&Found]) -> Option<Plan> {
        Some(assemble(self.cluster, kind, inputs, self.rules)).filter(Plan::gains)
    }

    /// The oldest of those that are too old.
    fn force_split(&self, shared: &[&Found], now: WallTime) -> Option<Plan> {
        let age = i64::try_from(self.rules.force_split.as_millis()).unwrap_or(i64::MAX);
        let is_old = |found: &&Found| !found.ranges.is_empty() && now.0.saturating_sub(found.since.0) >= age;
        let mut old: Vec<&Found> = shared.iter().copied().filter(is_old).collect();
        old.sort_by_key(|found| (found.since, found.id));
        let most = self.rules.object.saturating_mul(self.rules.fan_in as u64);
        let (mut ranges, mut bytes) = (0, 0_u64);
        let mut fits = |found: &&&Found| {
            ranges += found.ranges.len();
            bytes = bytes.saturating_add(found.live());
            ranges <= RANGES && bytes <= most
        };
        let rest = old.iter().skip(1).take(INPUTS - 1).take_while(|found| fits(found));
        let inputs: Vec<&Found> = old.iter().take(1).chain(rest).copied().collect();
        (!inputs.is_empty()).then(|| self.assemble(Kind::ForceSplit, &inputs))?
    }

    /// Neighbours in time.
    fn merge_in_time(&self, shared: &[&Found]) -> Option<Plan> {
        let mut shared = shared.to_vec();
        shared.sort_by_key(|found| (found.since, found.id));
        self.windows(&shared).find_map(|window| self.assemble(Kind::Merge, &shared[window]))
    }

    /// Of the same streams, whatever their size: what they share becomes fewer ranges.
    fn merge_by_stream(&self, shared: &[&Found]) -> Option<Plan> {
        let mut shared = shared.to_vec();
        let first = |found: &Found| found.ranges.first().map(|piece| piece.stream);
        shared.sort_by_key(|found| (first(found), found.since, found.id));
        let (mut streams, mut ranges) = (BTreeMap::<StreamId, usize>::new(), 0);
        for (at, found) in shared.iter().enumerate() {
            found.ranges.iter().for_each(|piece| *streams.entry(piece.stream).or_default() += 1);
            ranges += found.ranges.len();
            let Some(from) = (at + 1).checked_sub(self.rules.fan_in) else { continue };
            if ranges > 0
                && streams.len() * 2 <= ranges
                && ranges <= RANGES
                && let Some(plan) = self.assemble(Kind::Merge, &shared[from..=at])
            {
                return Some(plan);
            }
            for piece in &shared[from].ranges {
                let left = streams.get_mut(&piece.stream).expect("it was counted when it came in");
                *left -= 1;
                if *left == 0 {
                    streams.remove(&piece.stream);
                }
            }
            ranges -= shared[from].ranges.len();
        }
        None
    }

    /// One stream's, where one continues the other.
    fn gather(&self, own: &[&Found]) -> Option<Plan> {
        let mut own = own.to_vec();
        own.sort_by_key(|found| found.ranges.first().copied());
        let continues = |one: &&Found, next: &&Found| {
            let (last, first) = (one.ranges.last(), next.ranges.first());
            last.zip(first).is_some_and(|(last, first)| {
                (last.stream, last.end, last.class) == (first.stream, first.start, first.class)
            })
        };
        own.chunk_by(continues)
            .find_map(|chunk| self.windows(chunk).find_map(|window| self.assemble(Kind::Gather, &chunk[window])))
    }

    /// The one with the most that nobody needs.
    fn clean(&self) -> Option<Plan> {
        let waste = |found: &&Found| found.size.checked_sub(2 * found.needed(self.rules.data_block));
        let worst = self.survey.objects.values().filter(|found| waste(found).is_some_and(|waste| waste > 0));
        let worst = worst.max_by_key(|found| (waste(found), found.id))?;
        let kind = if worst.is_own() { Kind::Gather } else { Kind::Merge };
        let plan = assemble(self.cluster, kind, &[worst], self.rules);
        Some(Plan { kind: Kind::Clean, ..plan })
    }

    /// Neighbours of similar size that fit into one object: for each first one as many as possible.
    fn windows<'f>(&self, found: &'f [&Found]) -> impl Iterator<Item = Range<usize>> + use<'f> {
        let Rules { fan_in, object, .. } = *self.rules;
        (0..found.len()).filter_map(move |from| {
            let (mut total, mut largest, mut ranges, mut upto) = (0_u64, 0, 0, None);
            for (at, one) in found.iter().enumerate().skip(from).take(INPUTS) {
                let live = one.live().max(1);
                total = total.saturating_add(live);
                largest = largest.max(live);
                ranges += one.ranges.len();
                if total > object || ranges > RANGES {
                    break;
                }
                if at + 1 - from >= fan_in && largest <= total / 2 {
                    upto = Some(at + 1);
                }
            }
            upto.map(|upto| from..upto)
        })
    }
}
