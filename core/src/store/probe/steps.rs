//! What is asked, in which order, and what must come back.

use super::unfit::{Flaw, Unfit};
use super::{PREFIX, Report};
use crate::machine::{Instant, Now};
use crate::store::{ETag, Fatal, Found, Key, Precondition, Span, StoreDone, StoreError, StoreOp, StoreResult};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

/// Swaps one after the other, whose rate is reported.
const ROW: u32 = 20;

/// So many race for a name or a version at once, so many times over.
const RACERS: u32 = 10;
const ROUNDS: u32 = 3;

/// Bytes of an object.
const LEN: usize = 4 << 10;

/// Their byte order is neither that of their making nor an alphabet's.
const LISTED: [&str; 5] = ["list/b0", "list/a", "list/b/c", "list/B", "list/b-"];

/// Names per page.
const PAGE: usize = 2;

/// A part of an object: where, and how long.
const PART: (usize, usize) = (1000, 37);

/// A pass over everything, or over what is left of it, on objects of its own.
#[derive(Debug)]
pub(super) struct Run {
    names: String,
    step: Step,
    /// The step after the first object is there.
    then: Step,
    /// Tells the bodies of this run apart from all others.
    nonce: u64,
    /// Bodies made so far.
    bodies: u64,
    /// What the object that swaps are about holds, as far as is known.
    current: Bytes,
    etag: ETag,
    /// A version of it that is gone.
    stale: ETag,
    /// Bodies in flight, in the order of their requests.
    sent: Vec<Bytes>,
    listed: Vec<Found>,
    swap_began: Instant,
    row_took: Duration,
    report: Option<Report>,
}

/// Why a run ends early.
#[derive(Debug)]
pub(super) enum Finding {
    /// Nothing is known; ask again later.
    MayPass(StoreError),
    /// The store can't be used.
    Unfit(Unfit),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Reach,
    Create,
    CreateAgain,
    Swap,
    SwapStale,
    SwapNothing,
    Row(u32),
    RaceCreate(u32),
    RaceSwap(u32),
    /// Reads back what the step before left.
    Read(After),
    Fill,
    Page,
    Part,
    Tail,
    Delete,
    ReadDeleted,
    ListDeleted,
}

/// Before a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    Create,
    CreateAgain,
    Swap,
    SwapStale,
    Row,
    RaceCreate(u32),
    RaceSwap(u32),
}

impl Run {
    /// A run on names that begin with `names`.
    pub(super) fn new(names: String, nonce: u64) -> Self {
        Self {
            names,
            step: Step::Reach,
            then: Step::CreateAgain,
            nonce,
            bodies: 0,
            current: Bytes::new(),
            etag: ETag(String::new()),
            stale: ETag(String::new()),
            sent: Vec::new(),
            listed: Vec::new(),
            swap_began: Instant::default(),
            row_took: Duration::ZERO,
            report: None,
        }
    }

    /// Goes on after an error that may pass. Reads and deletes are asked again as they were. What a write did that failed
    /// is unknown: objects with names that begin with `names` take the place of those it was about, and only what has not
    /// been seen yet is asked of them.
    pub(super) fn again(self, names: String, nonce: u64) -> Self {
        let then = match self.step {
            step if !step.is_conditional() => return self,
            Step::Create => self.then,
            // It needs a version that is gone.
            Step::SwapStale => Step::Swap,
            step => step,
        };
        let (row_took, report) = (self.row_took, self.report);
        Self { step: Step::Create, then, row_took, report, ..Self::new(names, nonce) }
    }

    /// Whether what is asked now was not asked before.
    pub(super) fn gains(&self) -> bool {
        !matches!(self.step, Step::Create | Step::Read(After::Create))
    }

    pub(super) fn names(&self) -> &str {
        &self.names
    }

    /// The requests of the step to be taken, to be made at once.
    pub(super) fn ops(&mut self, now: Now) -> Vec<StoreOp> {
        self.sent.clear();
        let main = self.key("swapped");
        match self.step {
            Step::Reach => vec![StoreOp::List { prefix: PREFIX.into(), after: None, max: 1000 }],
            Step::Create | Step::CreateAgain => vec![self.put(main, Precondition::Absent)],
            Step::Swap => vec![self.put(main, Precondition::Is(self.etag.clone()))],
            Step::SwapStale => vec![self.put(main, Precondition::Is(self.stale.clone()))],
            Step::SwapNothing => vec![self.put(self.key("nothing"), Precondition::Is(self.etag.clone()))],
            Step::Row(_) => {
                self.swap_began = now.mono;
                vec![self.put(main, Precondition::Is(self.etag.clone()))]
            }
            Step::RaceCreate(round) => self.race(&self.raced(round), &Precondition::Absent),
            Step::RaceSwap(_) => self.race(&main, &Precondition::Is(self.etag.clone())),
            Step::Read(After::RaceCreate(round)) => vec![get(self.raced(round), Span::Whole)],
            Step::Read(_) | Step::ReadDeleted => vec![get(main, Span::Whole)],
            Step::Fill => LISTED.iter().map(|name| self.put(self.key(name), Precondition::Absent)).collect(),
            Step::Page => {
                vec![StoreOp::List { prefix: self.key("list/"), after: self.last_listed(), max: PAGE }]
            }
            Step::Part => vec![get(main, Span::Range { at: PART.0 as u64, len: PART.1 as u64 })],
            Step::Tail => vec![get(main, Span::Last { len: PART.1 as u64 })],
            Step::Delete => self.all().into_iter().map(|key| StoreOp::Delete { key }).collect(),
            Step::ListDeleted => vec![StoreOp::List { prefix: self.key(""), after: None, max: 1000 }],
        }
    }

    /// Looks at what came back and takes the next step. Returns the report after the last one.
    pub(super) fn judge(&mut self, now: Now, results: Vec<StoreResult>) -> Result<Option<Report>, Finding> {
        for result in &results {
            self.check_error(result)?;
        }
        if let Step::RaceCreate(round) | Step::RaceSwap(round) = self.step {
            self.judge_race(round, &results)?;
            return Ok(None);
        }
        let mut results = results;
        let first = results.swap_remove(0);
        self.step = match self.step {
            Step::Reach => Step::Create,
            Step::Create => {
                self.written(first, Flaw::RefusesCreate)?;
                Step::Read(After::Create)
            }
            Step::CreateAgain => refused(&first, Flaw::CreatesTwice, Step::Read(After::CreateAgain))?,
            Step::Swap => {
                self.written(first, Flaw::RefusesSwap)?;
                Step::Read(After::Swap)
            }
            Step::SwapStale => refused(&first, Flaw::SwapsStale, Step::Read(After::SwapStale))?,
            Step::SwapNothing => refused(&first, Flaw::SwapsNothing, Step::Row(0))?,
            Step::Row(done) => {
                self.written(first, Flaw::RefusesSwap)?;
                self.row_went_on(now, done + 1)
            }
            Step::Read(after) => self.read(first, after)?,
            Step::Fill if first.is_ok() && results.iter().all(Result::is_ok) => Step::Page,
            Step::Fill => return flawed(Flaw::RefusesCreate),
            Step::Page => self.page_listed(first)?,
            Step::Tail => self.part_read(&first, LEN - PART.1, Step::Part)?,
            Step::Part => self.part_read(&first, PART.0, Step::RaceCreate(0))?,
            Step::Delete => Step::ReadDeleted,
            Step::ReadDeleted if first == Err(StoreError::Missing) => Step::ListDeleted,
            Step::ListDeleted if matches!(&first, Ok(StoreDone::Listed { found, .. }) if found.is_empty()) => {
                return Ok(self.report);
            }
            Step::ReadDeleted | Step::ListDeleted => return flawed(Flaw::KeepsDeleted),
            Step::RaceCreate(_) | Step::RaceSwap(_) => unreachable!("judged above"),
        };
        Ok(None)
    }

    /// Errors that say nothing about the contract.
    fn check_error(&self, result: &StoreResult) -> Result<(), Finding> {
        let races = matches!(self.step, Step::RaceCreate(_) | Step::RaceSwap(_));
        match *result {
            // Those who race may be told to come back while another one's put is being decided.
            Err(StoreError::Conflict) if races => Ok(()),
            Err(error) if error.may_pass() => Err(Finding::MayPass(error)),
            Err(StoreError::Fatal(Fatal::BadRequest)) if self.step.is_conditional() => flawed(Flaw::NoConditions),
            Err(error @ (StoreError::Denied | StoreError::Fatal(_))) => {
                Err(Finding::Unfit(Unfit::Refused(self.step.doing(), error)))
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn written(&mut self, result: StoreResult, otherwise: Flaw) -> Result<(), Finding> {
        let Ok(StoreDone::Put { etag }) = result else { return flawed(otherwise) };
        self.is_now(0, etag);
        Ok(())
    }

    fn is_now(&mut self, sent: usize, etag: ETag) {
        self.current = self.sent[sent].clone();
        self.stale = core::mem::replace(&mut self.etag, etag);
    }

    fn row_went_on(&mut self, now: Now, done: u32) -> Step {
        self.row_took += now.mono.since(self.swap_began);
        if done < ROW {
            return Step::Row(done);
        }
        self.report = Some(Report { swaps: ROW, took: self.row_took });
        Step::Read(After::Row)
    }

    fn judge_race(&mut self, round: u32, results: &[StoreResult]) -> Result<(), Finding> {
        let creates = matches!(self.step, Step::RaceCreate(_));
        let won = |(at, result): (usize, &StoreResult)| match result {
            Ok(StoreDone::Put { etag }) => Some((at, etag.clone())),
            _ => None,
        };
        let mut winners = results.iter().enumerate().filter_map(won);
        let (winner, another) = (winners.next(), winners.next());
        match (winner, another) {
            (Some((at, etag)), None) => self.is_now(at, etag),
            (Some(_), Some(_)) => return flawed(if creates { Flaw::ManyCreators } else { Flaw::ManySwappers }),
            (None, _) if results.contains(&Err(StoreError::Conflict)) => {
                return Err(Finding::MayPass(StoreError::Conflict));
            }
            (None, _) => return flawed(if creates { Flaw::RefusesCreate } else { Flaw::RefusesSwap }),
        }
        self.step = Step::Read(if creates { After::RaceCreate(round) } else { After::RaceSwap(round) });
        Ok(())
    }

    fn read(&mut self, result: StoreResult, after: After) -> Result<Step, Finding> {
        let Ok(StoreDone::Got { body, etag, total }) = result else { return flawed(Flaw::StaleRead) };
        if body.0 != self.current || total != LEN as u64 {
            return flawed(match after {
                After::CreateAgain => Flaw::CreatesTwice,
                After::SwapStale => Flaw::SwapsStale,
                After::RaceCreate(_) => Flaw::ManyCreators,
                After::RaceSwap(_) => Flaw::ManySwappers,
                After::Create | After::Swap | After::Row => Flaw::StaleRead,
            });
        }
        // A version read is as good for a swap as a version written.
        self.etag = etag;
        Ok(match after {
            After::Create => self.then,
            After::CreateAgain => Step::Swap,
            After::Swap => Step::SwapStale,
            After::SwapStale => Step::SwapNothing,
            After::Row => Step::RaceSwap(0),
            After::RaceSwap(round) if round + 1 < ROUNDS => Step::RaceSwap(round + 1),
            After::RaceSwap(_) => Step::Tail,
            After::RaceCreate(round) if round + 1 < ROUNDS => Step::RaceCreate(round + 1),
            After::RaceCreate(_) => Step::Fill,
        })
    }

    fn page_listed(&mut self, result: StoreResult) -> Result<Step, Finding> {
        let Ok(StoreDone::Listed { found, more }) = result else { return flawed(Flaw::WrongListing) };
        let expected = self.expected_listing();
        let had = self.listed.len();
        self.listed.extend(found);
        let is_prefix = self.listed.len() <= expected.len() && self.listed[..] == expected[..self.listed.len()];
        match is_prefix && more == (self.listed.len() < expected.len()) {
            true if !more => Ok(Step::Delete),
            true if self.listed.len() > had => Ok(Step::Page),
            _ => flawed(Flaw::WrongListing),
        }
    }

    fn part_read(&self, result: &StoreResult, at: usize, then: Step) -> Result<Step, Finding> {
        let part = &self.current[at..at + PART.1];
        match result {
            Ok(StoreDone::Got { body, total, .. }) if body.0 == part && *total == LEN as u64 => Ok(then),
            _ => flawed(Flaw::WrongRange),
        }
    }

    fn put(&mut self, key: Key, only_if: Precondition) -> StoreOp {
        self.bodies += 1;
        let line = format!("Karst probes this store: {:016x} {}\n", self.nonce, self.bodies);
        let body: Bytes = line.bytes().cycle().take(LEN).collect::<Vec<u8>>().into();
        self.sent.push(body.clone());
        StoreOp::Put { key, body: body.into(), only_if }
    }

    fn race(&mut self, key: &Key, only_if: &Precondition) -> Vec<StoreOp> {
        (0..RACERS).map(|_| self.put(key.clone(), only_if.clone())).collect()
    }

    fn expected_listing(&self) -> Vec<Found> {
        let mut names = LISTED;
        names.sort_unstable();
        names.iter().map(|name| Found { key: self.key(name), len: LEN as u64 }).collect()
    }

    fn last_listed(&self) -> Option<Key> {
        self.listed.last().map(|found| found.key.clone())
    }

    fn all(&self) -> Vec<Key> {
        let raced = (0..ROUNDS).map(|round| self.raced(round));
        let listed = LISTED.iter().map(|name| self.key(name));
        [self.key("swapped"), self.key("nothing")].into_iter().chain(raced).chain(listed).collect()
    }

    fn raced(&self, round: u32) -> Key {
        self.key(&format!("raced-{round}"))
    }

    fn key(&self, name: &str) -> Key {
        Key(format!("{}{name}", self.names))
    }
}

impl Step {
    fn is_conditional(self) -> bool {
        self.doing() == "write"
    }

    /// For the operator.
    fn doing(self) -> &'static str {
        match self {
            Self::Reach | Self::Page | Self::ListDeleted => "list objects",
            Self::Read(_) | Self::Part | Self::Tail | Self::ReadDeleted => "read",
            Self::Delete => "delete",
            Self::Create
            | Self::CreateAgain
            | Self::Swap
            | Self::SwapStale
            | Self::SwapNothing
            | Self::Row(_)
            | Self::RaceCreate(_)
            | Self::RaceSwap(_)
            | Self::Fill => "write",
        }
    }
}

/// What must not succeed.
fn refused(result: &StoreResult, otherwise: Flaw, then: Step) -> Result<Step, Finding> {
    if result.is_ok() { flawed(otherwise) } else { Ok(then) }
}

fn flawed<T>(flaw: Flaw) -> Result<T, Finding> {
    Err(Finding::Unfit(Unfit::Flawed(flaw)))
}

fn get(key: Key, span: Span) -> StoreOp {
    StoreOp::Get { key, span }
}
