//! What connections owe: batches of idempotent producers that were refused, and come again.
//!
//! A client has several batches in flight, and hears too late that the first was refused. A partition that knows the
//! producer refuses the others: they don't follow its last. One that does not would take any, and the second would lie
//! before the first; so the shard remembers what was refused until it comes again.
//!
//! ```text
//!   A refused ──────────────► A is owed
//!   B comes, above A ───────► refused, and owed too
//!   A comes again, taken ───► B is owed: what comes above B is refused
//!   B comes again, taken ───► nothing is owed
//! ```
//! **Owed by a connection**: what it has in flight ends with it, and on the next one clients send everything again, in
//! order. So a debt needs no time after which it is forgiven, and none outlives a crash.
//!
//! **For a partition by its topic's name**: a batch that was refused where its topic was deleted is owed where that is
//! created again.
//!
//! What is refused for good is not owed: nobody sends it again. A newer epoch owes nothing of the older. Who floods the
//! shard with debts makes it forget the oldest; for those Kafka's rule holds, by which any sequence is taken. So it does
//! above a batch that arrived damaged: nobody can tell whose it was.

use crate::id::{ConnId, TopicId};
use crate::kafka::{ErrorCode, ProduceTopic};
use crate::metadata::TopicName;
use crate::producers::{ProducerEpoch, ProducerId, Sequence, Sequenced};
use alloc::collections::BTreeMap;

/// So many debts are remembered at most, of all connections together.
const MOST: usize = 10_000;

/// Batches of one producer for one partition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Line {
    topic: Named,
    partition: i32,
    producer: ProducerId,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Named {
    Name(TopicName),
    /// Nobody knows its name.
    Id(TopicId),
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is in the log.
    Written,
    /// It was refused, and comes again.
    Deferred,
    /// It was refused since something before it is missing.
    OutOfOrder,
    /// It was refused, and never comes again.
    Denied,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Debts {
    owed: BTreeMap<ConnId, BTreeMap<Line, Debt>>,
    /// The oldest first.
    by_age: BTreeMap<u64, (ConnId, Line)>,
    ages: u64,
}

/// From the first sequence that is owed to the last.
#[derive(Clone, Copy, Debug)]
struct Debt {
    epoch: ProducerEpoch,
    first: Sequence,
    last: Sequence,
    age: u64,
}

impl Line {
    /// For a topic by its name, or by its id, which had that name when the request came. None if no such topic can ever
    /// be.
    pub(super) fn of(
        topic: &ProduceTopic,
        name_of_id: Option<&TopicName>,
        partition: i32,
        producer: ProducerId,
    ) -> Option<Self> {
        let topic = match (&topic.name, name_of_id) {
            (Some(name), _) => Named::Name(TopicName::parse(name)?),
            (None, Some(name)) => Named::Name(name.clone()),
            (None, None) => Named::Id(topic.id),
        };
        Some(Self { topic, partition, producer })
    }
}

impl Fate {
    /// What is to be expected of a batch that was refused with that code.
    pub(super) fn of_refused(code: ErrorCode, batch: &Sequenced) -> Self {
        match code {
            ErrorCode::OutOfOrderSequenceNumber => Self::OutOfOrder,
            ErrorCode::CorruptMessage
            | ErrorCode::UnknownTopicOrPartition
            | ErrorCode::UnknownTopicId
            | ErrorCode::LeaderNotAvailable
            | ErrorCode::NotLeaderOrFollower
            | ErrorCode::RequestTimedOut
            | ErrorCode::KafkaStorageError => Self::Deferred,
            // Clients send its halves.
            ErrorCode::MessageTooLarge if batch.first != batch.last => Self::Deferred,
            _ => Self::Denied,
        }
    }
}

impl Debts {
    /// Whether nobody owes anything.
    pub(super) fn is_empty(&self) -> bool {
        self.owed.is_empty()
    }

    /// The first sequence that a connection owes of a line, under that epoch.
    pub(super) fn owed(&self, conn: ConnId, line: &Line, epoch: ProducerEpoch) -> Option<Sequence> {
        let debt = self.owed.get(&conn)?.get(line)?;
        (debt.epoch == epoch).then_some(debt.first)
    }

    /// A batch of a line, which a connection sent, has come to that.
    pub(super) fn note(&mut self, conn: ConnId, line: Line, batch: &Sequenced, fate: Fate) {
        let debt = self.owed.get_mut(&conn).and_then(|lines| lines.get_mut(&line));
        let Some(debt) = debt.filter(|debt| debt.epoch >= batch.epoch) else {
            if fate == Fate::Deferred {
                self.begin(conn, line, batch);
            }
            return;
        };
        // The older epoch owes nothing any more.
        if debt.epoch == batch.epoch && debt.note(batch, fate) == Standing::Settled {
            self.forgive(conn, &line);
        }
    }

    /// A connection is gone: it sends nothing any more.
    pub(super) fn forget(&mut self, conn: ConnId) {
        for debt in self.owed.remove(&conn).into_iter().flat_map(BTreeMap::into_values) {
            self.by_age.remove(&debt.age);
        }
    }

    pub(super) fn invariants(&self) {
        let count: usize = self.owed.values().map(BTreeMap::len).sum();
        assert!(count <= MOST && count == self.by_age.len(), "debts are bounded, and each has an age");
        assert!(self.owed.values().all(|lines| !lines.is_empty()), "a connection that is listed owes something");
    }

    fn begin(&mut self, conn: ConnId, line: Line, batch: &Sequenced) {
        // One of an older epoch is nobody's any more.
        self.forgive(conn, &line);
        if self.by_age.len() == MOST
            && let Some((_, (conn, line))) = self.by_age.pop_first()
        {
            self.forgive(conn, &line);
        }
        self.ages += 1;
        self.by_age.insert(self.ages, (conn, line.clone()));
        let debt = Debt { epoch: batch.epoch, first: batch.first, last: batch.last, age: self.ages };
        self.owed.entry(conn).or_default().insert(line, debt);
    }

    fn forgive(&mut self, conn: ConnId, line: &Line) {
        let Some(lines) = self.owed.get_mut(&conn) else { return };
        if let Some(debt) = lines.remove(line) {
            self.by_age.remove(&debt.age);
        }
        if lines.is_empty() {
            self.owed.remove(&conn);
        }
    }
}

/// Whether something of a debt is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Open,
    Settled,
}

impl Debt {
    fn note(&mut self, batch: &Sequenced, fate: Fate) -> Standing {
        let is_paid = match fate {
            // Nothing is written before what comes before it is.
            Fate::Written => !batch.last.lies_before(self.first),
            Fate::Denied => batch.first == self.first,
            Fate::Deferred | Fate::OutOfOrder => {
                if batch.first.lies_before(self.first) && fate == Fate::Deferred {
                    self.first = batch.first;
                }
                if self.last.lies_before(batch.last) {
                    self.last = batch.last;
                }
                return Standing::Open;
            }
        };
        if !is_paid {
            return Standing::Open;
        }
        if !batch.last.lies_before(self.last) {
            return Standing::Settled;
        }
        self.first = batch.last.next();
        Standing::Open
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use kafka_protocol::protocol::StrBytes;

    const A: ConnId = ConnId(1);
    const B: ConnId = ConnId(2);

    fn line(topic: &str, producer: u64) -> Line {
        let name = Some(StrBytes::from_string(topic.into()));
        let topic = ProduceTopic { name, id: TopicId::default(), partitions: alloc::vec::Vec::new() };
        Line::of(&topic, None, 0, ProducerId(producer)).expect("a name that can be")
    }

    /// A batch of two records.
    fn batch(epoch: u16, first: i32) -> Sequenced {
        let first = Sequence::of(first).expect("not negative");
        Sequenced { producer: ProducerId(7), epoch: ProducerEpoch(epoch), first, last: first.next() }
    }

    fn owed(debts: &Debts, conn: ConnId, epoch: u16) -> Option<u32> {
        debts.invariants();
        debts.owed(conn, &line("t", 7), ProducerEpoch(epoch)).map(Sequence::number)
    }

    fn note(debts: &mut Debts, first: i32, fate: Fate) -> Option<u32> {
        debts.note(A, line("t", 7), &batch(0, first), fate);
        owed(debts, A, 0)
    }

    #[test]
    fn what_was_refused_is_owed_until_it_is_written_and_then_what_came_behind_it() {
        let mut debts = Debts::default();
        assert_eq!(note(&mut debts, 3, Fate::Deferred), Some(3));
        assert_eq!(note(&mut debts, 5, Fate::OutOfOrder), Some(3));
        assert_eq!(note(&mut debts, 7, Fate::Deferred), Some(3));
        assert_eq!(note(&mut debts, 1, Fate::Written), Some(3), "what lies before it pays for nothing");
        assert_eq!(note(&mut debts, 3, Fate::Written), Some(5));
        assert_eq!(note(&mut debts, 3, Fate::Deferred), Some(3));
        assert_eq!(note(&mut debts, 5, Fate::Written), Some(7), "all before it is written");
        assert_eq!(note(&mut debts, 7, Fate::Written), None);
        assert!(debts.is_empty());
    }

    #[test]
    fn what_is_refused_for_good_is_not_owed() {
        let mut debts = Debts::default();
        assert_eq!(note(&mut debts, 3, Fate::Denied), None);
        assert_eq!(note(&mut debts, 3, Fate::OutOfOrder), None, "nothing that comes again is missing");
        assert_eq!(note(&mut debts, 3, Fate::Deferred), Some(3));
        assert_eq!(note(&mut debts, 5, Fate::Deferred), Some(3));
        assert_eq!(note(&mut debts, 5, Fate::Denied), Some(3));
        assert_eq!(note(&mut debts, 3, Fate::Denied), Some(5));
        for (code, records, fate) in [
            (ErrorCode::NotLeaderOrFollower, 0, Fate::Deferred),
            (ErrorCode::MessageTooLarge, 1, Fate::Deferred),
            (ErrorCode::MessageTooLarge, 0, Fate::Denied),
            (ErrorCode::InvalidRecord, 1, Fate::Denied),
        ] {
            let first = Sequence::FIRST;
            let batch = Sequenced { first, last: first.plus(records), ..batch(0, 0) };
            assert_eq!(Fate::of_refused(code, &batch), fate);
        }
    }

    #[test]
    fn debts_are_of_one_connection_and_of_one_epoch() {
        let mut debts = Debts::default();
        note(&mut debts, 3, Fate::Deferred);
        debts.note(B, line("t", 7), &batch(0, 9), Fate::Deferred);
        assert_eq!((owed(&debts, A, 1), owed(&debts, B, 0)), (None, Some(9)));
        assert_eq!(debts.owed(A, &line("u", 7), ProducerEpoch(0)), None);
        assert_eq!(debts.owed(A, &line("t", 8), ProducerEpoch(0)), None);
        debts.note(A, line("t", 7), &batch(1, 0), Fate::Written);
        debts.note(A, line("t", 7), &batch(1, 2), Fate::Deferred);
        assert_eq!((owed(&debts, A, 0), owed(&debts, A, 1)), (None, Some(2)));
        assert_eq!(note(&mut debts, 1, Fate::Deferred), None, "the older epoch has ended");
        debts.forget(B);
        assert_eq!((owed(&debts, A, 1), owed(&debts, B, 0)), (Some(2), None));
        debts.forget(A);
        assert!(debts.is_empty() && debts.by_age.is_empty());
    }

    #[test]
    fn a_topic_is_the_same_by_name_and_by_id() {
        let by_id = ProduceTopic { name: None, id: TopicId([1; 16]), partitions: alloc::vec::Vec::new() };
        let line_of = |name: Option<&TopicName>| Line::of(&by_id, name, 0, ProducerId(7));
        let name = TopicName::parse("t");
        assert_eq!(line_of(name.as_ref()), Some(line("t", 7)));
        assert_ne!(line_of(None), Some(line("t", 7)));
        let never = ProduceTopic { name: Some(StrBytes::from_static_str("no topic")), ..by_id.clone() };
        assert_eq!(Line::of(&never, None, 0, ProducerId(7)), None);
    }

    #[test]
    fn sequences_go_from_their_end_to_zero() {
        let mut debts = Debts::default();
        assert_eq!(note(&mut debts, i32::MAX - 1, Fate::Deferred), Some(i32::MAX.unsigned_abs() - 1));
        assert_eq!(note(&mut debts, i32::MAX - 1, Fate::Written), None);
    }

    #[test]
    fn the_oldest_debt_is_forgotten_when_there_are_too_many() {
        let mut debts = Debts::default();
        note(&mut debts, 3, Fate::Deferred);
        for n in 0..MOST {
            assert_eq!(owed(&debts, A, 0), Some(3));
            debts.note(B, line(&format!("t{n}"), 7), &batch(0, 0), Fate::Deferred);
        }
        assert_eq!(owed(&debts, A, 0), None);
    }
}
