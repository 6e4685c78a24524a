//! MACHINE: the uploader. Turns cuts into data objects and commits them, strictly in order.
//!
//! It owns the cuts that are not committed, and the object ids leased to this node epoch. It promises:
//! - **nothing is trimmed before its commit is durable**: the WAL hears of a trim point only from the controller's answer
//!   to that cut's commit;
//! - commits are sent in the order of the cuts, one at a time, each only once all its objects are durable;
//! - an object's bytes are fixed at the first attempt to put it, and its id names no other bytes ever after.
//!
//! Inputs: cuts (from the shard, and from the node while it recovers), completions of puts, answers to its commands.
//! Effects: puts in the bucket, commands to the controller through the node, and, of a committed cut, a trim to the WAL
//! and word to the node. (The shard hears of it by the entries that it folds.)
//!
//! ```text
//!  cut ──> objects planned ──> ids given ──> put ──> stored ─┐  (several cuts at once)
//!               ^                │  ^        │ ^            │
//!               │            LeaseObjects    └─┘ again      v  (the oldest cut only)
//!               └──────────── NotLeased <──────────────── Commit ──> Trim, CutCommitted
//! ```
//! A put that may have taken effect is repeated with the same bytes. Where the name then exists already, the object's
//! last bytes are compared: they hold the checksums of all the rest.

mod ids;
mod job;
mod mail;
mod object;

pub use mail::{Cut, CutRange, Effect, Input, Mail};

use self::ids::ObjectIds;
use self::job::{Job, JobNumber, Stage};
use self::object::Judgement;
use crate::id::{CutNumber, NodeEpoch};
use crate::limits::Limits;
use crate::machine::{Deadline, Effects, Machine, Mark, Now, OpId, OpIds, Rng, sometimes};
use crate::mail::Halt;
use crate::metadata::{Answer, Command, Refusal};
use crate::node::{self, Asker};
use crate::store::{StoreCall, StoreResult, attempt};
use crate::wal;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use core::time::Duration;

/// Uploads and commits cuts.
#[derive(Debug)]
pub struct Uploader {
    limits: UploadLimits,
    rng: Rng,
    ops: OpIds,
    /// Not committed, in order.
    jobs: VecDeque<Job>,
    /// The number of the first of them.
    first: JobNumber,
    /// Puts, and looks at what was put.
    in_flight: BTreeMap<OpId, Place>,
    ids: ObjectIds,
    /// Commands that the controller has not answered, in the order of sending.
    asked: VecDeque<Asked>,
    /// The last cut that arrived.
    last_cut: Option<(NodeEpoch, CutNumber)>,
    /// Record bytes of all cuts that are not committed.
    bytes: u64,
    health: Health,
}

#[derive(Debug)]
struct UploadLimits {
    uploads: usize,
    split: u64,
    data_block: u32,
    lease: u32,
    attempt: Duration,
}

/// Which object of which cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    job: JobNumber,
    object: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Lease,
    Commit,
}

/// Whether the bucket takes objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Good,
    /// There was no space, and that was said.
    Full,
    /// It can't go on, and the node knows.
    Failed,
}

/// Requests to the store in flight per cut that may be uploaded at once.
const REQUESTS_PER_CUT: usize = 4;

impl Machine for Uploader {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, now: Now, input: Input, out: &mut Effects<Effect>) {
        if self.health == Health::Failed {
            return;
        }
        let done = match input {
            Input::Mail(Mail::Cut(cut)) => {
                self.accept(cut);
                Ok(())
            }
            Input::Mail(Mail::Answered(answer)) => self.answered(answer, out),
            Input::Store(op, result) => self.completed(now, op, result),
            Input::Tick => {
                self.wake(now);
                Ok(())
            }
        };
        match done {
            Ok(()) => self.advance(out),
            Err(halt) => self.fail(halt, out),
        }
    }

    fn deadline(&self) -> Option<Deadline> {
        let resting = self.jobs.iter().flat_map(|job| &job.objects).filter_map(object::Upload::wakes_at).min();
        let due = resting.filter(|_| self.health != Health::Failed);
        due.map(|at| Deadline { at, reason: "put an object again" })
    }

    fn tick() -> Input {
        Input::Tick
    }

    fn invariants(&self) {
        self.check_order();
        self.check_requests();
        let bytes: u64 = self.jobs.iter().map(|job| job.bytes).sum();
        assert_eq!(bytes, self.bytes, "bytes of cuts are counted");
        let used = self.jobs.iter().flat_map(|job| &job.objects).filter_map(object::Upload::id);
        self.ids.check(used);
    }
}

impl Uploader {
    /// An uploader without work.
    #[must_use]
    pub fn new(limits: &Limits, rng: Rng) -> Self {
        Self {
            limits: UploadLimits {
                uploads: limits.uploads as usize,
                split: limits.split,
                data_block: limits.data_block,
                lease: limits.lease,
                attempt: limits.store_attempt,
            },
            rng,
            ops: OpIds::default(),
            jobs: VecDeque::new(),
            first: JobNumber(1),
            in_flight: BTreeMap::new(),
            ids: ObjectIds::default(),
            asked: VecDeque::new(),
            last_cut: None,
            bytes: 0,
            health: Health::Good,
        }
    }

    /// Record bytes of cuts that are not committed.
    #[must_use]
    pub const fn uncommitted_bytes(&self) -> u64 {
        self.bytes
    }

    /// Cuts that are not committed.
    #[must_use]
    pub fn uncommitted(&self) -> usize {
        self.jobs.len()
    }

    fn accept(&mut self, cut: Cut) {
        if let Some((epoch, number)) = self.last_cut {
            let follows = if epoch == cut.epoch { cut.number == number.next() } else { cut.epoch > epoch };
            assert!(follows, "{:?} of {:?} after {number:?} of {epoch:?}", cut.number, cut.epoch);
        }
        self.last_cut = Some((cut.epoch, cut.number));
        let job = Job::new(cut, self.limits.split);
        self.bytes += job.bytes;
        self.jobs.push_back(job);
    }

    fn answered(&mut self, answer: Answer, out: &mut Effects<Effect>) -> Result<(), Halt> {
        let asked = self.asked.pop_front().expect("an answer is to a command");
        match (asked, answer) {
            (_, Answer::Refused(Refusal::Fenced)) => {
                Err(Halt::Fenced("a newer registration of this node took over while it uploaded".into()))
            }
            (Asked::Lease, Answer::Leased { first, count }) => {
                self.ids.add(first, count);
                Ok(())
            }
            (Asked::Commit, Answer::Done) => {
                self.committed(out);
                Ok(())
            }
            (Asked::Commit, Answer::Refused(Refusal::NotLeased { id })) if self.jobs[0].renew(id) => {
                tracing::warn!(object = %id, cut = %self.jobs[0].cut.number, "an object's lease ended: uploading again");
                // What was leased together ends together.
                self.ids.clear();
                Ok(())
            }
            (asked, Answer::Refused(refusal)) => {
                let what = match asked {
                    Asked::Lease => "lease object ids".into(),
                    Asked::Commit => {
                        format!("commit cut {} of node epoch {}", self.jobs[0].cut.number, self.jobs[0].cut.epoch)
                    }
                };
                Err(Halt::Bucket(format!(
                    "the cluster's metadata refuses to {what}: {refusal:?}. The records are safe in the write-ahead log; \
                     keep its disk, and check that the bucket was not replaced by another copy"
                )))
            }
            (asked, answer) => unreachable!("{asked:?} was answered by {answer:?}"),
        }
    }

    /// The oldest cut is durable in the metadata. Only this lets go of its records.
    fn committed(&mut self, out: &mut Effects<Effect>) {
        let job = self.jobs.pop_front().expect("what was committed is the oldest cut");
        assert_eq!(job.stage, Stage::Committing, "a commit is answered after it was sent");
        self.first = self.first.next();
        self.bytes -= job.bytes;
        sometimes!(Mark::EmptyCut, job.objects.is_empty() && job.cut.stored.is_none());
        let cut = job.cut;
        tracing::info!(epoch = %cut.epoch, cut = %cut.number, lsn = %cut.lsn, bytes = job.bytes, "cut committed");
        // What a recovery found was never in this epoch's ring or log cache.
        if cut.recovery.is_none() {
            out.push(Effect::Mail(crate::mail::Mail::Wal(wal::Mail::Trim(cut.lsn))));
        }
        out.push(to_node(node::Mail::CutCommitted(cut.number)));
    }

    fn completed(&mut self, now: Now, op: OpId, result: StoreResult) -> Result<(), Halt> {
        let place = self.in_flight.remove(&op).expect("one completion for each request");
        let at = usize::try_from(place.job.0 - self.first.0).expect("few cuts wait");
        let upload = &mut self.jobs[at].objects[place.object];
        match upload.completed(now, result, &mut self.rng)? {
            Judgement::Stored => {
                self.health = Health::Good;
                sometimes!(Mark::UploadsOutOfOrder, self.jobs[at].is_stored() && !self.jobs[0].is_stored());
            }
            Judgement::Again => {}
            Judgement::NoSpace if self.health == Health::Good => {
                self.health = Health::Full;
                sometimes!(Mark::StoreFull);
                tracing::warn!("no space is left behind the object store: uploads wait until some is freed");
            }
            Judgement::NoSpace => {}
        }
        Ok(())
    }

    fn wake(&mut self, now: Now) {
        for upload in self.jobs.iter_mut().flat_map(|job| &mut job.objects) {
            upload.wake(now);
        }
    }

    /// Does all that can be done now.
    fn advance(&mut self, out: &mut Effects<Effect>) {
        self.begin();
        self.commit(out);
        self.give_ids(out);
        self.request(out);
    }

    /// Begins cuts in order, as many at once as may be uploading.
    fn begin(&mut self) {
        let mut room = self.limits.uploads.saturating_sub(self.jobs.iter().filter(|job| job.is_uploading()).count());
        for job in self.jobs.iter_mut().filter(|job| job.stage == Stage::Queued) {
            if room == 0 && !job.objects.is_empty() {
                break;
            }
            room -= usize::from(!job.objects.is_empty());
            job.stage = Stage::Uploading;
        }
    }

    fn give_ids(&mut self, out: &mut Effects<Effect>) {
        for job in self.jobs.iter_mut().filter(|job| job.stage == Stage::Uploading) {
            for upload in job.objects.iter_mut().filter(|upload| upload.id().is_none()) {
                let Some(id) = self.ids.take() else {
                    if !self.asked.contains(&Asked::Lease) {
                        self.asked.push_back(Asked::Lease);
                        out.push(command(Command::LeaseObjects { count: self.limits.lease }));
                    }
                    return;
                };
                upload.fix(job.cut.cluster, id, self.limits.data_block, &job.cut.ranges);
            }
        }
    }

    fn request(&mut self, out: &mut Effects<Effect>) {
        let mut room = self.most_requests() - self.in_flight.len();
        for (at, job) in (self.first.0..).zip(&mut self.jobs) {
            for (object, upload) in job.objects.iter_mut().enumerate().filter(|(_, upload)| upload.is_ready()) {
                if room == 0 {
                    return;
                }
                room -= 1;
                let id = self.ops.issue();
                let within = attempt(self.limits.attempt, upload.size());
                let op = upload.request(id);
                self.in_flight.insert(id, Place { job: JobNumber(at), object });
                out.push(Effect::Store(id, StoreCall { op, within }));
            }
        }
    }

    fn commit(&mut self, out: &mut Effects<Effect>) {
        let Some(job) = self.jobs.front_mut() else { return };
        if job.stage == Stage::Uploading && job.is_stored() {
            job.stage = Stage::Committing;
            self.asked.push_back(Asked::Commit);
            out.push(command(Command::Commit(job.commit())));
        }
    }

    fn fail(&mut self, halt: Halt, out: &mut Effects<Effect>) {
        tracing::warn!(?halt, "the uploader can't go on");
        self.health = Health::Failed;
        out.push(to_node(node::Mail::Failed(halt)));
    }

    const fn most_requests(&self) -> usize {
        self.limits.uploads * REQUESTS_PER_CUT
    }

    fn check_order(&self) {
        for (at, job) in self.jobs.iter().enumerate() {
            job.invariants();
            assert!(job.stage != Stage::Committing || at == 0, "only the oldest cut is being committed");
        }
        assert!(self.jobs.iter().is_sorted_by_key(|job| job.stage == Stage::Queued), "cuts begin in order");
        for (one, next) in self.jobs.iter().zip(self.jobs.iter().skip(1)) {
            let follows = (one.cut.epoch, one.cut.number) < (next.cut.epoch, next.cut.number);
            assert!(follows, "cuts are in order");
        }
        let commits = self.asked.iter().filter(|asked| **asked == Asked::Commit).count();
        let committing = self.jobs.iter().filter(|job| job.stage == Stage::Committing).count();
        let leases = self.asked.len() - commits;
        assert!(leases <= 1, "one lease at a time");
        assert!(commits == committing || self.health == Health::Failed, "one commit for the cut being committed");
    }

    fn check_requests(&self) {
        // The oldest cut may have gone back to uploading when its lease ended.
        let uploading = self.jobs.iter().skip(1).filter(|job| job.is_uploading()).count();
        assert!(uploading <= self.limits.uploads, "{uploading} cuts are being uploaded");
        assert!(self.in_flight.len() <= self.most_requests(), "requests in flight are bounded");
        let mut waiting = 0;
        for (at, job) in (self.first.0..).zip(&self.jobs) {
            for (object, upload) in job.objects.iter().enumerate() {
                if let Some(op) = upload.waits_for() {
                    waiting += 1;
                    let place = Place { job: JobNumber(at), object };
                    let known = self.in_flight.get(&op) == Some(&place);
                    assert!(known || self.health == Health::Failed, "{op:?} is for {place:?}");
                }
            }
        }
        assert!(waiting == self.in_flight.len() || self.health == Health::Failed, "each request is for an object");
    }
}

fn command(command: Command) -> Effect {
    to_node(node::Mail::Command(Asker::Uploader, command))
}

fn to_node(mail: node::Mail) -> Effect {
    Effect::Mail(crate::mail::Mail::Node(mail))
}

#[cfg(test)]
mod tests;
