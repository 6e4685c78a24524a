//! What may lie where, and what may be forgotten.

use super::{P1, Sequences, Times};
use crate::client::batch::{self, Shape};
use crate::oracle::{Span, WriteId};
use bytes::Bytes;
use karst_core::machine::Rng;
use karst_runtime_sim::time::SimTime;
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;

/// Two records of producer 7.
fn of(epoch: i16, first: i32, timestamp: i64) -> Bytes {
    let shape = Shape { records: 2, value: 8, timestamp, times: 0, key: 0 };
    batch::sequenced(&batch::encode(WriteId(1), shape, &mut Rng::new(1)), 7, epoch, first)
}

/// Producers are forgotten after a second, which the fastest clock counts in 0.8 s.
fn log() -> Sequences {
    Sequences::new(Span::new(Duration::from_secs(1), 250_000))
}

/// The batch was sent then, and is seen at that offset now.
fn seen(log: &mut Sequences, batch: &Bytes, base: i64, sent: u64, now: u64) -> Result<(), &'static str> {
    log.sent(batch);
    let judged = log.lies_at("t-0", batch, base, (SimTime(sent), SimTime(now)));
    judged.map(|is_sequenced| assert!(is_sequenced)).map_err(|violation| violation.invariant)
}

#[test]
fn what_was_written_is_written_again_only_after_the_whole_span() {
    for (again, judged) in [(799_999_999, Err(P1)), (800_000_000, Ok(()))] {
        let mut log = log();
        assert_eq!(seen(&mut log, &of(0, 0, 0), 0, 0, SECOND / 2), Ok(()));
        assert_eq!(seen(&mut log, &of(0, 0, 1_000), 6, 0, again), judged, "at {again}");
    }
}

#[test]
fn what_was_seen_late_was_written_before() {
    // Seen first at the later offset, a moment after it was sent: the other one can't have been there for a second.
    let mut log = log();
    assert_eq!(seen(&mut log, &of(0, 0, 5_000), 6, 0, SECOND / 2), Ok(()));
    assert_eq!(seen(&mut log, &of(0, 2, 0), 2, 0, 9 * SECOND), Err(P1));
}

#[test]
fn a_jump_of_time_forgets_nobody_and_neither_does_a_log_that_stands_still() {
    let mut log = log();
    assert_eq!(seen(&mut log, &of(0, 0, 0), 0, 0, 1), Ok(()));
    assert_eq!(seen(&mut log, &of(0, 2, 999), 2, 0, 1), Ok(()));
    assert_eq!(seen(&mut log, &of(0, 0, 0), 4, 0, 9 * SECOND), Err(P1), "the log is not a second older");
    log.note_times(Times::PerhapsStamped);
    assert_eq!(seen(&mut log, &of(0, 0, 0), 4, 0, 9 * SECOND), Ok(()), "nobody knows the times in the log");
    let mut log = self::log();
    assert_eq!(seen(&mut log, &of(0, 0, 0), 0, 0, 1), Ok(()));
    assert_eq!(seen(&mut log, &of(0, 0, 1 << 40), 4, 0, SECOND / 2), Err(P1), "only its times are older");
}

#[test]
fn an_older_epoch_and_a_gap_are_no_beginning() {
    let mut log = log();
    assert_eq!(seen(&mut log, &of(1, 0, 0), 0, 0, 1), Ok(()));
    assert_eq!(seen(&mut log, &of(0, 2, 0), 2, 0, SECOND / 2), Err(P1));
    assert_eq!(seen(&mut log, &of(1, 4, 0), 4, 0, 2), Ok(()), "what lies between may not be known yet");
    let complete = |log: &Sequences| log.check_complete("t-0", 0, 9).map_err(|violation| violation.invariant);
    assert_eq!(complete(&log), Err(P1));
    assert_eq!(seen(&mut log, &of(1, 2, 0), 2, 0, 3), Ok(()));
    assert_eq!(complete(&log), Ok(()));
    // Forgotten, it may go on with any batch that was written.
    assert_eq!(seen(&mut log, &of(1, 2, 9_000), 6, 0, 9 * SECOND), Ok(()));
    assert_eq!(complete(&log), Ok(()));
    // But nobody forgets that it has begun a newer epoch, or another one in its middle.
    assert_eq!(seen(&mut log, &of(2, 2, 9_000), 8, 9 * SECOND, 9 * SECOND + 1), Ok(()));
    assert_eq!(complete(&log), Err(P1));
}

#[test]
fn the_first_batch_has_any_sequence_and_nothing_that_was_sent_is_missing_below_it() {
    let complete =
        |log: &Sequences, start| log.check_complete("t-0", start, 99).map_err(|violation| violation.invariant);
    let mut log = log();
    assert_eq!(seen(&mut log, &of(3, 40, 0), 0, 0, 1), Ok(()));
    assert_eq!(complete(&log, 0), Ok(()), "nothing below it was sent");
    log.sent(&of(3, 38, 0));
    assert_eq!(complete(&log, 0), Err(P1));
    assert_eq!(complete(&log, 1), Ok(()), "it may have been there, and is deleted");
    log.may_be_denied(&of(3, 38, 0));
    assert_eq!(complete(&log, 0), Ok(()));
    // What comes behind leaves no gap, refused for good or not.
    log.sent(&of(3, 42, 0));
    log.may_be_denied(&of(3, 42, 0));
    assert_eq!(seen(&mut log, &of(3, 44, 0), 2, 0, SECOND / 2), Ok(()));
    assert_eq!(complete(&log, 0), Err(P1));
}

#[test]
fn one_that_was_forgotten_leaves_no_gap_behind_what_comes_again() {
    let complete = |log: &Sequences| log.check_complete("t-0", 0, 99).map_err(|violation| violation.invariant);
    let mut log = log();
    assert_eq!(seen(&mut log, &of(0, 0, 0), 0, 0, 1), Ok(()));
    assert_eq!(seen(&mut log, &of(0, 4, 9_000), 2, 9 * SECOND, 9 * SECOND), Ok(()));
    assert_eq!(complete(&log), Ok(()), "it was forgotten, and nobody sent what lies between");
    log.sent(&of(0, 2, 0));
    assert_eq!(complete(&log), Err(P1));
    log.may_be_denied(&of(0, 2, 0));
    assert_eq!(complete(&log), Ok(()));
}

#[test]
fn a_refusal_is_explained_by_what_was_refused_for_good_or_forgotten_and_written_again() {
    let (gap, one, next) = (45, of(0, 0, 0), of(0, 2, 2_000));
    let mut log = log();
    log.sent(&next);
    assert!(!log.explain(&next, gap, SimTime(9 * SECOND)), "one that is unknown is taken");
    assert_eq!(seen(&mut log, &one, 0, 0, 1), Ok(()));
    assert!(!log.explain(&next, gap, SimTime(9 * SECOND)), "forgotten, it is unknown");
    log.sent_again(&next);
    assert!(!log.explain(&next, gap, SimTime(9 * SECOND)), "nothing else is there");
    log.sent_again(&one);
    assert!(!log.explain(&next, gap, SimTime(SECOND / 2)), "nobody is forgotten yet");
    assert!(log.explain(&next, gap, SimTime(SECOND)), "what was written may be the last again");
    for code in [46, 47, 59] {
        assert!(!log.explain(&next, code, SimTime(9 * SECOND)), "{code}");
    }
    // It was forgotten, and what had been written before was written again.
    assert_eq!(seen(&mut log, &one, 4, SECOND, 2 * SECOND), Ok(()));
    assert!(log.explain(&next, gap, SimTime(2 * SECOND)));
    let mut log = self::log();
    log.sent(&one);
    log.may_be_denied(&one);
    assert!(log.explain(&one, gap, SimTime(1)), "the next one was taken");
}
