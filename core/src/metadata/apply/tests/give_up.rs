//! Rings that are lost.

use super::*;
use crate::metadata::{GivenUpImage, WalKind};

#[test]
fn a_lost_ring_is_given_up_by_its_name_alone_and_streams_go_on_where_they_are_committed() {
    let mut log = Log::with_topic();
    log.send(committed(1, vec![object(1, &[range(1, 0, 5)])]));
    log.send(Command::TrimStream { stream: StreamId(2), epoch: StreamEpoch(1), start: Offset(3) });
    let before = log.image.clone();
    let other = WalUuid([9; 16]);
    assert_eq!(log.register(None, Some(other)), Answer::Refused(Refusal::WrongWal { expected: RING }));
    assert_eq!(log.register(ring(100), Some(RING)), Answer::Refused(Refusal::WalPresent));
    let newer = Some(RegisteredWal { uuid: other, epoch: NodeEpoch(2), trim: Lsn(0) });
    assert_eq!(log.register(newer, Some(RING)), Answer::Refused(Refusal::WalAhead { known: Lsn(0) }));
    assert_eq!((&before.nodes, &before.streams), (&log.image.nodes, &log.image.streams));

    let old = NodeCommand { ..log.command(log.sent.next(), committed(2, vec![])) };
    let foreign = Some(RegisteredWal { uuid: other, epoch: NodeEpoch(1), trim: Lsn(700) });
    let registered = Answer::Registered { epoch: NodeEpoch(2), recoveries: vec![] };
    assert_eq!(log.register(foreign, Some(RING)), registered);
    let at = log.image.at;
    let given_up = GivenUpImage { wal: RING, of_epoch: NodeEpoch(1), at };
    assert_eq!(log.image.nodes[&NODE].given_up, Some(given_up));
    assert_eq!(log.apply(old), Answer::Refused(Refusal::Fenced), "its broker, if it lives");
    assert_eq!(log.state(2), None, "what it leased has expired");
    let ends = |log: &Log| [1, 2].map(|id| (log.stream(id).state, log.stream(id).start, log.stream(id).end));
    let closed = StreamState::Closed;
    assert_eq!(ends(&log), [(closed, Offset(0), Offset(5)), (closed, Offset(3), Offset(3))]);

    assert_eq!(log.register(None, Some(RING)), Answer::Refused(Refusal::NothingToGiveUp), "once is enough");
    assert!(matches!(log.restart(None), Answer::Registered { .. }), "any ring will do now");
    log.send(Command::NameWal { uuid: WalUuid([8; 16]), kind: WalKind::Ring });
    log.send(Command::OpenStreams);
    let end_of = |stream, epoch| log.stream(stream).epochs.end_of(StreamEpoch(epoch), Offset(50));
    assert_eq!(log.stream(1).epoch, StreamEpoch(2));
    assert_eq!(end_of(1, 1), Some((StreamEpoch(1), Offset(5))), "who has read on learns that it is gone");
    assert_eq!(end_of(2, 1), Some((StreamEpoch(1), Offset(3))));
    assert_eq!(log.image.nodes[&NODE].given_up, Some(given_up));
}

#[test]
fn a_ring_that_is_lost_while_it_is_recovered_is_given_up_as_well() {
    let mut log = Log::with_topic();
    let Answer::Registered { recoveries, .. } = log.restart(ring(0)) else { panic!() };
    let number = recoveries[0].number;
    log.send(Command::LeaseObjects { count: 1 });
    let found = Commit { recovery: Some(number), ..cut(1, vec![object(9, &[range(1, 0, 4)])]) };
    assert_eq!(log.send(Command::Commit(found)), Answer::Done);
    assert!(matches!(log.register(None, Some(RING)), Answer::Registered { .. }));
    assert_eq!((log.stream(1).state, log.stream(1).end), (StreamState::Closed, Offset(4)));
    assert_eq!(log.refused(Command::EndRecovery { number }), Refusal::RecoverySuperseded);
    assert_eq!(Log::new().register(None, Some(RING)), Answer::Refused(Refusal::NothingToGiveUp), "of a new node");
}
