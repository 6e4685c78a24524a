//! `karst-sim shrink`: a failing run, made so small that a person can follow it.

use super::args::{Args, Period, UsageError};
use super::campaign::stop_by_signal;
use super::exit::Verdict;
use super::replay::plan;
use crate::experiment::Karst;
use karst_runtime_sim::experiment::{Experiment, Look};
use karst_runtime_sim::shrink::{Options, Progress, Shrunk, shrink};
use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Exit code when the plan does not fail.
const PASSED: u8 = 1;

const USUAL: Period = Period(Duration::from_secs(60));

pub(super) fn main(mut args: Args) -> Result<ExitCode, UsageError> {
    let profile = args.profile()?;
    let Period(time) = args.value("--for")?.unwrap_or(USUAL);
    let default_jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = args.jobs()?.unwrap_or(default_jobs);
    let out: Option<PathBuf> = args.value("--out")?;
    let what = args.peek().unwrap_or_default().to_owned();
    let given = plan(&mut args, profile)?.to_general();
    args.end()?;
    let out = out.unwrap_or_else(|| next_to(&what));

    let (karst, began) = (Karst { profile }, Instant::now());
    // Whoever has seen enough gets the best plan so far.
    let stop = stop_by_signal();
    let is_over = || began.elapsed() >= time || stop.load(Ordering::Relaxed);
    let mut shown = Shown::new(began);
    let found = shrink(&karst, &given, &Options { jobs, is_over: &is_over }, &mut |progress| shown.show(progress));
    shown.end();
    let Ok(found) = found else {
        println!("{what} does not fail: there is nothing to shrink");
        return Ok(ExitCode::from(PASSED));
    };
    let words = found.in_words(&karst);
    let text = karst.vocabulary().to_annotated_text(&found.plan, &comment(&what, &found, &words));
    if let Err(error) = fs::write(&out, &text) {
        eprintln!("karst-sim: {}: {error}\n{text}", out.display());
        return Ok(Verdict::Unsaved.code());
    }
    println!("{words}");
    println!("before  {}\nafter   {}", found.before, found.after);
    println!("{} runs in {:.1} s", found.runs, began.elapsed().as_secs_f64());
    println!("{}, fingerprint {}{}", out.display(), found.fingerprint, verdict(&karst, &text, &found));
    Ok(ExitCode::SUCCESS)
}

/// `seed-7.shrunk.plan`, or `name.shrunk.plan` for `name.plan`.
fn next_to(what: &str) -> PathBuf {
    if what.parse::<u64>().is_ok() {
        return format!("seed-{what}.shrunk.plan").into();
    }
    Path::new(what).with_extension("shrunk.plan")
}

fn comment(what: &str, found: &Shrunk, words: &str) -> String {
    format!("{what}, shrunk by {} runs; fingerprint {}\n{words}", found.runs, found.fingerprint)
}

/// What is written is run once more, as whoever reads it will.
fn verdict(karst: &Karst, text: &str, found: &Shrunk) -> &'static str {
    let again = karst.vocabulary().from_text(text).map(|plan| karst.run(&plan, &Look::OUTCOME).hash);
    if again == Ok(found.outcome.hash) { ": replays to the same trace" } else { ": DOES NOT REPLAY to the same trace" }
}

/// Progress on standard error: one line that changes, or a line now and then where that is no terminal.
struct Shown {
    began: Instant,
    last: Option<Instant>,
    is_terminal: bool,
}

impl Shown {
    fn new(began: Instant) -> Self {
        Self { began, last: None, is_terminal: std::io::stderr().is_terminal() }
    }

    fn show(&mut self, progress: &Progress) {
        let pause = Duration::from_millis(if self.is_terminal { 100 } else { 5_000 });
        if self.last.is_some_and(|last| last.elapsed() < pause) {
            return;
        }
        self.last = Some(Instant::now());
        let Progress { pass, runs, size } = progress;
        let line = format!("{:5.1} s, {runs} runs: {size}; {pass}", self.began.elapsed().as_secs_f64());
        if self.is_terminal { eprint!("\r\x1b[K{line}") } else { eprintln!("{line}") }
    }

    fn end(&self) {
        if self.is_terminal && self.last.is_some() {
            eprint!("\r\x1b[K");
        }
    }
}
