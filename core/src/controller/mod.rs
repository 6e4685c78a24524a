//! MACHINE: the controller. Owns the metadata log; active on one broker of the cluster.
//!
//! It owns `meta/head` (replaced by compare-and-swap alone), `meta/segment/` and `meta/snapshot/`.
//!
//! It promises:
//! - a bucket that is not the cluster's to which this broker's WAL belongs is left as it is, an empty one included;
//! - an entry that it mails is durable: part of every later head's fold, at its SEQ, for ever;
//! - entries reach the node in order, without a gap after the image, and their times never go back;
//! - a command becomes an entry as often as it is sent, except while one with its number is on its way;
//! - of two controllers that lead at once, the older finds out before it mails anything more;
//! - a segment or snapshot is deleted only after a durable head stopped referring to it, and a retention later; what a
//!   predecessor left is found by listing.
//!
//! ```text
//! asleep --Start--> opening --empty bucket--> claiming (first head, only if absent) --won--> leading
//!                   |    ^                                    |                                |
//!                   |    +------------- lost, pause ----------+           one at a time: spill, swap
//!                   +--loaded--> claiming (term + 1) ---------+--won--> leading                |
//!                                                                               lost: deposed, failed
//! ```
//! Inputs: [`Mail`], store completions, ticks. Effects: mail to the node (the image once, then entries, at last perhaps
//! a failure), and store calls on its own keys. Errors that may pass are retried for ever, with back-off, while commands
//! wait; lost rights, a lost bucket or a lost head end it.

mod audit;
mod call;
mod leading;
mod log;
mod mail;
mod opening;
mod queue;
mod scrub;
mod spill;
mod swap;
#[cfg(test)]
mod tests;
mod trash;

pub use audit::Audit;
pub use mail::{Effect, Input, Mail, NodeCommand};

use crate::id::{ClusterId, Incarnation, NodeId, Term};
use crate::limits::Limits;
use crate::machine::{Backoff, Deadline, Effects, Machine, Mark, Now, OpId, OpIds, Rng, sometimes};
use crate::mail::Halt;
use crate::metadata::Image;
use crate::node;
use crate::store::StoreResult;
use alloc::boxed::Box;
use alloc::format;
use call::{Desk, Io};
use core::mem;
use core::time::Duration;
use leading::Leading;
use log::Head;
use opening::{Loaded, Opening, Progress};
use queue::Queue;
use swap::{Swap, Verdict};
use tracing::{error, info};

/// See the module.
#[derive(Debug)]
pub struct Controller {
    desk: Desk,
    role: Role,
}

/// All but what an effect needs.
#[derive(Debug)]
struct Role {
    me: Me,
    rules: Rules,
    /// The cluster that the bucket must be of; any will do without one.
    cluster: Option<ClusterId>,
    queue: Queue,
    /// Between claims that somebody else's swap made void.
    contest: Backoff,
    state: State,
}

/// Who claims.
#[derive(Clone, Copy, Debug)]
struct Me {
    node: NodeId,
    incarnation: Incarnation,
}

/// The limits that concern it.
#[derive(Clone, Copy, Debug)]
struct Rules {
    head_inline: usize,
    segments: usize,
    retention: Duration,
    scrub_interval: Duration,
}

#[derive(Debug)]
enum State {
    Asleep,
    Opening(Opening),
    Claiming(Swap, Box<Image>),
    Leading(Box<Leading>),
    Failed,
}

impl Controller {
    /// Of this broker's run. The generator's seed is of this incarnation alone: a repeated nonce would pass another's
    /// object off as one's own.
    #[must_use]
    pub fn new(node: NodeId, incarnation: Incarnation, limits: &Limits, rng: Rng) -> Self {
        let rules = Rules {
            head_inline: limits.head_inline as usize,
            segments: limits.segments as usize,
            retention: limits.deleted_retention,
            scrub_interval: limits.scrub_interval,
        };
        let role = Role {
            me: Me { node, incarnation },
            rules,
            cluster: None,
            queue: Queue::default(),
            contest: Backoff::new(Duration::from_millis(100), Duration::from_secs(10)),
            state: State::Asleep,
        };
        Self { desk: Desk { ids: OpIds::default(), rng, attempt: limits.store_attempt }, role }
    }

    /// The cluster's state as it is durable, while this controller leads.
    #[must_use]
    pub fn image(&self) -> Option<&Image> {
        match &self.role.state {
            State::Leading(leading) => Some(leading.image()),
            _ => None,
        }
    }

    /// The term that it leads.
    #[must_use]
    pub fn term(&self) -> Option<Term> {
        match &self.role.state {
            State::Leading(leading) => Some(leading.term()),
            _ => None,
        }
    }
}

impl Role {
    fn start(&mut self, io: &mut Io<'_>, cluster: Option<ClusterId>) {
        assert!(matches!(self.state, State::Asleep), "a controller starts once");
        self.cluster = cluster;
        let mut opening = Opening::start(io, Duration::ZERO);
        opening.tick(io);
        self.state = State::Opening(opening);
    }

    fn completed(&mut self, io: &mut Io<'_>, id: OpId, result: StoreResult) {
        self.state = match mem::replace(&mut self.state, State::Failed) {
            // What was in flight when it failed.
            State::Failed => State::Failed,
            State::Asleep => panic!("a completion before anything was asked"),
            State::Opening(opening) => {
                assert!(opening.owns(id), "a completion of an operation that is not in flight: {id:?}");
                match opening.completed(io, result) {
                    Progress::Reading(opening) => State::Opening(opening),
                    Progress::Empty => self.initialise(io),
                    Progress::Loaded(loaded) => self.claim(io, *loaded),
                    Progress::Refused(halt) => fail(io, halt),
                }
            }
            State::Claiming(swap, image) => {
                assert!(swap.owns(id), "a completion of an operation that is not in flight: {id:?}");
                let verdict = swap.completed(io, result);
                self.claimed(io, image, verdict)
            }
            State::Leading(mut leading) => match leading.completed(io, &mut self.queue, id, result) {
                Ok(()) => State::Leading(leading),
                Err(halt) => fail(io, halt),
            },
        };
    }

    /// There is nothing in the bucket.
    fn initialise(&mut self, io: &mut Io<'_>) -> State {
        if let Some(lost) = self.cluster {
            return fail(io, bucket_is_lost(lost));
        }
        let cluster = ClusterId::draw(&mut io.desk.rng);
        info!(%cluster, "initialising an empty bucket");
        let image = Image::new(cluster, crate::metadata::FEATURE_LEVEL);
        let head = Head::first(cluster, self.me.writer(io, &image));
        State::Claiming(Swap::start(io, None, head), Box::new(image))
    }

    fn claim(&mut self, io: &mut Io<'_>, loaded: Loaded) -> State {
        let Loaded { stored, image } = loaded;
        if let Some(expected) = self.cluster.filter(|expected| *expected != image.cluster) {
            return fail(io, clusters_differ(expected, image.cluster));
        }
        let mut head = stored.head.clone();
        head.term = Term(head.term.0 + 1);
        head.writer = self.me.writer(io, &image);
        State::Claiming(Swap::start(io, Some(&stored), head), Box::new(image))
    }

    fn claimed(&mut self, io: &mut Io<'_>, image: Box<Image>, verdict: Verdict) -> State {
        match verdict {
            Verdict::Pending(swap) => State::Claiming(swap, image),
            Verdict::Won(stored) => {
                info!(term = stored.head.term.0, seq = stored.head.last.0, "leading the metadata log");
                io.tell(node::Mail::Image(image.clone()));
                State::Leading(Box::new(Leading::start(io, self.me, self.rules, stored, *image)))
            }
            // The claim was derived from a head that is no more, and can't take effect. Nothing was promised under it.
            Verdict::Lost(_) => {
                sometimes!(Mark::ClaimLost);
                let pause = self.contest.wait(&mut io.desk.rng);
                State::Opening(Opening::start(io, pause))
            }
            Verdict::Hopeless(halt) => fail(io, halt),
        }
    }

    fn tick(&mut self, io: &mut Io<'_>) {
        match &mut self.state {
            State::Asleep | State::Failed => {}
            State::Opening(opening) => opening.tick(io),
            State::Claiming(swap, _) => swap.tick(io),
            State::Leading(leading) => leading.tick(io),
        }
    }

    /// Commands that come too early wait; those that come too late are nobody's business any more.
    fn advance(&mut self, io: &mut Io<'_>) {
        match &mut self.state {
            State::Leading(leading) => leading.advance(io, &mut self.queue),
            State::Failed => self.queue = Queue::default(),
            State::Asleep | State::Opening(_) | State::Claiming(..) => {}
        }
    }
}

impl Machine for Controller {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, now: Now, input: Input, out: &mut Effects<Effect>) {
        let io = &mut Io { now, desk: &mut self.desk, out };
        match input {
            Input::Mail(Mail::Start { cluster }) => self.role.start(io, cluster),
            Input::Mail(Mail::Command(command)) => self.role.queue.add(command),
            Input::Store(id, result) => self.role.completed(io, id, result),
            Input::Tick => self.role.tick(io),
        }
        self.role.advance(io);
    }

    fn deadline(&self) -> Option<Deadline> {
        match &self.role.state {
            State::Asleep | State::Failed => None,
            State::Opening(opening) => opening.deadline(),
            State::Claiming(swap, _) => swap.deadline(),
            State::Leading(leading) => leading.deadline(),
        }
    }

    fn tick() -> Input {
        Input::Tick
    }

    fn invariants(&self) {
        match &self.role.state {
            State::Leading(leading) => leading.invariants(&self.role.queue),
            State::Asleep | State::Opening(_) | State::Claiming(..) | State::Failed => self.role.queue.invariants(0),
        }
    }
}

fn bucket_is_lost(cluster: ClusterId) -> Halt {
    Halt::Bucket(format!(
        "the bucket is empty, but the WAL belongs to cluster {cluster}, whose records and metadata were in its bucket: \
         name that bucket, or restore it from a backup; nothing was written to this one. To begin a new cluster, and \
         give up all that the old one held, remove the WAL"
    ))
}

fn clusters_differ(wal: ClusterId, bucket: ClusterId) -> Halt {
    Halt::WalRefused(format!(
        "the WAL belongs to cluster {wal}, the bucket to cluster {bucket}: start with the WAL and the bucket that \
         belong together"
    ))
}

fn fail(io: &mut Io<'_>, halt: Halt) -> State {
    error!(?halt, "the controller can't go on");
    io.tell(node::Mail::ControllerFailed(halt));
    State::Failed
}
