//! What was measured already, kept in a file, so that an interrupted table goes on.
//!
//! ```text
//!   name TAB key TAB found TAB shrunk
//!   ack-before-sync  8f3a…  0:1:412:inconsistent-offsets 1000002:3:988:inconsistent-offsets  before|after|5210
//! ```
//! The key is made of the sources, the patch and how it was tried: a row of anything else does not count.

use super::found::{Find, Outcome};
use super::patch::Plant;
use super::shrunk::Shrunk;
use super::{Trial, table::Row};
use karst_runtime_sim::trace::TraceHasher;
use std::collections::BTreeMap;
use std::fs;
use std::hash::{Hash, Hasher};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Rows by the plant's name.
#[derive(Debug)]
pub(super) struct Measured {
    path: PathBuf,
    digest: u64,
    trial: Trial,
    lines: BTreeMap<String, String>,
}

impl Measured {
    /// Reads the file, if there is one.
    pub(super) fn load(path: PathBuf, digest: u64, trial: Trial) -> Self {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let named = |line: &str| Some((line.split_once('\t')?.0.to_owned(), line.to_owned()));
        let lines = text.lines().filter_map(named).collect();
        Self { path, digest, trial, lines }
    }

    /// The row of a plant, if it was measured as it would be now.
    pub(super) fn row(&self, plant: &Plant) -> Option<Row> {
        let mut fields = self.lines.get(&plant.name)?.split('\t').skip(1);
        if fields.next() != Some(&self.key(plant)) {
            return None;
        }
        let (found, shrunk) = (fields.next()?, fields.next()?);
        let finds: Option<Vec<Option<Find>>> = found.split(' ').map(find).collect();
        Some(Row { plant: plant.clone(), outcome: Outcome::Tried(finds?), shrunk: shrunk_of(shrunk) })
    }

    /// Keeps a row, unless the plant could not be tried.
    pub(super) fn keep(&mut self, row: &Row) -> io::Result<()> {
        let Outcome::Tried(finds) = &row.outcome else { return Ok(()) };
        let finds: Vec<String> = finds.iter().map(|find| find.as_ref().map_or("-".into(), written)).collect();
        let shrunk = row
            .shrunk
            .as_ref()
            .map_or("-".into(), |shrunk| format!("{}|{}|{}", shrunk.before, shrunk.after, shrunk.took.as_millis()));
        let (name, key) = (&row.plant.name, self.key(&row.plant));
        self.lines.insert(name.clone(), format!("{name}\t{key}\t{}\t{shrunk}", finds.join(" ")));
        let text: String = self.lines.values().map(|line| format!("{line}\n")).collect();
        fs::write(&self.path, text)
    }

    fn key(&self, plant: &Plant) -> String {
        let mut hasher = TraceHasher::default();
        let Trial { campaigns, seeds, shrink, within } = self.trial;
        (self.digest, campaigns, seeds, shrink, within, fs::read(&plant.path).unwrap_or_default()).hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }
}

fn written(Find { seed, invariant, seeds, took }: &Find) -> String {
    format!("{seed}:{seeds}:{}:{invariant}", took.as_millis())
}

/// One campaign's find, which may be none; `None` if it can't be read.
fn find(text: &str) -> Option<Option<Find>> {
    if text == "-" {
        return Some(None);
    }
    let mut parts = text.splitn(4, ':');
    let mut number = || parts.next()?.parse::<u64>().ok();
    let (seed, seeds, took) = (number()?, number()?, Duration::from_millis(number()?));
    Some(Some(Find { seed, invariant: parts.next()?.into(), seeds, took }))
}

fn shrunk_of(text: &str) -> Option<Shrunk> {
    let mut parts = text.split('|');
    let (before, after) = (parts.next()?.into(), parts.next()?.into());
    Some(Shrunk { before, after, took: Duration::from_millis(parts.next()?.parse().ok()?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_found_again_as_long_as_nothing_changed() {
        let path = std::env::temp_dir().join(format!("karst-measured-{}", std::process::id()));
        let trial = Trial { campaigns: 2, seeds: 9, shrink: None, within: Duration::from_secs(1) };
        let plant = |name: &str| Plant { name: name.into(), ..Plant::default() };
        let found = |seed| Find { seed, invariant: "lost-write".into(), seeds: 3, took: Duration::from_millis(1500) };
        let shrunk =
            Some(Shrunk { before: "9 faults".into(), after: "no fault".into(), took: Duration::from_millis(2) });
        let outcome = Outcome::Tried(vec![Some(found(7)), None]);
        let row = Row { plant: plant("one"), outcome, shrunk };
        let mut measured = Measured::load(path.clone(), 5, trial);
        assert!(measured.row(&plant("one")).is_none());
        measured.keep(&row).expect("written");
        measured.keep(&Row { plant: plant("two"), outcome: Outcome::Broken("x".into()), shrunk: None }).expect("not");

        let again = Measured::load(path.clone(), 5, trial);
        let kept = again.row(&plant("one")).expect("it was kept");
        assert_eq!((kept.line(), kept.outcome.first()), (row.line(), Some(&found(7))));
        assert!(again.row(&plant("two")).is_none(), "what could not be tried is tried again");
        assert!(Measured::load(path.clone(), 6, trial).row(&plant("one")).is_none(), "of other sources");
        let longer = Trial { seeds: 10, ..trial };
        assert!(Measured::load(path.clone(), 5, longer).row(&plant("one")).is_none(), "of another trial");
        fs::write(&path, "one\tx\none\nrubbish \t\t\t\n").expect("written");
        assert!(Measured::load(path.clone(), 5, trial).row(&plant("one")).is_none());
        fs::remove_file(path).expect("it is there");
    }
}
