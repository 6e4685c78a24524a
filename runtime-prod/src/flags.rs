//! A command line's options, one after the other: `--flag`, `--flag value` or `--flag=value`.

use crate::config::UsageError;
use std::ffi::OsString;

pub(crate) struct Flags<I> {
    arguments: I,
    flag: String,
    /// Given with the flag, and not asked for yet.
    given: Option<String>,
}

impl<I: Iterator<Item = OsString>> Flags<I> {
    pub(crate) const fn new(arguments: I) -> Self {
        Self { arguments, flag: String::new(), given: None }
    }

    /// The next one, without its value.
    pub(crate) fn advance(&mut self) -> Result<Option<String>, UsageError> {
        if self.given.is_some() {
            return Err(UsageError(format!("{} takes no value", self.flag)));
        }
        let Some(argument) = self.arguments.next() else { return Ok(None) };
        let argument = text(argument)?;
        self.flag = match argument.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => {
                self.given = Some(value.to_owned());
                flag.to_owned()
            }
            _ => argument,
        };
        Ok(Some(self.flag.clone()))
    }

    /// Whether the one that was returned last is this.
    pub(crate) fn is(&self, flag: &str) -> bool {
        self.flag == flag
    }

    /// The value of the one that was returned last, if it was given together with it.
    pub(crate) fn given(&mut self) -> Option<String> {
        self.given.take()
    }

    /// The value of the one that was returned last.
    pub(crate) fn value(&mut self) -> Result<String, UsageError> {
        let value = match self.given.take() {
            Some(given) => Some(given),
            // What looks like an option is one: its value was forgotten.
            None => self.arguments.next().map(text).transpose()?.filter(|next| !next.starts_with("--")),
        };
        value.ok_or_else(|| UsageError(format!("{} needs a value", self.flag)))
    }

    /// The one that was returned last means nothing; perhaps something near to it does.
    pub(crate) fn unknown<'a>(&self, near: impl FnOnce(&str) -> Option<&'a str>) -> UsageError {
        let what = if self.flag.starts_with('-') {
            format!("there is no option {}", self.flag)
        } else {
            format!("there is no command {:?}", self.flag)
        };
        let hint = near(&self.flag).map_or_else(String::new, |near| format!(": did you mean {near}?"));
        UsageError(what + &hint)
    }
}

fn text(argument: OsString) -> Result<String, UsageError> {
    argument.into_string().map_err(|bad| UsageError(format!("{} is not UTF-8", bad.to_string_lossy())))
}
