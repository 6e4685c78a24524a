//! The way down: asked for, or forced by a WAL that failed.

use super::startup::refused;
use super::{Asker, Effect, Node, Phase, to};
use crate::id::CutNumber;
use crate::machine::{Deadline, Effects, Instant, Mark, Now, sometimes};
use crate::mail::{Halt, Mail as To};
use crate::metadata::{Answer, Command};
use crate::{compaction, shard, wal};
use alloc::string::String;

/// A stop under way.
#[derive(Debug)]
pub(super) struct Stopping {
    pub(super) why: Why,
    give_up_at: Instant,
    step: Step,
}

/// What made the node stop.
#[derive(Debug)]
pub(super) enum Why {
    /// The operator.
    Asked,
    /// A write to the WAL failed, as described.
    Poisoned(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The shard makes its last records durable and cuts them.
    Draining,
    /// That cut is being uploaded and committed.
    Uploading(CutNumber),
    /// The streams are being closed in the metadata.
    Closing,
    /// The WAL is being marked clean.
    Cleaning,
}

impl Stopping {
    pub(super) fn deadline(&self) -> Deadline {
        Deadline { at: self.give_up_at, reason: "stop without having uploaded everything" }
    }

    /// The halt when the deadline has passed. Nothing is lost: the WAL has what was not uploaded.
    pub(super) fn give_up(&self) -> Halt {
        match &self.why {
            Why::Asked => Halt::Bucket(
                "the last records could not be uploaded in time; they are safe in the WAL and will be uploaded at the \
                 next start"
                    .into(),
            ),
            Why::Poisoned(why) => Halt::WalPoisoned(why.clone()),
        }
    }
}

impl Node {
    pub(super) fn handle_stop(&mut self, now: Now, out: &mut Effects<Effect>) {
        match self.phase {
            Phase::Serving => self.start_stopping(now, Why::Asked, out),
            Phase::Stopping(_) | Phase::Halted => {}
            // Nothing was acknowledged yet. What the last run left in the WAL is there, or committed by now.
            _ => {
                sometimes!(Mark::StoppedBeforeServing);
                self.halt(Halt::NotStarted, out);
            }
        }
    }

    pub(super) fn handle_poisoned(&mut self, now: Now, why: String, out: &mut Effects<Effect>) {
        match &mut self.phase {
            Phase::Serving => self.start_stopping(now, Why::Poisoned(why), out),
            Phase::Stopping(stopping) if stopping.step == Step::Draining => {
                sometimes!(Mark::PoisonedWhileStopping);
                stopping.why = Why::Poisoned(why);
            }
            _ => self.halt(Halt::WalPoisoned(why), out),
        }
    }

    fn start_stopping(&mut self, now: Now, why: Why, out: &mut Effects<Effect>) {
        let give_up_at = now.mono.after(self.limits.drain);
        self.phase = Phase::Stopping(Stopping { why, give_up_at, step: Step::Draining });
        out.push(to(To::Compactor(compaction::Mail::Stop)));
        out.push(to(To::Shard(shard::Mail::Drain)));
    }

    pub(super) fn handle_drained(&mut self, last: CutNumber, out: &mut Effects<Effect>) {
        let Phase::Stopping(stopping) = &mut self.phase else { unreachable!("the shard drains when it is told to") };
        stopping.step = Step::Uploading(last);
        self.handle_cut_committed(self.committed, out);
    }

    pub(super) fn handle_cut_committed(&mut self, number: CutNumber, out: &mut Effects<Effect>) {
        if let Phase::Recovering(_) = self.phase {
            return self.recover_on(out);
        }
        self.committed = number;
        let Phase::Stopping(stopping) = &mut self.phase else { return };
        match (stopping.step, &stopping.why) {
            (Step::Uploading(last), Why::Asked) if number >= last => {
                stopping.step = Step::Closing;
                self.commands.send(Asker::Node, Command::CloseStreams, self.epoch, out);
            }
            (Step::Uploading(last), Why::Poisoned(why)) if number >= last => {
                let halt = Halt::WalPoisoned(why.clone());
                self.halt(halt, out);
            }
            _ => {}
        }
    }

    pub(super) fn handle_streams_closed(&mut self, answer: Answer, out: &mut Effects<Effect>) {
        if answer != Answer::Done {
            return self.halt(refused(&answer, "closing its streams"), out);
        }
        let Phase::Stopping(stopping) = &mut self.phase else { unreachable!("the caller looked at the phase") };
        assert_eq!(stopping.step, Step::Closing, "streams are closed once, after the last cut");
        stopping.step = Step::Cleaning;
        out.push(to(To::Wal(wal::Mail::Close)));
    }

    pub(super) fn handle_wal_closed(&mut self, out: &mut Effects<Effect>) {
        assert!(matches!(self.phase, Phase::Stopping(Stopping { step: Step::Cleaning, .. })), "the WAL is closed last");
        self.halt(Halt::Clean, out);
    }
}
