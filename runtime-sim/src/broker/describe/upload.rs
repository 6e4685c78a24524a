//! The uploader.

use super::metadata::of_answer;
use super::phrases::{listed, records};
use crate::recording::{About, Describe};
use karst_core::metadata::Answer;
use karst_core::upload::{Cut, Mail};

impl Describe for Mail {
    fn describe(&self, about: &mut About) {
        match self {
            Self::Cut(cut) => cut.describe(about),
            Self::Answered(Answer::Leased { first, count }) => {
                about.range("object", first.0, first.0 + u64::from(*count));
            }
            _ => {}
        }
    }
}

impl Describe for Cut {
    fn describe(&self, about: &mut About) {
        let cut = if self.recovery.is_some() { "recovery-cut" } else { "cut" };
        about.number(cut, self.number.0);
        if self.recovery.is_none() {
            about.number("upto-lsn", self.lsn.0);
        }
        let stored = self.stored.iter().flat_map(|object| &object.ranges);
        let stored = stored.map(|range| (range.stream, range.start, range.end));
        for (stream, start, end) in self.ranges.iter().map(|range| (range.stream, range.start, range.end)).chain(stored)
        {
            about.number("stream", stream.0).range("offset", start.0, end.0);
            about.number(cut, self.number.0);
        }
    }
}

pub(super) fn of_mail(mail: &Mail) -> String {
    match mail {
        Mail::Cut(cut) => {
            let all = listed(cut.ranges.iter().map(|range| records(range.stream, range.start, range.end)));
            let whose = if cut.recovery.is_some() { "recovered" } else { "own" };
            let what = match (&cut.stored, cut.ranges.is_empty()) {
                (Some(_), _) => ", which is in an object already",
                (None, true) => ", without records",
                (None, false) => "",
            };
            format!("cut {} of its {whose} log, up to LSN {}, to upload{what}{all}", cut.number.0, cut.lsn.0)
        }
        Mail::Answered(answer) => format!("the answer to its command: {}", of_answer(answer)),
    }
}
