//! What a partition's log says about times and leader epochs, against the records that are known to be in it.
//!
//! An answer is judged when it comes, by what is known then, and once more when the whole log was read back: then every
//! record's place and epoch are known. What lay between the log's possible start and the end that was certain before the
//! question must have been considered; what came later may have been.

use super::{Violation, subject};

/// What was asked of a partition's times or epochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Question {
    /// The first record of that time or later.
    Since(i64),
    /// The first record of the largest time.
    Latest,
    /// Where an epoch ends.
    Epoch(i32),
}

/// What was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Told {
    /// A record: its offset and time, and its epoch, unless that version does not tell it.
    Record(i64, i64, Option<i32>),
    /// The largest epoch up to the one asked for, and where it ends.
    EpochEnd(i32, i64),
    /// There is none.
    Nothing,
}

/// A record of which the place is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) offset: i64,
    pub(super) time: i64,
    /// As it was stamped, if anybody has read it.
    pub(super) epoch: Option<i32>,
}

/// An answer, and between which offsets all records were there for certain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub(super) question: Question,
    pub(super) told: Told,
    /// No record from here on was deleted before the answer.
    pub(super) start: i64,
    /// All records below were durable before the question.
    pub(super) end: i64,
}

impl Claim {
    /// What is left of it when all from there on is lost.
    pub(super) fn cut(self, end: i64) -> Option<Self> {
        let is_about_lost = match self.told {
            Told::Record(offset, ..) => offset >= end,
            Told::EpochEnd(_, at) => at > end,
            Told::Nothing => false,
        };
        (!is_about_lost).then_some(Self { end: self.end.min(end), ..self })
    }

    /// Judges it by records in order of their offsets.
    pub(super) fn judge(&self, name: &str, records: impl Iterator<Item = Known>) -> Result<(), Violation> {
        for record in records {
            let wrong = match self.question {
                Question::Epoch(epoch) => self.contradicts_epoch(epoch, record).map(|why| ("leader-epoch-ends", why)),
                Question::Since(time) => self.contradicts_time(record, Some(time)).map(|why| ("offset-by-time", why)),
                Question::Latest => self.contradicts_time(record, None).map(|why| ("offset-by-time", why)),
            };
            if let Some((invariant, why)) = wrong {
                let Self { question, told, start, end } = self;
                let message = format!(
                    "{name}: {question:?} was answered with {told:?} in a log that has {start} to {end}, but {why}: {record:?}"
                );
                let told = match self.told {
                    Told::Record(offset, ..) => Some(offset).filter(|offset| *offset != record.offset),
                    Told::EpochEnd(..) | Told::Nothing => None,
                };
                let about = [record.offset].into_iter().chain(told).map(|offset| subject::record(name, offset));
                return Err(about.fold(Violation::new(invariant, message), Violation::about));
            }
        }
        Ok(())
    }

    fn contradicts_time(&self, record: Known, since: Option<i64>) -> Option<&'static str> {
        let Known { offset, time, epoch } = record;
        match self.told {
            Told::Record(found, at, told_epoch) if found == offset => {
                let early = since.is_some_and(|since| at < since);
                let other_epoch = told_epoch.zip(epoch).is_some_and(|(told, stamped)| told != stamped);
                (at != time || early).then_some("its time is another").or(other_epoch.then_some("its epoch is another"))
            }
            Told::Record(found, at, _) => {
                let certain = offset >= self.start && (offset < self.end || offset < found);
                let better = match since {
                    Some(since) => offset < found && time >= since,
                    None => time > at || (time == at && offset < found),
                };
                // Whoever looks for the latest may have looked before what is above the end came.
                let counts = since.is_some() || offset < self.end || time == at;
                (certain && better && counts).then_some("another is to be found")
            }
            _ => {
                let certain = (self.start..self.end).contains(&offset);
                (certain && since.is_none_or(|since| time >= since)).then_some("there is one")
            }
        }
    }

    fn contradicts_epoch(&self, asked: i32, record: Known) -> Option<&'static str> {
        let Known { offset, epoch, .. } = record;
        let epoch = epoch.filter(|_| offset >= self.start)?;
        match self.told {
            Told::EpochEnd(found, end) => {
                if found > asked {
                    return Some("that epoch is later than the one asked for");
                }
                if offset < end && epoch > found {
                    return Some("a later epoch's record lies before the end");
                }
                (offset >= end && offset < self.end && epoch <= asked).then_some("a record of it lies behind the end")
            }
            _ => (offset < self.end && epoch >= asked).then_some("there is such an epoch"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records from offset 10 on, at times 5, 9, 7, 9, the last two of a later epoch; all certain but the last.
    fn judge(question: Question, told: Told) -> bool {
        let records = [(10, 5, 1), (11, 9, 1), (12, 7, 3), (13, 9, 3)];
        let known = records.map(|(offset, time, epoch)| Known { offset, time, epoch: Some(epoch) });
        Claim { question, told, start: 10, end: 13 }.judge("p", known.into_iter()).is_ok()
    }

    #[test]
    fn only_the_first_record_that_is_late_enough_passes() {
        use Question::Since;
        assert!(judge(Since(6), Told::Record(11, 9, Some(1))) && judge(Since(6), Told::Record(11, 9, None)));
        for wrong in [Told::Record(11, 8, None), Told::Record(12, 7, None), Told::Record(11, 9, Some(2)), Told::Nothing]
        {
            assert!(!judge(Since(6), wrong), "{wrong:?}");
        }
        assert!(judge(Since(10), Told::Nothing) && !judge(Since(9), Told::Nothing) && !judge(Since(0), Told::Nothing));
    }

    #[test]
    fn a_violation_names_the_record_that_was_told_and_the_one_that_was_meant() {
        let known = [(10, 5), (11, 9)].map(|(offset, time)| Known { offset, time, epoch: None });
        let about = |told| {
            let claim = Claim { question: Question::Since(1), told, start: 10, end: 12 };
            claim.judge("p", known.into_iter()).expect_err("it is wrong").about
        };
        assert_eq!(about(Told::Record(11, 9, None)), [subject::record("p", 10), subject::record("p", 11)]);
        assert_eq!(about(Told::Nothing), [subject::record("p", 10)]);
    }

    #[test]
    fn only_the_first_of_the_latest_records_passes() {
        use Question::Latest;
        assert!(judge(Latest, Told::Record(11, 9, Some(1))));
        for wrong in [Told::Record(13, 9, None), Told::Record(12, 7, None), Told::Record(10, 5, None), Told::Nothing] {
            assert!(!judge(Latest, wrong), "{wrong:?}");
        }
    }

    #[test]
    fn epochs_end_where_the_next_begins() {
        use Question::Epoch;
        assert!(judge(Epoch(1), Told::EpochEnd(1, 12)) && judge(Epoch(2), Told::EpochEnd(1, 12)));
        assert!(judge(Epoch(3), Told::EpochEnd(3, 13)), "the end at the time of the answer");
        assert!(judge(Epoch(3), Told::EpochEnd(3, 14)) && judge(Epoch(4), Told::Nothing));
        for (asked, wrong) in [
            (1, Told::EpochEnd(1, 11)),
            (1, Told::EpochEnd(1, 13)),
            (2, Told::EpochEnd(3, 14)),
            (3, Told::EpochEnd(3, 12)),
            (3, Told::Nothing),
            (0, Told::Nothing),
        ] {
            assert!(!judge(Epoch(asked), wrong), "{asked} {wrong:?}");
        }
    }
}
