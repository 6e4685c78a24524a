//! Plans as text.

use super::{Disturbance, Number, Plan, Vocabulary};
use core::fmt::{self, Write};
use core::str::FromStr;
use core::time::Duration;

const FIRST: &str = "karst-plan 1";
const SECOND: &str = "karst-plan 2";

/// The latest moment that a plan may name.
const LATEST: Duration = Duration::from_secs(24 * 3600);

/// Why a text is no plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanError {
    line: usize,
    what: String,
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Version {
    First,
    Second,
}

impl Vocabulary {
    /// A plan as text. Each line of `comment` comes first, for people.
    #[must_use]
    pub fn to_text(&self, plan: &Plan, comment: &str) -> String {
        self.write(plan, comment, |_| "")
    }

    /// The same, and behind each number what it means.
    #[must_use]
    pub fn to_annotated_text(&self, plan: &Plan, comment: &str) -> String {
        const UNITS: &str = "times in microseconds, sizes in bytes, chances in parts per million";
        let comment = if comment.is_empty() { UNITS.to_owned() } else { format!("{}\n{UNITS}", comment.trim_end()) };
        self.write(plan, &comment, |number| number.means)
    }

    fn write(&self, plan: &Plan, comment: &str, means: impl Fn(&Number) -> &'static str) -> String {
        /// Where meanings begin.
        const COLUMN: usize = 40;
        let mut text = format!("{SECOND}\n");
        for line in comment.lines() {
            let _ = writeln!(text, "# {line}");
        }
        let _ = writeln!(text, "root = {}", plan.root);
        for number in self.numbers {
            let Some(value) = plan.numbers.get(number.name) else { continue };
            let line = format!("{} = {value}", number.name);
            let _ = match means(number) {
                "" => writeln!(text, "{line}"),
                means => writeln!(text, "{line:<COLUMN$} # {means}"),
            };
        }
        for one in &plan.schedule {
            let _ = write!(text, "at {} {}", one.at.as_micros(), one.kind);
            for (argument, value) in self.arguments(one) {
                let _ = write!(text, " {}={value}", argument.name);
            }
            text.push('\n');
        }
        for (name, occurrences) in &plan.only {
            let _ = writeln!(text, "only {name} {occurrences}");
        }
        text
    }

    /// A plan from its text.
    ///
    /// # Errors
    /// The first line that makes no sense, and why.
    pub fn from_text(&self, text: &str) -> Result<Plan, PlanError> {
        let mut lines = text.lines().zip(1..).filter(|(line, _)| !is_comment(line));
        let version = match lines.next() {
            Some((line, _)) if line.trim_end() == SECOND => Version::Second,
            Some((line, _)) if line.trim_end() == FIRST => Version::First,
            Some((other, line)) => return Err(PlanError { line, what: format!("'{other}' is not '{SECOND}'") }),
            None => return Err(PlanError { line: 1, what: "the plan is empty".into() }),
        };
        let mut plan = Plan::default();
        let mut named = Vec::new();
        for (text, line) in lines {
            let said = text.split_once(" #").map_or(text, |(said, _)| said).trim_end();
            self.read_line(&mut plan, &mut named, version, said).map_err(|what| PlanError { line, what })?;
        }
        plan.schedule.sort_by_key(|one| one.at);
        Ok(plan)
    }

    /// `named` are the numbers that were said before.
    fn read_line<'a>(
        &self,
        plan: &mut Plan,
        named: &mut Vec<&'a str>,
        version: Version,
        line: &'a str,
    ) -> Result<(), String> {
        if let Some(rest) = line.strip_prefix("at ") {
            plan.schedule.push(self.disturbance(rest)?);
            return Ok(());
        }
        if let Some(rest) = line.strip_prefix("only ") {
            if version < Version::Second {
                return Err(format!("'{FIRST}' has no 'only'"));
            }
            let words = rest.trim().split_once(' ');
            let (name, occurrences) = words.ok_or_else(|| format!("'{line}' names no occurrences"))?;
            let before = plan.only.insert(name.to_owned(), occurrences.trim().parse()?);
            return before.map_or(Ok(()), |_| Err(format!("'only {name}' is said twice")));
        }
        let (name, value) = line.split_once('=').ok_or_else(|| format!("'{line}' names no number"))?;
        let (name, value) = (name.trim(), parse::<u64>(value.trim())?);
        if named.contains(&name) {
            return Err(format!("'{name}' is said twice"));
        }
        named.push(name);
        self.read_number(plan, name, value)
    }

    fn read_number(&self, plan: &mut Plan, name: &str, value: u64) -> Result<(), String> {
        if name == "root" {
            plan.root = value;
            return Ok(());
        }
        let Some(number) = self.number(name) else {
            let is_retired = self.retired.iter().any(|retired| retired.name == name);
            return if is_retired { Ok(()) } else { Err(format!("there is no number '{name}'")) };
        };
        let (least, most) = (number.least, number.most);
        if !(least..=most).contains(&value) {
            return Err(format!("{name} must lie between {least} and {most}"));
        }
        self.set(plan, number, value);
        Ok(())
    }

    fn disturbance(&self, text: &str) -> Result<Disturbance, String> {
        let mut words = text.split_whitespace();
        let at = Duration::from_micros(parse(words.next().unwrap_or_default())?);
        if at > LATEST {
            return Err(format!("nothing is later than {} microseconds", LATEST.as_micros()));
        }
        let name = words.next().ok_or("a moment, and nothing to do")?;
        let kind = self.kind(name).ok_or_else(|| format!("there is no disturbance '{name}'"))?;
        let mut one = Disturbance { at, kind: kind.name, arguments: std::collections::BTreeMap::new() };
        for word in words {
            let (key, value) = word.split_once('=').ok_or_else(|| format!("'{word}' is no argument"))?;
            let known = kind.arguments.iter().find(|argument| argument.name == key);
            let known = known.ok_or_else(|| format!("{name} has no argument '{key}'"))?;
            let value: i64 = parse(value)?;
            if !(known.least..=known.most).contains(&value) {
                return Err(format!("{key} must lie between {} and {}", known.least, known.most));
            }
            if one.arguments.insert(known.name, value).is_some() {
                return Err(format!("'{key}' is said twice"));
            }
        }
        let missing = kind.arguments.iter().find(|argument| !one.arguments.contains_key(argument.name));
        missing.map_or(Ok(one), |argument| Err(format!("{name} needs the argument '{}'", argument.name)))
    }
}

fn is_comment(line: &str) -> bool {
    line.trim().is_empty() || line.starts_with('#')
}

fn parse<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("'{text}' is not a number"))
}
