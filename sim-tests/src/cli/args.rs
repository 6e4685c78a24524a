//! Words of the command line.

use crate::plan::Profile;
use std::collections::VecDeque;
use std::ops::Range;
use std::str::FromStr;

/// What is wrong with the command line.
#[derive(Debug)]
pub(super) struct UsageError(pub(super) String);

/// The words that are left.
#[derive(Debug)]
pub(super) struct Args(VecDeque<String>);

impl Args {
    pub(super) fn new(words: Vec<String>) -> Self {
        Self(words.into())
    }

    /// The next word.
    pub(super) fn word(&mut self) -> Option<String> {
        self.0.pop_front()
    }

    /// The value of an option, if it is there.
    pub(super) fn value<T: FromStr>(&mut self, option: &str) -> Result<Option<T>, UsageError> {
        let Some(at) = self.0.iter().position(|word| word == option) else { return Ok(None) };
        self.0.remove(at);
        let value = self.0.remove(at).ok_or_else(|| UsageError(format!("{option} needs a value")))?;
        value.parse().map(Some).map_err(|_| UsageError(format!("'{value}' is no value for {option}")))
    }

    /// An option without a value.
    pub(super) fn flag(&mut self, option: &str) -> bool {
        let at = self.0.iter().position(|word| word == option);
        at.is_some_and(|at| self.0.remove(at).is_some())
    }

    /// An option whose value may be left out.
    pub(super) fn flag_or_value<T: FromStr>(&mut self, option: &str, default: T) -> Option<T> {
        let at = self.0.iter().position(|word| word == option)?;
        self.0.remove(at);
        let value = self.0.get(at).and_then(|word| word.parse().ok());
        if value.is_some() {
            self.0.remove(at);
        }
        Some(value.unwrap_or(default))
    }

    pub(super) fn profile(&mut self) -> Result<Profile, UsageError> {
        let Some(name) = self.value::<String>("--profile")? else { return Ok(Profile::default()) };
        Profile::parse(&name).ok_or_else(|| UsageError(format!("there is no profile '{name}'")))
    }

    /// `--seeds N` or `--seeds A..B`.
    pub(super) fn seeds(&mut self) -> Result<Range<u64>, UsageError> {
        let text = self.value::<String>("--seeds")?.ok_or_else(|| UsageError("--seeds is missing".into()))?;
        let number = |text: &str| text.parse::<u64>().map_err(|_| UsageError(format!("'{text}' is no seed")));
        let seeds = match text.split_once("..") {
            Some((from, to)) => number(from)?..number(to)?,
            None => 0..number(&text)?,
        };
        if seeds.is_empty() {
            return Err(UsageError(format!("'{text}' holds no seed: nothing would be tried")));
        }
        Ok(seeds)
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Result<(), UsageError> {
        self.0.front().map_or(Ok(()), |word| Err(UsageError(format!("'{word}' is not expected here"))))
    }
}
