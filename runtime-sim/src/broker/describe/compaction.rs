//! The compactor.

use super::metadata::of_answer;
use super::phrases::listed;
use crate::recording::{About, Describe};
use karst_core::compaction::{Kind, Mail, Plan};
use karst_core::metadata::Answer;

impl Describe for Mail {
    fn describe(&self, about: &mut About) {
        match self {
            Self::Planned(Some(plan)) => plan.inputs().for_each(|(object, _)| {
                about.number("object", object.0);
            }),
            Self::Answered(Answer::Leased { first, count }) => {
                about.range("object", first.0, first.0 + u64::from(*count));
            }
            _ => {}
        }
    }
}

pub(super) fn of_mail(mail: &Mail) -> String {
    match mail {
        Mail::Begin => "the word that objects may be rewritten".into(),
        Mail::Planned(Some(plan)) => of_plan(plan),
        Mail::Planned(None) => "the word that there is nothing to rewrite".into(),
        Mail::Answered(answer) => format!("the answer to its command: {}", of_answer(answer)),
        Mail::Stop => "the order to rewrite nothing more".into(),
    }
}

fn of_plan(plan: &Plan) -> String {
    let why = match plan.kind {
        Kind::Merge => "to merge shared objects",
        Kind::ForceSplit => "to split what has been in shared objects for long",
        Kind::Gather => "to gather a stream's objects",
        Kind::Clean => "to leave out what no stream needs",
    };
    let inputs = listed(plan.inputs().map(|(object, size)| format!("object {object} of {size} bytes")));
    format!("a plan {why}, into {} new{inputs}", plan.results())
}
