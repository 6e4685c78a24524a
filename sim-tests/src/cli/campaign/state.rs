//! A campaign that can be interrupted: all that is known of it, in a file that is replaced as a whole.
//!
//! ```text
//!   karst-campaign 1
//!   what      swarm, seeds 0..100000, part 3/8
//!   done      0     4711                                     from, and up to without, in the campaign's own count
//!   total     seeds 4711
//!   count     faults  812  store.timeout
//!   defect    9c0d…  safety  3  412  10233  77ab…  lost-write  lost-write of world/oracle at …
//! ```
//! Fields are separated by tabs. A defect's are its fingerprint, verdict, seeds, and the seed, events, trace, invariant
//! and message of the quickest.

use super::defects::{Defect, Defects, Quickest};
use super::outputs::make_folder_of;
use super::seeds::Done;
use super::totals::{Group, Totals};
use crate::cli::exit::Verdict;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

const FIRST: &str = "karst-campaign 1";

/// How far a campaign has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// Which campaign this is: only the same one goes on with it.
    pub(super) what: String,
    pub(super) done: Done,
    pub(super) totals: Totals,
    pub(super) defects: Defects,
}

impl State {
    pub(super) fn new(what: String) -> Self {
        Self { what, ..Self::default() }
    }

    /// Reads a state; `None` if there is none yet.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub(super) fn load(path: &Path) -> Result<Option<Self>, String> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text).map(Some).map_err(|why| format!("{}: {why}", path.display())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("{}: {error}", path.display())),
        }
    }

    /// Replaces the file. Whenever it is looked at, it holds this state or the one before.
    pub(super) fn save(&self, path: &Path) -> io::Result<()> {
        let beside = path.with_added_extension("new");
        make_folder_of(path)?;
        let mut file = File::create(&beside)?;
        file.write_all(self.to_text().as_bytes())?;
        file.sync_all()?;
        fs::rename(beside, path)
    }

    fn to_text(&self) -> String {
        let mut out = format!("{FIRST}\nwhat\t{}\n", self.what);
        for range in self.done.ranges() {
            let _ = writeln!(out, "done\t{}\t{}", range.start, range.end);
        }
        let totals = &self.totals;
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        for (name, value) in [
            ("seeds", totals.seeds),
            ("failed", totals.failed),
            ("events", totals.events),
            ("simulated", nanos(totals.simulated)),
            ("elapsed", nanos(totals.elapsed)),
            ("cpu", nanos(totals.cpu)),
        ] {
            let _ = writeln!(out, "total\t{name}\t{value}");
        }
        for group in Group::ALL {
            for (name, count) in totals.group(group) {
                let _ = writeln!(out, "count\t{}\t{count}\t{name}", group.name());
            }
        }
        for Defect { fingerprint, verdict, seeds, quickest } in self.defects.iter() {
            let Quickest { seed, events, trace, invariant, message } = quickest;
            let (verdict, message) = (verdict.name(), escape(message));
            let invariant = escape(invariant);
            let _ = writeln!(
                out,
                "defect\t{fingerprint:016x}\t{verdict}\t{seeds}\t{seed}\t{events}\t{trace:016x}\t{invariant}\t{message}"
            );
        }
        out
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines().zip(1..);
        if lines.next().is_none_or(|(line, _)| line != FIRST) {
            return Err(format!("this is no campaign's state: it does not begin with '{FIRST}'"));
        }
        let mut state = Self::default();
        for (line, number) in lines {
            let fields: Vec<&str> = line.split('\t').collect();
            state.take(&fields).ok_or_else(|| format!("line {number} makes no sense: '{line}'"))?;
        }
        Ok(state)
    }

    fn take(&mut self, fields: &[&str]) -> Option<()> {
        match *fields {
            ["what", what] => self.what = what.into(),
            ["done", from, to] => {
                let (from, to) = (number(from)?, number(to)?);
                if from >= to || self.done.ranges().last().is_some_and(|last| last.end >= from) {
                    return None;
                }
                self.done.insert_range(from..to);
            }
            ["total", name, value] => self.take_total(name, number(value)?)?,
            ["count", group, count, name] => {
                let group = Group::ALL.into_iter().find(|known| known.name() == group)?;
                self.totals.count(group, name, number(count)?);
            }
            ["defect", fingerprint, verdict, seeds, seed, events, trace, invariant, message] => {
                let hex = |text| u64::from_str_radix(text, 16).ok();
                let quickest = Quickest {
                    seed: number(seed)?,
                    events: number(events)?,
                    trace: hex(trace)?,
                    invariant: unescape(invariant),
                    message: unescape(message),
                };
                let (fingerprint, verdict) = (hex(fingerprint)?, Verdict::parse(verdict)?);
                self.defects.insert(Defect { fingerprint, verdict, seeds: number(seeds)?, quickest });
            }
            _ => return None,
        }
        Some(())
    }

    fn take_total(&mut self, name: &str, value: u64) -> Option<()> {
        let totals = &mut self.totals;
        match name {
            "seeds" => totals.seeds = value,
            "failed" => totals.failed = value,
            "events" => totals.events = value,
            "simulated" => totals.simulated = Duration::from_nanos(value),
            "elapsed" => totals.elapsed = Duration::from_nanos(value),
            "cpu" => totals.cpu = Duration::from_nanos(value),
            _ => return None,
        }
        Some(())
    }
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok()
}

/// Without tabs and ends of lines.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
}

fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '\\' { chars.next() } else { None }) {
            (_, Some('t')) => out.push('\t'),
            (_, Some('n')) => out.push('\n'),
            (_, Some('r')) => out.push('\r'),
            (_, Some(other)) => out.push(other),
            (c, None) => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        let mut state = State::new("swarm, seeds 0..".into());
        for n in [0, 1, 5, 6, 7] {
            state.done.insert(n);
        }
        state.totals.seeds = 5;
        state.totals.elapsed = Duration::from_millis(1500);
        state.totals.count(Group::Amounts, "WAL wraps", 12);
        let quickest = Quickest {
            seed: 7,
            events: 99,
            trace: 0xabc,
            invariant: "lost-write".into(),
            message: "a\tb\nc\\td \\".into(),
        };
        state.defects.insert(Defect { fingerprint: u64::MAX, verdict: Verdict::Safety, seeds: 2, quickest });
        state
    }

    #[test]
    fn what_is_written_is_read_again() {
        assert_eq!(State::parse(&state().to_text()), Ok(state()));
        assert_eq!(state().to_text().lines().filter(|line| line.starts_with("defect")).count(), 1);
    }

    #[test]
    fn a_file_that_is_something_else_is_an_error() {
        let lines = ["", "karst-campaign 2", "karst-campaign 1\ndone\t3\t3", "karst-campaign 1\ncount\tx\t1\ty"];
        for text in lines.into_iter().chain(["karst-campaign 1\ndone\t0\t9\ndone\t5\t12", "karst-campaign 1\nmore"]) {
            assert!(State::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_state_is_saved_as_a_whole() {
        let folder = std::env::temp_dir().join(format!("karst-state-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("campaign.state");
        assert_eq!(State::load(&path), Ok(None));
        state().save(&path).expect("saved");
        assert_eq!(State::load(&path), Ok(Some(state())));
        assert_eq!(fs::read_dir(&folder).expect("a folder").count(), 1, "nothing is left beside it");
        fs::remove_dir_all(folder).expect("removed");
    }
}
