//! Registration and recovery.
//!
//! A node epoch leaves a trace (an [`EpochImage`]) from the naming of its ring until its streams are closed, by itself
//! or by its recovery. As a ring is named only when nothing older is left to recover, a node has at most one. A ring that
//! is lost is given up by a registration that names it: fencing its epoch, closing its streams and the way to a new ring
//! are one entry, so that there is no state in between.
//!
//! A WAL in the bucket is there for whoever may register: no broker has to show that it holds it.

use crate::controller::NodeCommand;
use crate::id::{CommandSeq, CutNumber, Lsn, NodeEpoch, NodeId, RecoveryNumber, WalUuid};
use crate::metadata::{
    Answer, EpochImage, GivenUpImage, Image, NodeImage, ObjectState, Refusal, RegisteredWal, StreamState, WalKind,
};
use alloc::collections::BTreeMap;
use alloc::string::String;

impl Image {
    /// A new epoch for the sender. The older one is fenced, its recovery ordered, and what it leased expires: an object
    /// under such an id can never be committed.
    pub(super) fn register(
        &mut self,
        by: &NodeCommand,
        (wal, give_up): (Option<RegisteredWal>, Option<WalUuid>),
        (host, port): (&str, u16),
    ) -> Result<Answer, Refusal> {
        let known = self.nodes.get(&by.node);
        let last_epoch = known.map_or(NodeEpoch(0), |node| node.epoch);
        if wal.is_some_and(|wal| wal.epoch > last_epoch) {
            // A ring is formatted for an epoch only after its registration is durable.
            return Err(Refusal::WalAhead { known: Lsn(0) });
        }
        match give_up {
            None => match_wal(known, wal)?,
            Some(lost) => self.give_up(by.node, lost, wal)?,
        }

        self.objects.retain(|_, object| !matches!(object.state, ObjectState::Leased(node, _) if node == by.node));
        let node = self.nodes.entry(by.node).or_insert_with(|| NodeImage {
            epoch: last_epoch,
            incarnation: by.incarnation,
            host: String::new(),
            port: 0,
            epochs: BTreeMap::new(),
            last_command: CommandSeq(0),
            answers: BTreeMap::new(),
            given_up: None,
        });
        if node.incarnation != by.incarnation {
            node.answers.clear();
        }
        node.epoch = last_epoch.next();
        node.incarnation = by.incarnation;
        node.host = host.into();
        node.port = port;
        let number = RecoveryNumber(self.seq.0);
        for epoch in node.epochs.values_mut() {
            epoch.recovery = Some(number);
        }
        Ok(Answer::Registered { epoch: last_epoch.next(), recoveries: self.recoveries(by.node) })
    }

    /// Nobody will recover that ring: the streams of its epoch end where they are committed. They are closed, so that
    /// the next opening is under a higher epoch, by which consumers learn of what is gone (KIP-320).
    fn give_up(&mut self, node: NodeId, lost: WalUuid, found: Option<RegisteredWal>) -> Result<(), Refusal> {
        let known = self.nodes.get_mut(&node).ok_or(Refusal::NothingToGiveUp)?;
        let (epoch, image) = known.epochs.first_key_value().ok_or(Refusal::NothingToGiveUp)?;
        let (epoch, wal) = (*epoch, image.wal);
        if wal != lost {
            return Err(Refusal::WrongWal { expected: wal });
        }
        if found.is_some_and(|found| found.uuid == wal && found.epoch == epoch) {
            return Err(Refusal::WalPresent);
        }
        known.epochs.remove(&epoch);
        known.given_up = Some(GivenUpImage { wal, of_epoch: epoch, at: self.at });
        self.close_all(node, epoch);
        Ok(())
    }

    /// The sender's WAL has begun its life under the sender's epoch: nothing is committed of it yet.
    pub(super) fn name_wal(&mut self, by: &NodeCommand, uuid: WalUuid, kind: WalKind) -> Result<Answer, Refusal> {
        let node = self.nodes.get_mut(&by.node).ok_or(Refusal::Fenced)?;
        if node.epochs.values().any(|epoch| epoch.recovery.is_some()) {
            return Err(Refusal::NotRecovered);
        }
        let named = node.epochs.entry(by.epoch).or_insert(EpochImage {
            wal: uuid,
            kind,
            trim: Lsn(0),
            last_cut: CutNumber(0),
            recovery: None,
        });
        if (named.wal, named.kind) == (uuid, kind) {
            Ok(Answer::Done)
        } else {
            Err(Refusal::WrongWal { expected: named.wal })
        }
    }

    /// The oldest epoch whose newest recovery has that number is recovered.
    pub(super) fn end_recovery(&mut self, by: &NodeCommand, number: RecoveryNumber) -> Result<Answer, Refusal> {
        let node = self.nodes.get_mut(&by.node).ok_or(Refusal::Fenced)?;
        let ordered = node.epochs.iter().find(|(_, image)| image.recovery == Some(number));
        let epoch = *ordered.ok_or(Refusal::RecoverySuperseded)?.0;
        node.epochs.remove(&epoch);
        self.close_all(by.node, epoch);
        Ok(Answer::Done)
    }

    /// Closes what is open under a node's epoch.
    pub(super) fn close_all(&mut self, owner: NodeId, epoch: NodeEpoch) {
        for stream in self.streams.values_mut() {
            if stream.owner == owner && stream.state == StreamState::Open(epoch) {
                stream.state = StreamState::Closed;
            }
        }
    }

    /// Whether streams may be open under the sender's epoch: it named its ring, hence nothing older is unrecovered.
    pub(super) fn may_open(&self, by: &NodeCommand) -> Result<(), Refusal> {
        let named = self.nodes.get(&by.node).is_some_and(|node| node.epochs.contains_key(&by.epoch));
        named.then_some(()).ok_or(Refusal::NotRecovered)
    }
}

/// Whether a node may go on with the ring that it holds: it is the one that has what is not committed yet, and neither
/// that ring nor the metadata is an older copy.
fn match_wal(node: Option<&NodeImage>, wal: Option<RegisteredWal>) -> Result<(), Refusal> {
    let rings = node.into_iter().flat_map(|node| &node.epochs).filter(|(_, image)| image.kind == WalKind::Ring);
    for (epoch, image) in rings {
        let same = wal.filter(|wal| wal.uuid == image.wal && wal.epoch == *epoch);
        let same = same.ok_or(Refusal::WrongWal { expected: image.wal })?;
        if same.trim > image.trim {
            return Err(Refusal::WalAhead { known: image.trim });
        }
    }
    Ok(())
}
