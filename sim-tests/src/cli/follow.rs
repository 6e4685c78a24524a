//! `karst-sim replay --follow`: the story of one record, object, connection or request.

use super::args::UsageError;
use crate::plan::Plan;
use crate::world::{self, Options, Report};
use karst_runtime_sim::follow::{Query, follow};
use karst_runtime_sim::recording::{Record, Recording, TagValue};
use std::collections::BTreeSet;
use std::io::{self, Write};

/// Names of one kind that are told to somebody who asked for another.
const MOST: usize = 40;

/// Runs a plan and tells what happened to one thing.
pub(super) fn run(plan: Plan, options: Options, query: &Query) -> Result<Report, UsageError> {
    let report = world::run(plan, Options { record: Record::Everything, ..options });
    if let Some(recording) = &report.recording {
        tell(recording, query, &mut io::stdout().lock()).map_err(UsageError)?;
    }
    Ok(report)
}

/// Tells what happened to one thing; if nothing names it, the error says what could be asked for instead.
pub(super) fn tell(recording: &Recording, query: &Query, out: &mut impl Write) -> Result<(), String> {
    let followed = follow(recording, query);
    if followed.entries.is_empty() {
        return Err(what_there_is(recording, query));
    }
    // Whoever reads this may have seen enough.
    let _ = followed.lines(recording).iter().try_for_each(|line| writeln!(out, "{line}"));
    Ok(())
}

/// What could be asked for instead.
fn what_there_is(recording: &Recording, query: &Query) -> String {
    let tags = || recording.entries.iter().flat_map(|entry| &entry.tags);
    let keys: BTreeSet<&str> = tags().map(|tag| tag.key).collect();
    if let Some(unknown) = query.keys().find(|key| !keys.contains(key)) {
        let keys: Vec<&str> = keys.into_iter().collect();
        return format!("nothing in this run has a key '{unknown}': there are {}", keys.join(", "));
    }
    let there_are = |key: &str| {
        let (mut names, mut numbers) = (BTreeSet::new(), None);
        for tag in tags().filter(|tag| tag.key == key) {
            match &tag.value {
                TagValue::Name(name) => drop(names.insert(&**name)),
                TagValue::Range(from, to) => {
                    let (low, high) = numbers.unwrap_or((*from, *to));
                    numbers = Some((low.min(*from), high.max(*to)));
                }
            }
        }
        let more = if names.len() > MOST { ", ..." } else { "" };
        let names: Vec<&str> = names.into_iter().take(MOST).collect();
        match numbers {
            Some((low, high)) => format!("{key} is from {low} to {}", high.saturating_sub(1)),
            None => format!("{key} is one of {}{more}", names.join(", ")),
        }
    };
    let all: Vec<String> = query.keys().map(there_are).collect();
    format!("nothing in this run is all of that: {}", all.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Profile;
    use karst_runtime_sim::seed::Seed;

    #[test]
    fn what_nothing_names_is_an_error_that_says_what_there_is() {
        let options = Options { until: Some(3_000), ..Options::default() };
        let asked = |query: &str| {
            let plan = Plan::from_seed(Seed(1), Profile::Calm);
            run(plan, options, &query.parse().expect("a query")).map(|_| ()).map_err(|error| error.0)
        };
        let error = |query| asked(query).expect_err("nothing has that name");
        assert!(error("foo=1").starts_with("nothing in this run has a key 'foo': there are "), "{}", error("foo=1"));
        assert!(error("partition=nosuch").contains("partition is one of "), "{}", error("partition=nosuch"));
        assert!(error("lsn=99999999999").contains("lsn is from 0 to "), "{}", error("lsn=99999999999"));
        assert_eq!(asked("connection=broker-1/1,request=1"), Ok(()));
    }
}
