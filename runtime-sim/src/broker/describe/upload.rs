//! The uploader.

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
        for range in &self.ranges {
            about.number("stream", range.stream.0).range("offset", range.start.0, range.end.0);
            about.number(cut, self.number.0);
        }
    }
}
