//! From the first image to serving.

use super::recovery::Recoveries;
use super::{Asker, Effect, Node, Phase, Purpose, to};
use crate::id::{NodeEpoch, WalUuid};
use crate::machine::{Effects, Mark, Now, sometimes};
use crate::mail::{Halt, Mail as To};
use crate::metadata::{Answer, Command, Image, Refusal, RegisteredWal, WalKind};
use crate::{compaction, controller, shard, wal};
use alloc::boxed::Box;
use alloc::format;

impl Node {
    /// The WAL comes before the bucket: only the disk can tell that an empty bucket is one that was lost.
    pub(super) fn handle_inspection(&mut self, inspection: wal::Inspection, out: &mut Effects<Effect>) {
        if inspection == wal::Inspection::Objects {
            self.wal = WalKind::Objects;
        }
        if let Purpose::GiveUp { cluster, .. } = self.config.purpose {
            // Whatever else is on the disk is no business of this: only the lost ring itself must not be.
            let found = match inspection {
                wal::Inspection::Ring(found)
                    if (found.life.cluster, found.life.node) == (cluster, self.config.node) =>
                {
                    Some(found)
                }
                _ => None,
            };
            self.phase = Phase::Joining(found);
            return out.push(to(To::Controller(controller::Mail::Start { cluster: Some(cluster) })));
        }
        let found = match inspection {
            wal::Inspection::Blank | wal::Inspection::Objects => None,
            wal::Inspection::Unreadable(why) => return self.halt(Halt::WalUnreadable(why), out),
            wal::Inspection::Refused(why) => return self.halt(Halt::WalRefused(why), out),
            wal::Inspection::Ring(found) if found.life.node != self.config.node => {
                let why = format!(
                    "the WAL belongs to node {}, this is node {}: start with that node id, or with another WAL",
                    found.life.node, self.config.node
                );
                return self.halt(Halt::WalRefused(why), out);
            }
            wal::Inspection::Ring(found) => Some(found),
        };
        self.phase = Phase::Joining(found);
        let cluster = found.map(|found| found.life.cluster);
        out.push(to(To::Controller(controller::Mail::Start { cluster })));
    }

    pub(super) fn handle_image(&mut self, image: Image, out: &mut Effects<Effect>) {
        let Phase::Joining(found) = self.phase else { unreachable!("the controller sends one image, when started") };
        let fits = found.is_none_or(|found| found.life.cluster == image.cluster);
        assert!(fits, "the controller leads in no bucket but the WAL's");
        out.push(to(To::Shard(shard::Mail::Image(Box::new(image.clone())))));
        self.image = Some(image);
        self.phase = Phase::Registering(found);
        let wal = found.map(|found| RegisteredWal { uuid: found.life.uuid, epoch: found.life.epoch, trim: found.trim });
        let give_up = match self.config.purpose {
            Purpose::Serve => None,
            Purpose::GiveUp { wal, .. } => Some(wal),
        };
        let register = Command::Register { wal, host: self.config.host.clone(), port: self.config.port, give_up };
        self.commands.send(Asker::Node, register, NodeEpoch(0), out);
    }

    pub(super) fn handle_registered(&mut self, answer: Answer, out: &mut Effects<Effect>) {
        let Answer::Registered { epoch, recoveries } = answer else {
            sometimes!(Mark::GiveUpRefused, matches!(self.config.purpose, Purpose::GiveUp { .. }));
            return self.halt(refused_registration(&answer), out);
        };
        if let Purpose::GiveUp { wal, .. } = self.config.purpose {
            sometimes!(Mark::WalGivenUp);
            tracing::info!(%wal, "given up");
            return self.halt(Halt::GivenUp, out);
        }
        let Phase::Registering(found) = &self.phase else { unreachable!("the caller looked at the phase") };
        tracing::info!(%epoch, recoveries = recoveries.len(), "registered");
        self.epoch = epoch;
        let found = found.map(|found| found.life.uuid);
        self.phase = Phase::Recovering(Recoveries::new(found, recoveries));
        self.recover_next(out);
    }

    /// Everything earlier is recovered: a new life for the WAL.
    pub(super) fn format_wal(&mut self, out: &mut Effects<Effect>) {
        let image = self.image.as_ref().expect("a registered node has an image");
        let uuid = WalUuid::draw(&mut self.rng);
        let life = wal::Life { cluster: image.cluster, node: self.config.node, epoch: self.epoch, uuid };
        let level = image.feature_level;
        self.phase = Phase::Formatting(uuid);
        out.push(to(To::Wal(wal::Mail::Format { life, level })));
    }

    pub(super) fn handle_formatted(&mut self, out: &mut Effects<Effect>) {
        let Phase::Formatting(uuid) = self.phase else { unreachable!("the WAL formats when it is told to") };
        self.phase = Phase::Naming;
        self.commands.send(Asker::Node, Command::NameWal { uuid, kind: self.wal }, self.epoch, out);
    }

    pub(super) fn handle_named(&mut self, answer: Answer, out: &mut Effects<Effect>) {
        if answer != Answer::Done {
            return self.halt(refused(&answer, "naming its WAL"), out);
        }
        self.phase = Phase::Opening;
        self.commands.send(Asker::Node, Command::OpenStreams, self.epoch, out);
    }

    pub(super) fn handle_opened(&mut self, now: Now, answer: Answer, out: &mut Effects<Effect>) {
        if answer != Answer::Done {
            return self.halt(refused(&answer, "opening its streams"), out);
        }
        self.phase = Phase::Serving;
        self.janitor.start(now, self.wal);
        out.push(to(To::Compactor(compaction::Mail::Begin)));
        out.push(to(To::Shard(shard::Mail::Serve { node: self.config.node, epoch: self.epoch })));
    }
}

fn refused_registration(answer: &Answer) -> Halt {
    match answer {
        Answer::Refused(Refusal::WrongWal { expected }) => Halt::WalRefused(format!(
            "acknowledged records are in the WAL {expected}, which is not the one on this disk: start with that disk \
             (--wal-device); a blank or older disk would lose them. If it is lost for good, this says what goes with it, and asks before \
             it gives that up: karst wal give-up {expected}"
        )),
        Answer::Refused(Refusal::NothingToGiveUp) => Halt::WalRefused(
            "the cluster waits for no WAL of this node: all that was acknowledged is committed, or was given up before"
                .into(),
        ),
        Answer::Refused(Refusal::WalPresent) => Halt::WalRefused(
            "the WAL that is to be given up is the one on this disk: start the broker, and nothing is lost".into(),
        ),
        Answer::Refused(Refusal::WalAhead { known }) => Halt::WalRefused(format!(
            "the WAL was trimmed beyond LSN {known}, where the bucket's metadata ends: the bucket is an older copy; \
             restore the newer one"
        )),
        other => refused(other, "registering"),
    }
}

/// A refusal of one of the node's own commands: somebody else speaks in its name.
pub(super) fn refused(answer: &Answer, doing: &str) -> Halt {
    Halt::Fenced(format!("the cluster refused this broker when {doing}: {answer:?}"))
}
