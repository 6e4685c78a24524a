//! What the process tells by its exit code.

use karst_runtime_sim::failure::Failure;
use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    /// Nothing failed.
    Passed,
    /// SIGINT or SIGTERM ended it, and nothing had failed until then.
    Interrupted,
    /// A mark that was required was never reached.
    Unreached,
    /// What it found could not be saved.
    Unsaved,
    /// A plant was not found as it should be.
    Missed,
    /// A plan that no broker can run: its limits don't fit together.
    Unfit,
    /// Something that must happen did not.
    Liveness,
    /// A machine, the world or the command itself panicked.
    Crash,
    /// Two runs of one plan differ.
    Different,
    /// Something happened that must not.
    Safety,
}

impl Verdict {
    /// What a failure means.
    pub(super) fn of(failure: &Failure) -> Self {
        match failure.invariant.as_str() {
            Failure::PANIC => Self::Crash,
            // A run that stands still, turns in circles or takes too long fails as `liveness`, too.
            "liveness" | "quiescence" => Self::Liveness,
            "plan-fits" => Self::Unfit,
            _ => Self::Safety,
        }
    }

    /// In one word, for tables and files.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Interrupted => "interrupted",
            Self::Unreached => "unreached",
            Self::Unsaved => "unsaved",
            Self::Missed => "missed",
            Self::Unfit => "unfit",
            Self::Liveness => "liveness",
            Self::Crash => "crash",
            Self::Different => "determinism",
            Self::Safety => "safety",
        }
    }

    /// The verdict of that name.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let all = [
            Self::Passed,
            Self::Interrupted,
            Self::Unreached,
            Self::Unsaved,
            Self::Missed,
            Self::Unfit,
            Self::Liveness,
            Self::Crash,
            Self::Different,
            Self::Safety,
        ];
        all.into_iter().find(|verdict| verdict.name() == name)
    }

    /// The exit code.
    pub(super) fn code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Passed => 0,
            Self::Safety => 1,
            Self::Unfit => 2,
            Self::Different => 3,
            Self::Liveness => 4,
            Self::Crash => 5,
            Self::Unreached => 6,
            Self::Unsaved => 7,
            Self::Missed => 8,
            Self::Interrupted => 130,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use karst_runtime_sim::time::SimTime;

    #[test]
    fn failures_are_told_apart() {
        let failure = |invariant: &str| Failure {
            invariant: invariant.into(),
            process: String::new(),
            component: "world".into(),
            message: String::new(),
            site: None,
            subjects: Vec::new(),
            at: SimTime(0),
            event: 0,
        };
        let of = |invariant| Verdict::of(&failure(invariant));
        assert_eq!(of("no-panic"), Verdict::Crash);
        assert_eq!([of("liveness"), of("quiescence")], [Verdict::Liveness; 2]);
        assert_eq!(of("plan-fits"), Verdict::Unfit);
        assert_eq!(of("lost-write"), Verdict::Safety);
    }

    #[test]
    fn the_worst_verdict_is_the_largest() {
        let all = [Verdict::Liveness, Verdict::Safety, Verdict::Passed, Verdict::Unreached];
        assert_eq!(all.into_iter().max(), Some(Verdict::Safety));
        assert!(all.into_iter().all(|verdict| Verdict::parse(verdict.name()) == Some(verdict)));
    }
}
