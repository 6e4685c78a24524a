//! Words of the command line.

use super::campaign::seed_of_commit;
use crate::plan::Profile;
use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

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

    /// The next word, which stays.
    pub(super) fn peek(&self) -> Option<&str> {
        self.0.front().map(String::as_str)
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

    /// An option whose value may be left out, and follows `=` otherwise.
    pub(super) fn flag_or_equals<T: FromStr>(&mut self, option: &str, default: T) -> Result<Option<T>, UsageError> {
        if self.flag(option) {
            return Ok(Some(default));
        }
        let value = |word: &str| word.strip_prefix(option).and_then(|rest| rest.strip_prefix('=')).map(str::to_owned);
        let Some((at, value)) = self.0.iter().enumerate().find_map(|(at, word)| Some((at, value(word)?))) else {
            return Ok(None);
        };
        self.0.remove(at);
        value.parse().map(Some).map_err(|_| UsageError(format!("'{value}' is no value for {option}")))
    }

    /// `--jobs J`: how many threads.
    pub(super) fn jobs(&mut self) -> Result<Option<usize>, UsageError> {
        Ok(self.value::<NonZeroUsize>("--jobs")?.map(NonZeroUsize::get))
    }

    pub(super) fn profile(&mut self) -> Result<Profile, UsageError> {
        let Some(name) = self.value::<String>("--profile")? else { return Ok(Profile::default()) };
        Profile::parse(&name).ok_or_else(|| UsageError(format!("there is no profile '{name}'")))
    }

    /// `--seeds N` or `--seeds A..B`.
    pub(super) fn seeds(&mut self) -> Result<Range<u64>, UsageError> {
        let text = self.value::<String>("--seeds")?.ok_or_else(|| UsageError("--seeds is missing".into()))?;
        let seeds = match text.split_once("..") {
            Some((from, to)) => number(from)?..number(to)?,
            None => 0..number(&text)?,
        };
        not_empty(&text, seeds)
    }

    /// As [`Args::seeds`], where `--seeds-from COMMIT` says where `--seeds N` begins. Where the time ends a campaign
    /// there need not be a number.
    pub(super) fn seeds_of_campaign(&mut self, lasts: Option<Period>) -> Result<Range<u64>, UsageError> {
        let commit: Option<String> = self.value("--seeds-from")?;
        if commit.is_none() && (lasts.is_none() || self.0.iter().any(|word| word == "--seeds")) {
            return self.seeds();
        }
        let from = commit.map_or(0, |commit| seed_of_commit(&commit));
        match self.value::<String>("--seeds")? {
            Some(count) if count.contains("..") => {
                Err(UsageError(format!("--seeds-from says where seeds begin, and --seeds {count} says so, too")))
            }
            Some(count) => not_empty(&count, from..from.saturating_add(number(&count)?)),
            None if lasts.is_some() => Ok(from..u64::MAX),
            None => Err(UsageError("--seeds N or --for TIME is missing: how many seeds?".into())),
        }
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Result<(), UsageError> {
        self.0.front().map_or(Ok(()), |word| Err(UsageError(format!("'{word}' is not expected here"))))
    }
}

fn number(text: &str) -> Result<u64, UsageError> {
    text.parse().map_err(|_| UsageError(format!("'{text}' is no number of a seed")))
}

fn not_empty(text: &str, seeds: Range<u64>) -> Result<Range<u64>, UsageError> {
    if seeds.is_empty() {
        return Err(UsageError(format!("'{text}' holds no seed: nothing would be tried")));
    }
    Ok(seeds)
}

/// A span of time, not none at all: `90s`, `20m`, `8h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Period(pub(super) Duration);

impl FromStr for Period {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or(())?;
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => return Err(()),
        };
        let number: u64 = number.parse().map_err(drop)?;
        number
            .checked_mul(seconds)
            .filter(|seconds| *seconds > 0)
            .map(|seconds| Self(Duration::from_secs(seconds)))
            .ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Args {
        Args::new(line.split_whitespace().map(Into::into).collect())
    }

    #[test]
    fn a_campaigns_seeds_are_a_range_a_number_or_as_many_as_there_is_time_for() {
        let seeds = |line: &str| {
            let mut args = args(line);
            let lasts = args.value("--for")?;
            args.seeds_of_campaign(lasts)
        };
        let from = seed_of_commit("47b495b");
        assert_eq!(seeds("--seeds 5..9").ok(), Some(5..9));
        assert_eq!(seeds("--for 2m --seeds 7").ok(), Some(0..7));
        assert_eq!(seeds("--for 2m").ok(), Some(0..u64::MAX));
        assert_eq!(seeds("--seeds-from 47b495b --seeds 3").ok(), Some(from..from + 3));
        assert_eq!(seeds("--seeds-from 47b495b --for 8h").ok(), Some(from..u64::MAX));
        for wrong in
            ["", "--seeds-from 47b495b", "--seeds-from 47b495b --seeds 3..4", "--seeds 4..4", "--for 2", "--for 0s"]
        {
            assert!(seeds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn somebody_has_to_do_the_work() {
        assert_eq!(args("--jobs 3").jobs().ok(), Some(Some(3)));
        assert_eq!(args("").jobs().ok(), Some(None));
        assert!(args("--jobs 0").jobs().is_err());
    }

    #[test]
    fn an_option_may_have_a_value_behind_its_equals_sign() {
        let shrink = |line: &str| args(line).flag_or_equals("--shrink", Period(Duration::from_secs(60)));
        assert_eq!(shrink("--shrink").ok(), Some(Some(Period(Duration::from_secs(60)))));
        assert_eq!(shrink("--shrink=2m").ok(), Some(Some(Period(Duration::from_secs(120)))));
        assert_eq!(shrink("--shrinks=2m").ok(), Some(None));
        assert!(shrink("--shrink=é").is_err());
    }
}
