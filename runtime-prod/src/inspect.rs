//! `karst inspect`: what a write-ahead log and a bucket hold, read from outside and never changed. No broker is needed,
//! and one that runs is not disturbed.
//!
//! ```text
//!   wal       header slots, and what the next start would read back      the WAL machine itself reads, on a file that
//!                                                                        is open for reading only
//!             of those in the bucket, their objects by life              names, and what is not committed yet
//!   metadata  brokers, topics, streams, as the log folds                 the head and all that it refers to
//!   object    blocks of a data object, every checksum verified
//!   bucket    is everything there that the metadata needs? What else     all names; with --deep every byte
//!             is there, and what does it cost?
//! ```

mod bucket;
mod metadata;
mod object;
mod ring;
mod wal_objects;

use crate::admin::Told;
use crate::command;
use crate::config::{Config, Layers, UsageError, WalDevice};
use crate::facts::Facts;
use crate::failure::Failure;
use crate::flags::Flags;
use crate::store::{Reader, S3};
use karst_core::controller::Audit;
use karst_core::wal::Inspection;
use std::ffi::OsString;
use std::path::PathBuf;

/// The text of `karst inspect --help`.
const HELP: &str = "\
karst inspect wal [FILE]        header, and what the next start would read back [DATA-DIR/wal]; with --wal-device object:
                                the objects of all WALs in the object store, by life
karst inspect metadata          brokers, topics, streams and objects, as the metadata log tells
karst inspect object ID...      blocks of data objects, all checksums verified; ID is a number or a name in the bucket
karst inspect bucket [--deep]   is everything there that the metadata needs, what else is there, and what does it cost?
                                With --deep every object is read and verified

  --json                  one line of JSON instead of lines for people
  --data-dir DIR, --object-store URL, --config FILE and all others of the broker say where things are

Nothing is ever written or locked. Beside a running broker the answer is of a moment that has passed already, and what
its WAL holds may look torn. Exit code 0: all that was looked at is sound; 1: it is not, or can't be read.
";

/// What is to be looked at, and how it is told.
#[derive(Clone, Debug)]
pub enum Inspect {
    /// What can be asked.
    Help,
    /// One of the subjects.
    Subject {
        /// What.
        subject: Subject,
        /// As JSON, and not as lines for people.
        json: bool,
        /// Where things are.
        config: Box<Config>,
    },
}

/// What can be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The write-ahead log, or a file that is one.
    Wal(Option<PathBuf>),
    /// The metadata log.
    Metadata,
    /// Data objects, by number or name.
    Objects(Vec<String>),
    /// The whole bucket.
    Bucket(Depth),
}

/// How closely a bucket is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Names and lengths.
    Names,
    /// Every byte.
    Bytes,
}

/// What was found.
#[derive(Debug, Default)]
struct Findings {
    facts: Facts,
    /// What is wrong, each for a person.
    flaws: Vec<String>,
}

impl Inspect {
    /// Looks.
    ///
    /// # Errors
    /// Says what can't be read.
    pub fn run(&self) -> Result<Told, Failure> {
        let Self::Subject { subject, json, config } = self else { return Ok(Told::Well(HELP.into())) };
        let Findings { mut facts, flaws } = look(subject, config)?;
        let sound = flaws.is_empty();
        facts.truth("sound", sound);
        facts.texts("flaws", flaws);
        let text = if *json { facts.json() } else { facts.lines() };
        Ok(if sound { Told::Well(text) } else { Told::Unwell(text) })
    }
}

/// What a WAL holds, for people.
///
/// # Errors
/// Says what can't be read.
pub(crate) fn wal(place: &WalDevice, config: &Config) -> Result<String, Failure> {
    let Findings { mut facts, flaws } = look(&Subject::Wal(place.path().map(Into::into)), config)?;
    facts.texts("flaws", flaws);
    Ok(facts.lines())
}

/// What the metadata log tells.
///
/// # Errors
/// Says what can't be read.
pub(crate) fn audit(config: &Config) -> Result<Audit, Failure> {
    metadata::read(&reader(config)?)
}

/// What is where the WAL is configured; nothing there counts as blank.
///
/// # Errors
/// Says that nobody may look.
pub(crate) fn find_wal(config: &Config) -> Result<Inspection, Failure> {
    match config.wal().path() {
        Some(path) => ring::find(path, &config.limits),
        None => Ok(Inspection::Objects),
    }
}

fn look(subject: &Subject, config: &Config) -> Result<Findings, Failure> {
    match subject {
        Subject::Wal(path) => {
            let Some(path) = path.clone().or_else(|| config.wal().path().map(Into::into)) else {
                let reader = reader(config)?;
                return wal_objects::inspect(&reader, metadata::read(&reader)?.image());
            };
            // A WAL can be told without its bucket, only not as much.
            let metadata = reader(config).and_then(|reader| metadata::read(&reader));
            ring::inspect(&path, &config.limits, metadata.as_ref().ok())
        }
        Subject::Metadata => Ok(metadata::inspect(&metadata::read(&reader(config)?)?)),
        Subject::Objects(names) => {
            let reader = reader(config)?;
            object::inspect(&reader, &metadata::read(&reader)?, names)
        }
        Subject::Bucket(depth) => bucket::inspect(&reader(config)?, *depth),
    }
}

fn reader(config: &Config) -> Result<Reader, Failure> {
    match &config.bucket {
        Some(location) => S3::open(location, &config.credentials).map(Reader::bucket).map_err(Failure::new),
        None => Reader::directory(&config.objects()),
    }
}

/// Reads what follows `karst inspect`.
///
/// # Errors
/// Says what is wrong with it.
pub(crate) fn parse(
    mut flags: Flags<impl Iterator<Item = OsString>>,
    mut layers: Layers,
) -> Result<Inspect, UsageError> {
    let (mut words, mut json, mut depth) = (Vec::new(), false, Depth::Names);
    while let Some(flag) = flags.advance()? {
        match flag.as_str() {
            "--help" | "-h" => return Ok(Inspect::Help),
            "--json" => json = true,
            "--deep" => depth = Depth::Bytes,
            flag if flag.starts_with('-') => command::key(&mut flags, &mut layers)?,
            _ => words.push(flag),
        }
    }
    let Some((subject, names)) = words.split_first() else { return Ok(Inspect::Help) };
    let usage = |what: &str| Err(UsageError(format!("karst inspect {subject}: {what}; see karst inspect --help")));
    let subject = match (subject.as_str(), names, depth) {
        ("wal", [], Depth::Names) => Subject::Wal(None),
        ("wal", [path], Depth::Names) => Subject::Wal(Some(path.into())),
        ("wal", [_, _, ..], _) => return usage("names one file"),
        ("metadata", [], Depth::Names) => Subject::Metadata,
        ("object", [], _) => return usage("which object?"),
        ("object", names, Depth::Names) => Subject::Objects(names.to_vec()),
        ("bucket", [], depth) => Subject::Bucket(depth),
        ("wal" | "metadata" | "object", _, Depth::Bytes) => return usage("takes no --deep"),
        ("metadata" | "bucket", [_, ..], _) => return usage("takes no names"),
        _ => return usage("there are wal, metadata, object and bucket"),
    };
    let config = Box::new(layers.load()?.config);
    Ok(Inspect::Subject { subject, json, config })
}

#[cfg(test)]
mod tests;
