//! Plans as text.
//!
//! ```text
//! karst-plan 1
//! clients = 3
//! disk.stall = 120
//! ...
//! at 1500000 kill down=20000
//! at 2200000 pause lasts=500000
//! ```
//! A number that is not named has its default: so a plan still loads when later versions know more numbers. Lines that
//! begin with `#` are for people.

use super::{Disturbance, Numbers, Plan};
use std::fmt::{self, Write};
use std::time::Duration;

const MAGIC: &str = "karst-plan 1";

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

impl Plan {
    /// As text; only numbers that differ from their default are written.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("{MAGIC}\n");
        let defaults = Numbers::default().all();
        for ((name, value), (_, default)) in self.numbers.all().into_iter().zip(defaults) {
            if value != default {
                let _ = writeln!(text, "{name} = {value}");
            }
        }
        for (at, what) in &self.disturbances {
            let _ = writeln!(text, "at {} {}", at.as_micros(), disturbance_text(what));
        }
        text
    }

    /// From text.
    ///
    /// # Errors
    /// The first line that makes no sense.
    pub fn from_text(text: &str) -> Result<Self, PlanError> {
        let mut plan = Self::default();
        let mut lines = text.lines().enumerate();
        let fail = |line: usize, what: String| PlanError { line: line + 1, what };
        match lines.find(|(_, line)| !is_comment(line)) {
            Some((_, MAGIC)) => {}
            Some((at, other)) => return Err(fail(at, format!("'{other}' is not '{MAGIC}'"))),
            None => return Err(fail(0, "the plan is empty".into())),
        }
        for (at, line) in lines.filter(|(_, line)| !is_comment(line)) {
            if let Some(rest) = line.strip_prefix("at ") {
                let disturbance = parse_disturbance(rest).ok_or_else(|| fail(at, format!("'{line}' is no event")))?;
                plan.disturbances.push(disturbance);
                continue;
            }
            let (name, value) = line.split_once('=').ok_or_else(|| fail(at, format!("'{line}' names no number")))?;
            let (name, value) = (name.trim(), value.trim());
            let number = plan.numbers.find(name).ok_or_else(|| fail(at, format!("there is no number '{name}'")))?;
            let value: u64 = value.parse().map_err(|_| fail(at, format!("'{value}' is not a number")))?;
            let (least, most) = bounds(name);
            if !(least..=most).contains(&value) {
                return Err(fail(at, format!("{name} must lie between {least} and {most}")));
            }
            *number = value;
        }
        plan.disturbances.sort_by_key(|(at, _)| *at);
        Ok(plan)
    }
}

/// What a number may be, so that a world can be built of it and comes to an end.
fn bounds(name: &str) -> (u64, u64) {
    match name {
        "root" => (0, u64::MAX),
        "clients" | "client.in-flight" | "client.records" => (1, 1_000),
        "client.partitions" | "store.page" | "wal.depth" | "cut.uploads" | "metadata.lease" => (1, 1_000),
        "client.value" => (8, 1 << 20),
        "wal.device" => (24_576, 1 << 30),
        _ if name.starts_with("phases.") => (1, 100_000_000_000),
        _ => (0, 1 << 40),
    }
}

fn is_comment(line: &str) -> bool {
    line.trim().is_empty() || line.starts_with('#')
}

fn disturbance_text(what: &Disturbance) -> String {
    match what {
        Disturbance::Kill { down } => format!("kill down={}", down.as_micros()),
        Disturbance::Stop { down } => format!("stop down={}", down.as_micros()),
        Disturbance::Pause { lasts } => format!("pause lasts={}", lasts.as_micros()),
        Disturbance::Outage { lasts } => format!("outage lasts={}", lasts.as_micros()),
        Disturbance::Full { lasts } => format!("full lasts={}", lasts.as_micros()),
        Disturbance::ClockJump { by_ms } => format!("clock-jump by-ms={by_ms}"),
        Disturbance::Rot { at } => format!("rot at={at}"),
    }
}

fn parse_disturbance(text: &str) -> Option<(Duration, Disturbance)> {
    let mut words = text.split_whitespace();
    let at = Duration::from_micros(words.next()?.parse().ok()?);
    let kind = words.next()?;
    let (key, value) = words.next()?.split_once('=')?;
    let longest = Duration::from_secs(24 * 3600);
    let micros = || value.parse().ok().map(Duration::from_micros).filter(|time| *time <= longest);
    let what = match (kind, key) {
        ("kill", "down") => Disturbance::Kill { down: micros()? },
        ("stop", "down") => Disturbance::Stop { down: micros()? },
        ("pause", "lasts") => Disturbance::Pause { lasts: micros()? },
        ("outage", "lasts") => Disturbance::Outage { lasts: micros()? },
        ("full", "lasts") => Disturbance::Full { lasts: micros()? },
        ("clock-jump", "by-ms") => Disturbance::ClockJump { by_ms: value.parse().ok()? },
        ("rot", "at") => Disturbance::Rot { at: value.parse().ok().filter(|at| *at < 1_000_000)? },
        _ => return None,
    };
    (words.next().is_none() && at <= longest).then_some((at, what))
}

#[cfg(test)]
mod tests {
    use super::super::Profile;
    use super::*;
    use karst_runtime_sim::seed::Seed;

    #[test]
    fn a_plan_survives_its_text() {
        for seed in 0..200 {
            let plan = Plan::from_seed(Seed(seed), Profile::Swarm);
            assert_eq!(Plan::from_text(&plan.to_text()), Ok(plan));
        }
    }

    #[test]
    fn an_error_names_the_line() {
        let error = |text| Plan::from_text(text).expect_err("no plan").to_string();
        assert_eq!(error("karst-plan 9\n"), "line 1: 'karst-plan 9' is not 'karst-plan 1'");
        assert_eq!(error("karst-plan 1\n\nclints = 3\n"), "line 3: there is no number 'clints'");
        assert_eq!(error("karst-plan 1\nclients = many\n"), "line 2: 'many' is not a number");
        assert_eq!(error("karst-plan 1\nstore.page = 0\n"), "line 2: store.page must lie between 1 and 1000");
        assert_eq!(error("karst-plan 1\nat noon kill down=3\n"), "line 2: 'at noon kill down=3' is no event");
    }
}
