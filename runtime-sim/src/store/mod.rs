//! FAULT MODEL: the object store.
//!
//! ```text
//!  submit -> arrives -> effect -> answer          as it should be
//!  submit -----------------------> answer         failed, and nothing was done
//!  submit -> arrives -> effect -> (lost) deadline  done, and the caller can't know
//!  submit -------> deadline ............ effect    done late: perhaps after the caller tried again, or gave up
//! ```
//! The bucket is strongly consistent: an effect is atomic, at its moment. Every request gets exactly one answer, never
//! after its deadline. Requests belong to no process: they go on when their caller is dead. Times are simulated; nothing
//! here waits.

mod bucket;
mod fate;
mod knobs;

#[cfg(test)]
mod probed;
#[cfg(test)]
mod tests;

pub use bucket::{Bucket, Change, Object};
pub use knobs::{Etags, StoreKnobs};

use crate::gate::Gate;
use crate::report::Counters;
use crate::time::SimTime;
use fate::{Circumstances, Draws, Fate};
use karst_core::machine::Rng;
use karst_core::store::{Key, StoreCall, StoreError, StoreOp, StoreResult};
use std::collections::BTreeMap;

/// Names a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(u64);

/// Who asks: a host of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Caller(pub u32);

/// What to do about a request, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Submitted {
    /// Which request.
    pub request: RequestId,
    /// When [`SimStore::settle`] has an effect of it, if ever.
    pub effect: Option<SimTime>,
    /// When [`SimStore::answer`] is due.
    pub answer: SimTime,
}

/// Something happened to the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// When.
    pub at: SimTime,
    /// Who asked for it.
    pub from: Caller,
    /// Whether its caller had its answer (a timeout, say) before.
    pub when: Timeliness,
    /// What.
    pub change: Change,
}

impl core::fmt::Display for Applied {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match &self.change {
            Change::Put { key, .. } => write!(f, "{key} is written")?,
            Change::Deleted { key } => write!(f, "{key} is deleted")?,
        }
        if self.when == Timeliness::Late { f.write_str(", late: its caller gave up waiting") } else { Ok(()) }
    }
}

/// Whether an effect came before its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeliness {
    /// Before.
    InTime,
    /// After: its caller may long have done something else.
    Late,
}

/// What the whole store does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It works.
    Normal,
    /// Every request fails in one of the ambiguous ways; some take effect, as the knobs say.
    Outage,
    /// Puts find no space.
    NoSpace,
    /// Puts and deletes are refused.
    ReadOnly,
    /// Credentials have expired.
    Denied,
    /// The bucket is gone.
    NoBucket,
}

/// What gets through between one caller and the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// All.
    Both,
    /// Requests get lost.
    RequestsLost,
    /// Requests arrive, answers get lost.
    AnswersLost,
}

/// An object store with one bucket.
#[derive(Debug)]
pub struct SimStore {
    knobs: StoreKnobs,
    draws: Draws,
    bucket: Bucket,
    requests: BTreeMap<RequestId, Request>,
    effects: BTreeMap<(SimTime, RequestId), StoreOp>,
    puts: BTreeMap<Key, u32>,
    issued: u64,
    mode: Mode,
    reach: BTreeMap<Caller, Reach>,
    gate: Gate,
    fired: Counters,
    usage: Counters,
}

#[derive(Debug)]
struct Request {
    from: Caller,
    fate: Fate,
    progress: Progress,
    result: Option<StoreResult>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Waiting,
    Answered,
}

impl SimStore {
    /// An empty bucket.
    #[must_use]
    pub fn new(knobs: StoreKnobs, rng: &Rng) -> Self {
        Self {
            knobs,
            draws: Draws::new(rng),
            bucket: Bucket::default(),
            requests: BTreeMap::new(),
            effects: BTreeMap::new(),
            puts: BTreeMap::new(),
            issued: 0,
            mode: Mode::Normal,
            reach: BTreeMap::new(),
            gate: Gate::open(),
            fired: Counters::default(),
            usage: Counters::default(),
        }
    }

    /// Who decides which of its faults happen; at first all do.
    pub fn set_gate(&mut self, gate: Gate) {
        self.gate = gate;
    }

    /// From now on its draws don't depend on time: of the requests of a kind the n-th has the n-th fate. For a driver
    /// whose times are real, so never quite the same.
    pub fn draw_by_order(&mut self, rng: &Rng) {
        self.draws = Draws::by_order(rng);
    }

    /// Makes a request.
    pub fn submit(&mut self, now: SimTime, from: Caller, call: StoreCall) -> Submitted {
        let StoreCall { op, within } = call;
        self.count(&op);
        let about = Circumstances {
            from,
            now,
            deadline: now.after(within),
            mode: self.mode,
            reach: self.reach.get(&from).copied().unwrap_or(Reach::Both),
            contended: matches!(&op, StoreOp::Put { key, .. } if self.puts.contains_key(key)),
        };
        let fate = self.draws.fate((&self.knobs, &self.gate), &op, about);
        self.count_fault(&fate, &op);
        self.issued += 1;
        let request = RequestId(self.issued);
        if let Some(effect) = fate.effect {
            if let StoreOp::Put { key, .. } = &op {
                *self.puts.entry(key.clone()).or_default() += 1;
            }
            self.effects.insert((effect, request), op);
        }
        self.requests.insert(request, Request { from, fate, progress: Progress::Waiting, result: None });
        Submitted { request, effect: fate.effect, answer: fate.answer }
    }

    /// Lets everything take effect whose moment has come, in order.
    pub fn settle(&mut self, now: SimTime) -> Vec<Applied> {
        let mut applied = Vec::new();
        while let Some(entry) = self.effects.first_entry()
            && entry.key().0 <= now
        {
            let ((at, id), op) = entry.remove_entry();
            applied.extend(self.apply(at, id, op));
        }
        applied
    }

    /// What the caller hears: exactly once, when it is due. Call [`SimStore::settle`] first.
    ///
    /// # Panics
    /// When the request is unknown, was answered before, or something has not settled that should have.
    pub fn answer(&mut self, now: SimTime, request: RequestId) -> StoreResult {
        assert!(self.effects.first_key_value().is_none_or(|((at, _), _)| *at > now), "settle, then answer");
        let state = self.requests.get_mut(&request).expect("each request is answered once");
        assert_eq!(state.progress, Progress::Waiting, "each request is answered once");
        state.progress = Progress::Answered;
        let result = match state.fate.error {
            Some(error) => Err(error),
            None => state.result.take().expect("an answer without an error follows its effect"),
        };
        if state.fate.effect.is_none_or(|at| at <= now) {
            self.requests.remove(&request);
        }
        result
    }

    /// A caller died. What has arrived goes on; what has not may get lost. Nobody waits for its answers any more.
    pub fn crash(&mut self, now: SimTime, from: Caller, rng: &mut Rng) {
        let on_its_way = |request: &Request| request.from == from && request.fate.arrives > now;
        let ids: Vec<_> = self.requests.iter().filter(|(_, request)| on_its_way(request)).map(|(id, _)| *id).collect();
        for id in ids {
            if self.gate.fires("store.lost_with_caller", self.knobs.lost_with_caller, rng) {
                self.fired.add("store.lost_with_caller");
                self.lose(id);
            }
        }
    }

    /// Changes what the whole store does, for requests from now on.
    pub fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
    }

    /// Changes what gets through for one caller, for its requests from now on.
    pub fn set_reach(&mut self, from: Caller, reach: Reach) {
        self.reach.insert(from, reach);
    }

    /// Other faults from now on.
    pub fn set_knobs(&mut self, knobs: StoreKnobs) {
        self.knobs = knobs;
    }

    /// Ends all faults, for requests from now on.
    pub fn heal(&mut self) {
        let StoreKnobs { latency, page, etags, .. } = self.knobs;
        let latency = crate::fault::Latency { tail: crate::fault::Chance::NEVER, ..latency };
        self.knobs = StoreKnobs { latency, page, etags, ..StoreKnobs::CALM };
        self.mode = Mode::Normal;
        self.reach.clear();
    }

    /// What the bucket holds now. Call [`SimStore::settle`] first.
    #[must_use]
    pub const fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// The bucket, for a scenario to damage or to restore from an older copy.
    pub fn bucket_mut(&mut self) -> &mut Bucket {
        &mut self.bucket
    }

    /// Whether a put of that object may still take effect.
    #[must_use]
    pub fn is_being_put(&self, key: &str) -> bool {
        self.puts.contains_key(&Key::from(key))
    }

    /// Puts that will be tried on the bucket: of what, whose, whether their caller still waits, and when.
    pub fn coming_puts(&self) -> impl Iterator<Item = (&Key, Caller, Timeliness, SimTime)> {
        self.effects.iter().filter_map(|((at, id), op)| {
            let StoreOp::Put { key, .. } = op else { return None };
            let request = self.requests.get(id)?;
            let when = match request.progress {
                Progress::Waiting => Timeliness::InTime,
                Progress::Answered => Timeliness::Late,
            };
            Some((key, request.from, when, *at))
        })
    }

    /// Requests that may still take effect.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.effects.len()
    }

    /// Faults that fired.
    #[must_use]
    pub const fn fired(&self) -> &Counters {
        &self.fired
    }

    /// Requests made, by kind: what the bill is made of.
    #[must_use]
    pub const fn usage(&self) -> &Counters {
        &self.usage
    }

    fn count(&mut self, op: &StoreOp) {
        match op {
            StoreOp::Put { body, .. } => {
                self.usage.add("put");
                self.usage.add_many("put bytes", body.len() as u64);
            }
            StoreOp::Get { .. } => self.usage.add("get"),
            StoreOp::Delete { .. } => self.usage.add("delete"),
            StoreOp::List { .. } => self.usage.add("list"),
        }
    }

    fn count_fault(&mut self, fate: &Fate, op: &StoreOp) {
        if let Some(fault) = fate.fault {
            self.fired.add(fault);
        }
        if let (Some(effect), Some(StoreError::Ambiguous(_))) = (fate.effect, fate.error)
            && fate::writes(op)
        {
            self.fired.add(if effect <= fate.answer { "store.done_despite_error" } else { "store.late" });
        }
    }

    fn apply(&mut self, at: SimTime, id: RequestId, op: StoreOp) -> Option<Applied> {
        self.release(&op);
        let (result, change) = self.bucket.apply(at, op, self.knobs.page, self.knobs.etags);
        let state = self.requests.get_mut(&id).expect("a request lives until its effect and its answer");
        let from = state.from;
        let when = match state.progress {
            Progress::Waiting => Timeliness::InTime,
            Progress::Answered => Timeliness::Late,
        };
        match when {
            Timeliness::InTime => state.result = Some(result),
            Timeliness::Late => drop(self.requests.remove(&id)),
        }
        change.map(|change| Applied { at, from, when, change })
    }

    fn release(&mut self, op: &StoreOp) {
        if let StoreOp::Put { key, .. } = op {
            let left = self.puts.get_mut(key).expect("counted when it was submitted");
            *left -= 1;
            if *left == 0 {
                self.puts.remove(key);
            }
        }
    }

    fn lose(&mut self, id: RequestId) {
        let Some(state) = self.requests.get_mut(&id) else { return };
        let Some(effect) = state.fate.effect.take() else { return };
        state.fate.error.get_or_insert(StoreError::Ambiguous(karst_core::store::Cause::CutOff));
        if state.progress == Progress::Answered {
            self.requests.remove(&id);
        }
        if let Some(op) = self.effects.remove(&(effect, id)) {
            self.release(&op);
        }
    }
}
