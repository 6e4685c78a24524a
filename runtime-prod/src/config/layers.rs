//! What is said in the file, the environment and on the command line, put on top of each other.

use super::keys::{KEYS, Key, REBALANCE_DELAY, nearest};
use super::{Config, UsageError, file};
use karst_core::limits::Limits;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

/// Names the configuration file in the environment.
pub(super) const FILE: &str = "KARST_CONFIG";

/// What variables of Karst's begin with.
const PREFIX: &str = "KARST_";

/// What was said besides the file.
#[derive(Debug, Default)]
pub struct Layers {
    file: Option<PathBuf>,
    environment: Vec<(OsString, OsString)>,
    flags: Vec<(&'static Key, String)>,
}

/// A configuration, and where its values are from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What came of it.
    pub config: Config,
    /// For each key that was given, what overrode all else.
    pub origins: BTreeMap<&'static str, Origin>,
}

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In the file, in this line.
    File(PathBuf, usize),
    /// In this variable of the environment.
    Environment(String),
    /// By this flag of the command line.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, line) => write!(f, "{}, line {line}", path.display()),
            Self::Environment(name) | Self::Flag(name) => f.write_str(name),
        }
    }
}

impl Layers {
    /// What these variables say, of which most are nobody's.
    #[must_use]
    pub fn new(environment: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let ours = environment.into_iter().filter(|(name, _)| name.to_string_lossy().starts_with(PREFIX));
        Self { environment: ours.collect(), ..Self::default() }
    }

    /// The command line names a file.
    pub fn file(&mut self, path: PathBuf) {
        self.file = Some(path);
    }

    /// The command line gives a key.
    pub fn flag(&mut self, key: &'static Key, value: String) {
        self.flags.push((key, value));
    }

    /// Puts them on top of each other.
    ///
    /// # Errors
    /// Says which value, and where, is wrong.
    pub fn load(self) -> Result<Loaded, UsageError> {
        let mut loaded = Loaded { config: Config::default(), origins: BTreeMap::new() };
        let named = self.environment.iter().find(|(name, _)| name == FILE).map(|(_, path)| PathBuf::from(path));
        if let Some(path) = self.file.or(named) {
            loaded.read_file(&path)?;
        }
        for (name, value) in self.environment {
            loaded.read_variable(name, value)?;
        }
        for (key, value) in self.flags {
            loaded.set(key, &value, Origin::Flag(key.flag()))?;
        }
        loaded.settle();
        loaded.config.check()?;
        Ok(loaded)
    }
}

impl Loaded {
    fn read_file(&mut self, path: &Path) -> Result<(), UsageError> {
        for entry in file::read(path)? {
            let origin = Origin::File(path.into(), entry.line);
            let Some(key) = Key::named(&entry.name) else {
                let near = nearest(&entry.name, KEYS.iter().map(|key| key.name));
                return Err(unknown(&format!("{origin}: there is no key {:?}", entry.name), near));
            };
            if let Some(Origin::File(_, earlier)) = self.origins.get(key.name) {
                return Err(UsageError(format!("{origin}: {} is given in line {earlier} already", key.name)));
            }
            let value = entry.value.map_err(|what| UsageError(format!("{origin}: {} {what}", key.name)))?;
            self.set(key, &value, origin)?;
        }
        Ok(())
    }

    /// Who keeps everything in a directory and says nothing of the delay tries the broker out: the first member of a
    /// consumer group then gets its partitions at once, where Kafka waits for more members.
    fn settle(&mut self) {
        if self.config.bucket.is_some() && !self.origins.contains_key(REBALANCE_DELAY) {
            self.config.limits.group_initial_rebalance_delay = Limits::default().group_initial_rebalance_delay;
        }
    }

    fn read_variable(&mut self, name: OsString, value: OsString) -> Result<(), UsageError> {
        let name = name.to_string_lossy().into_owned();
        if name == FILE || is_of_kubernetes(&name) {
            return Ok(());
        }
        let Some(key) = KEYS.iter().find(|key| key.variable() == name) else {
            let known: Vec<String> = KEYS.iter().map(Key::variable).collect();
            let near = nearest(&name, known.iter().map(String::as_str).chain([FILE]));
            return Err(unknown(&format!("there is no variable {name}"), near));
        };
        let value = value.into_string().map_err(|_| UsageError(format!("{name} is not UTF-8")))?;
        self.set(key, &value, Origin::Environment(name))
    }

    fn set(&mut self, key: &'static Key, value: &str, origin: Origin) -> Result<(), UsageError> {
        key.set(&mut self.config, value).map_err(|what| {
            let spelt = match &origin {
                Origin::File(..) => format!("{origin}: {}", key.name),
                Origin::Environment(_) | Origin::Flag(_) => origin.to_string(),
            };
            UsageError(match value {
                "" => format!("{spelt} needs a value"),
                _ if key.is_quotable() => format!("{spelt} {value:?} {what}"),
                _ => format!("{spelt} {what}"),
            })
        })?;
        self.origins.insert(key.name, origin);
        Ok(())
    }
}

pub(crate) fn unknown(what: &str, near: Option<&str>) -> UsageError {
    let hint = near.map_or_else(|| "'karst config' lists all".into(), |near| format!("did you mean {near}?"));
    UsageError(format!("{what}: {hint}"))
}

/// Kubernetes gives every container variables about every service beside it, one called `karst` included.
fn is_of_kubernetes(name: &str) -> bool {
    let is_port = |rest: &str| rest.is_empty() || rest.starts_with('_');
    let about_port = |of: &str| name.rsplit_once(of).is_some_and(|(_, rest)| is_port(rest));
    name.ends_with("_SERVICE_HOST") || about_port("_SERVICE_PORT") || about_port("_PORT")
}
