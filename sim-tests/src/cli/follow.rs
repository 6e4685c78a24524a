//! `karst-sim replay --follow`: the story of one record, object, connection or request.

use crate::plan::Plan;
use crate::world::{self, Options, Report};
use karst_runtime_sim::follow::{Query, follow};
use karst_runtime_sim::recording::{Record, Recording, TagValue};
use std::collections::BTreeSet;
use std::io::{self, Write};

/// Runs a plan and tells what happened to one thing.
pub(super) fn run(plan: Plan, options: Options, query: &Query) -> Report {
    let report = world::run(plan, Options { record: Record::Everything, ..options });
    if let Some(recording) = &report.recording {
        // Whoever reads this may have seen enough.
        let _ = tell(recording, query, &mut io::stdout().lock());
    }
    report
}

/// Tells what happened to one thing.
pub(super) fn tell(recording: &Recording, query: &Query, out: &mut impl Write) -> io::Result<()> {
    let followed = follow(recording, query);
    if followed.entries.is_empty() {
        return writeln!(out, "nothing in this run names it. There are {}", what_there_is(recording));
    }
    followed.lines(recording).iter().try_for_each(|line| writeln!(out, "{line}"))?;
    writeln!(out)
}

/// What could be asked for instead.
fn what_there_is(recording: &Recording) -> String {
    let tags = || recording.entries.iter().flat_map(|entry| &entry.tags);
    let keys: BTreeSet<&str> = tags().map(|tag| tag.key).collect();
    let partitions: BTreeSet<&str> = tags()
        .filter_map(|tag| match (&tag.value, tag.key) {
            (TagValue::Name(name), "partition") => Some(&**name),
            _ => None,
        })
        .collect();
    let joined = |all: BTreeSet<&str>| all.into_iter().collect::<Vec<_>>().join(", ");
    format!("the keys {}, and the partitions {}", joined(keys), joined(partitions))
}
