use super::*;
use crate::machine::Rng;
use alloc::vec::Vec;

const DAY: u64 = 24 * 3600 * 1_000_000_000;
const DAY_MS: i64 = 24 * 3600 * 1000;

fn at(mono: u64) -> Now {
    Now { mono: Instant(mono), wall: WallTime(0) }
}

fn batch(producer: u64, epoch: u16, first: i32, records: u32) -> Sequenced {
    let first = Sequence::of(first).expect("not negative");
    Sequenced { producer: ProducerId(producer), epoch: ProducerEpoch(epoch), first, last: first.plus(records - 1) }
}

fn limits(producers: u32) -> Limits {
    Limits { producers, ..Limits::default() }
}

/// A partition of which every batch becomes durable when it is told to.
struct Log {
    producers: Producers,
    end: u64,
    in_flight: VecDeque<(Sequenced, Offset)>,
    written: ProducerTable,
}

impl Log {
    fn new() -> Self {
        Self::of(ProducerTable::default(), 100)
    }

    fn of(table: ProducerTable, limit: u32) -> Self {
        let written = table.clone();
        Self {
            producers: Producers::open(at(0), table, &limits(limit)),
            end: 1_000,
            in_flight: VecDeque::new(),
            written,
        }
    }

    fn send(&mut self, now: u64, batch: Sequenced) -> Result<Verdict, ErrorCode> {
        self.send_owing(now, batch, None)
    }

    fn send_owing(&mut self, now: u64, batch: Sequenced, owed: Option<i32>) -> Result<Verdict, ErrorCode> {
        let verdict = self.producers.check(at(now), &batch, owed.and_then(Sequence::of));
        if verdict == Verdict::Append {
            self.producers.append(&batch, Offset(self.end));
            self.in_flight.push_back((batch, Offset(self.end)));
            self.end += 10;
        }
        self.producers.invariants();
        match verdict {
            Verdict::Refused(refusal) => Err(refusal.code),
            verdict => Ok(verdict),
        }
    }

    fn land(&mut self, now: u64, timestamp: i64) {
        let (batch, base) = self.in_flight.pop_front().expect("something is in flight");
        self.producers.apply(at(now), &batch, base, (WallTime(timestamp), None));
        self.written.write(batch, base, (WallTime(timestamp), None));
        self.producers.invariants();
    }

    fn write(&mut self, now: u64, batch: Sequenced) -> Offset {
        let base = Offset(self.end);
        assert_eq!(self.send(now, batch), Ok(Verdict::Append));
        self.land(now, 0);
        base
    }
}

#[test]
fn sequences_go_from_their_end_to_zero() {
    let last = Sequence::of(i32::MAX).expect("not negative");
    assert_eq!(last.next(), Sequence::FIRST);
    assert_eq!(last.plus(5), Sequence::FIRST.plus(4));
    assert_eq!(Sequence::of(-1), None);
    let state = ProducerState::new(
        ProducerEpoch(0),
        WallTime(0),
        Written { first: Sequence::of(i32::MAX - 3).expect("not negative"), last, base: Offset(3), stamped: None },
    );
    let mut log = Log::of(ProducerTable { producers: [(ProducerId(1), state)].into() }, 10);
    assert_eq!(log.send(0, batch(1, 0, i32::MAX - 3, 4)), Ok(Verdict::Durable(Offset(3), None)));
    assert_eq!(log.send(0, batch(1, 0, 1, 1)), Err(ErrorCode::OutOfOrderSequenceNumber));
    log.write(0, batch(1, 0, 0, 2));
    log.write(0, batch(1, 0, 2, 2));
}

#[test]
fn a_batch_that_is_in_flight_waits_and_one_that_is_durable_has_its_offset() {
    let mut log = Log::new();
    assert_eq!(log.send(0, batch(7, 0, 0, 3)), Ok(Verdict::Append));
    assert_eq!(log.send(0, batch(7, 0, 3, 2)), Ok(Verdict::Append));
    assert_eq!(log.send(0, batch(7, 0, 0, 3)), Ok(Verdict::InFlight(Offset(1_000))));
    assert_eq!(log.send(0, batch(7, 0, 3, 2)), Ok(Verdict::InFlight(Offset(1_010))));
    log.land(0, 0);
    assert_eq!(log.send(0, batch(7, 0, 0, 3)), Ok(Verdict::Durable(Offset(1_000), None)));
    assert_eq!(log.send(0, batch(7, 0, 3, 2)), Ok(Verdict::InFlight(Offset(1_010))));
    // A part of it, or more than it, is another batch.
    for other in [batch(7, 0, 0, 2), batch(7, 0, 0, 4), batch(7, 0, 1, 2), batch(7, 0, 6, 1)] {
        assert_eq!(log.send(0, other), Err(ErrorCode::OutOfOrderSequenceNumber), "{other:?}");
    }
}

#[test]
fn five_batches_are_remembered() {
    let mut log = Log::new();
    let bases: Vec<Offset> = (0..7).map(|n| log.write(0, batch(7, 0, 2 * n, 2))).collect();
    for (n, base) in (0..7).zip(bases) {
        let expected = if n < 2 { Err(ErrorCode::OutOfOrderSequenceNumber) } else { Ok(Verdict::Durable(base, None)) };
        assert_eq!(log.send(0, batch(7, 0, 2 * n, 2)), expected);
    }
    assert_eq!(log.producers.table(), log.written);
    // More than five may be in flight, and each is found.
    (7..20).for_each(|n| assert_eq!(log.send(0, batch(7, 0, 2 * n, 2)), Ok(Verdict::Append)));
    assert_eq!(log.send(0, batch(7, 0, 14, 2)), Ok(Verdict::InFlight(Offset(1_070))));
    assert_eq!(log.send(0, batch(7, 0, 4, 2)), Ok(Verdict::Durable(Offset(1_020), None)));
}

#[test]
fn a_newer_epoch_begins_at_zero_and_ends_the_older() {
    let mut log = Log::new();
    log.write(0, batch(7, 3, 0, 2));
    assert_eq!(log.send(0, batch(7, 4, 2, 1)), Err(ErrorCode::OutOfOrderSequenceNumber));
    assert_eq!(log.send(0, batch(7, 4, 0, 1)), Ok(Verdict::Append));
    // The older one ends with what is appended, not with what is durable.
    assert_eq!(log.send(0, batch(7, 3, 2, 1)), Err(ErrorCode::InvalidProducerEpoch));
    assert_eq!(log.send(0, batch(7, 3, 0, 2)), Err(ErrorCode::InvalidProducerEpoch));
    log.land(0, 0);
    assert_eq!(log.producers.table(), log.written);
    assert_eq!(log.producers.table().producers[&ProducerId(7)].batches.len(), 1);
}

#[test]
fn an_unknown_producer_may_be_in_the_middle_of_its_sequence() {
    let mut log = Log::new();
    let base = log.write(0, batch(7, 5, 30, 2));
    assert_eq!(log.send(0, batch(7, 5, 30, 2)), Ok(Verdict::Durable(base, None)));
    for other in [batch(7, 5, 28, 2), batch(7, 5, 0, 1), batch(7, 5, 33, 1), batch(7, 6, 32, 1)] {
        assert_eq!(log.send(0, other), Err(ErrorCode::OutOfOrderSequenceNumber), "{other:?}");
    }
    assert_eq!(log.send(0, batch(7, 4, 0, 1)), Err(ErrorCode::InvalidProducerEpoch));
    log.write(0, batch(7, 5, 32, 1));
}

#[test]
fn an_unknown_producer_is_not_taken_above_what_its_connection_owes() {
    let mut log = Log::new();
    assert_eq!(log.send_owing(0, batch(7, 0, 5, 1), Some(4)), Err(ErrorCode::OutOfOrderSequenceNumber));
    assert_eq!(log.send_owing(0, batch(7, 0, 4, 1), Some(4)), Ok(Verdict::Append));
    // One that is known is told by its last batch.
    assert_eq!(log.send_owing(0, batch(7, 0, 5, 1), Some(4)), Ok(Verdict::Append));
    assert_eq!(log.send_owing(0, batch(8, 0, 3, 1), Some(4)), Ok(Verdict::Append));
}

#[test]
fn a_log_that_fails_forgets_what_was_in_flight() {
    let mut log = Log::new();
    log.write(0, batch(7, 0, 0, 1));
    assert_eq!(log.send(0, batch(7, 0, 1, 1)), Ok(Verdict::Append));
    assert_eq!(log.send(0, batch(8, 0, 0, 1)), Ok(Verdict::Append));
    log.producers.poison();
    assert_eq!(log.producers.table(), log.written);
    assert_eq!(log.producers.check(at(0), &batch(7, 0, 1, 1), None), Verdict::Append);
}

#[test]
fn a_producer_is_forgotten_when_both_the_clock_and_the_log_say_a_day() {
    for (mono, log_time, is_forgotten) in
        [(DAY, DAY_MS, true), (DAY - 1, DAY_MS, false), (DAY, DAY_MS - 1, false), (9 * DAY, -DAY_MS, false)]
    {
        let mut log = Log::new();
        log.write(0, batch(7, 0, 0, 1));
        assert_eq!(log.send(mono, batch(8, 0, 0, 1)), Ok(Verdict::Append));
        log.land(mono, log_time);
        assert_eq!(log.producers.table().producers.contains_key(&ProducerId(7)), !is_forgotten, "{mono} {log_time}");
        // It goes on where it was, or from anywhere.
        let beyond = log.send(mono, batch(7, 0, 2, 1));
        assert_eq!(beyond, if is_forgotten { Ok(Verdict::Append) } else { Err(ErrorCode::OutOfOrderSequenceNumber) });
    }
}

#[test]
fn a_wall_clock_that_jumps_forgets_nobody() {
    let mut log = Log::new();
    log.write(0, batch(7, 0, 0, 1));
    let jumped = Now { mono: Instant(1), wall: WallTime(400 * DAY_MS) };
    assert_eq!(log.producers.check(jumped, &batch(8, 0, 0, 1), None), Verdict::Append);
    log.producers.append(&batch(8, 0, 0, 1), Offset(log.end));
    log.producers.apply(jumped, &batch(8, 0, 0, 1), Offset(log.end), (WallTime(400 * DAY_MS), None));
    assert_eq!(log.producers.check(jumped, &batch(7, 0, 0, 1), None), Verdict::Durable(Offset(1_000), None));
}

#[test]
fn producers_are_bounded_and_only_one_that_is_idle_gives_way() {
    let mut log = Log::of(ProducerTable::default(), 3);
    for id in 0..3 {
        log.write(id, batch(id, 0, 0, 1));
    }
    assert_eq!(log.send(3, batch(3, 0, 0, 1)), Err(ErrorCode::NotLeaderOrFollower));
    let later = u64::try_from(RETRIES_WITHIN.as_nanos()).expect("minutes") + 5;
    log.write(later, batch(0, 0, 1, 1));
    assert_eq!(log.send(later, batch(3, 0, 0, 1)), Ok(Verdict::Append));
    let known: Vec<ProducerId> = log.producers.table().producers.into_keys().collect();
    assert_eq!(known, [ProducerId(0), ProducerId(2)], "the one that wrote longest ago gave way");
    // What is in flight counts.
    assert_eq!(log.send(5, batch(4, 0, 0, 1)), Err(ErrorCode::NotLeaderOrFollower));
    assert_eq!(log.send(later, batch(1, 0, 1, 1)), Ok(Verdict::Append), "in the middle of its sequence");
    assert_eq!(log.send(later, batch(2, 0, 1, 1)), Err(ErrorCode::NotLeaderOrFollower), "it gave way in turn");
}

#[test]
fn parts_of_a_log_fold_to_what_the_whole_folds_to() {
    let mut rng = Rng::new(5);
    for _ in 0..200 {
        let mut log = Log::new();
        let (mut parts, mut part) = (ProducerTable::default(), ProducerTable::default());
        let mut next: BTreeMap<u64, (u16, i32)> = BTreeMap::new();
        for _ in 0..rng.below(60) {
            let id = rng.below(4);
            let (epoch, first) = next.entry(id).or_default();
            if rng.chance(1, 8) {
                (*epoch, *first) = (*epoch + 1, 0);
            }
            let records = rng.between(1, 4) as u32;
            let batch = batch(id, *epoch, *first, records);
            *first += records as i32;
            let timestamp = rng.below(1_000) as i64;
            part.write(batch, Offset(log.end), (WallTime(timestamp), None));
            assert_eq!(log.send(0, batch), Ok(Verdict::Append));
            log.land(0, timestamp);
            if rng.chance(1, 5) {
                parts.follow(core::mem::take(&mut part));
            }
        }
        parts.follow(part);
        assert_eq!(parts, log.written);
        assert_eq!(log.producers.table(), log.written);
        assert_eq!(Producers::open(at(9), parts, &limits(100)).table(), log.written);
    }
}

#[test]
fn one_that_was_forgotten_and_is_taken_from_elsewhere_is_what_it_is_now() {
    for first in [0, 3, 9] {
        let mut log = Log::new();
        log.write(0, batch(7, 0, 0, 5));
        let mut later = ProducerTable::default();
        later.write(batch(7, 0, first, 2), Offset(5_000), (WallTime(9), None));
        let mut all = log.producers.table();
        all.follow(later.clone());
        assert_eq!(all, later, "{first}");
    }
}
