//! `karst-sim explain`: a run told in sentences, and drawn as a page.

use super::args::{Args, UsageError};
use super::exit::Verdict;
use super::glossary::GLOSSARY;
use super::replay;
use crate::plan::{Plan, Profile};
use crate::world::{self, Options, Report};
use karst_runtime_sim::page::{self, Heading, Step};
use karst_runtime_sim::recording::{Record, Recording};
use karst_runtime_sim::time::SimTime;
use std::io::{self, Write};
use std::process::ExitCode;

pub(super) fn main(mut args: Args) -> Result<ExitCode, UsageError> {
    let profile = args.profile()?;
    let file: Option<String> = args.value("--html")?;
    let name = args.peek().unwrap_or_default().to_owned();
    let plan = replay::plan(&mut args, profile)?;
    args.end()?;
    let report = record(plan);
    let verdict = report.failure.as_ref().map_or(Verdict::Passed, Verdict::of);
    let recording = report.recording.clone().unwrap_or_default();
    let story = page::chain(&recording);
    // Whoever reads this may have seen enough.
    let _ = tell(&report, &recording, &story, &mut io::stdout().lock());
    let Some(file) = file else { return Ok(verdict.code()) };
    let html = page::html(&recording, &heading(&report, &name, profile), &story);
    if let Err(error) = std::fs::write(&file, html) {
        eprintln!("karst-sim: {file}: {error}");
        return Ok(Verdict::Unsaved.code());
    }
    Ok(verdict.code())
}

/// The page of a run.
pub(super) fn page_of(plan: Plan, name: &str, profile: Profile) -> String {
    let report = record(plan);
    let recording = report.recording.clone().unwrap_or_default();
    page::html(&recording, &heading(&report, name, profile), &page::chain(&recording))
}

fn record(plan: Plan) -> Report {
    world::run(plan, Options { record: Record::Everything, ..Options::default() })
}

fn heading(report: &Report, name: &str, profile: Profile) -> Heading {
    let is_seed = name.parse::<u64>().is_ok();
    let of_profile =
        if is_seed && profile != Profile::default() { format!(" --profile {}", profile.name()) } else { String::new() };
    Heading {
        title: if is_seed { format!("seed {name}") } else { name.to_owned() },
        hash: report.trace,
        events: report.events,
        at: SimTime::ZERO.after(report.simulated),
        plan: report.plan.clone(),
        command: format!("karst-sim replay {name}{of_profile} --log"),
        glossary: GLOSSARY.to_vec(),
    }
}

/// The story in sentences, and how the run ended.
fn tell(report: &Report, recording: &Recording, story: &[Step], out: &mut impl Write) -> io::Result<()> {
    story.iter().try_for_each(|step| writeln!(out, "{step}"))?;
    let entries = recording.entries.len();
    if entries > page::MOST_ENTRIES {
        writeln!(out, "\nthe page shows the last {} of {entries} entries, and the story", page::MOST_ENTRIES)?;
    }
    writeln!(out, "\n{}", report.story())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Profile;
    use karst_runtime_sim::seed::Seed;

    #[test]
    fn a_seed_is_told_and_drawn() {
        let report = record(Plan::from_seed(Seed(3), Profile::default()));
        let recording = report.recording.clone().expect("it was recorded");
        let story = page::chain(&recording);
        let mut told = Vec::new();
        tell(&report, &recording, &story, &mut told).expect("memory takes it");
        let told = String::from_utf8(told).expect("sentences");
        assert!(report.failure.is_none() && !story.is_empty(), "{told}");
        assert!(story.iter().all(|step| told.contains(&step.to_string())), "{told}");
        let heading = heading(&report, "3", Profile::default());
        let html = page::html(&recording, &heading, &story);
        for part in ["<title>seed 3</title>", "karst-sim replay 3 --log", "broker-1", "client-1"] {
            assert!(html.contains(part), "{part}");
        }
    }
}
