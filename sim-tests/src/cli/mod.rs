//! The command line of `karst-sim`.

mod args;
mod campaign;
mod determinism;
mod replay;
mod summary;

use args::{Args, UsageError};
use std::process::ExitCode;

const HELP: &str = "\
karst-sim: Karst under simulated faults

USAGE
  karst-sim run --seeds N | A..B [--jobs J] [--profile swarm|calm|storm] [--json FILE] [--plans DIR]
                [--until-failure]
      Runs a seed after another, each in a world of its own. Exit code 0 only if all of them passed.
      --plans saves the plan of each seed that failed; --until-failure ends with the first of them.
  karst-sim replay SEED | PLAN-FILE [--profile P] [--until EVENT] [--log [LINES]]
      The same run again: the same trace hash, and its story.
  karst-sim plan SEED [--profile P]
      Prints the plan of a seed, as a file that can be edited and replayed.
  karst-sim hashes --seeds N | A..B [--profile P]
      Prints the trace hash of each seed, to compare machines and builds.
  karst-sim determinism --seeds N | A..B [--profile P]
      Runs each seed twice in this process on several threads and once in another process: all hashes must be equal.

PROFILES
  swarm (each seed turns a random subset of the faults off), calm (latency only), storm (all faults)

EXIT CODES
  0 all passed    1 a seed failed    2 wrong usage    3 two runs of one seed differ
";

/// Runs the command. Returns its exit code.
#[must_use]
pub fn main(words: Vec<String>) -> ExitCode {
    let mut args = Args::new(words);
    let done = match args.word().as_deref() {
        Some("run") => campaign::main(args),
        Some("replay") => replay::main(args),
        Some("plan") => replay::print_plan(args),
        Some("determinism") => determinism::main(args),
        Some("hashes") => determinism::print_hashes(args),
        Some("help" | "--help" | "-h") => {
            print!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        Some(other) => Err(UsageError(format!("there is no command '{other}'"))),
        None => Err(UsageError("a command is missing".into())),
    };
    done.unwrap_or_else(|error| {
        eprintln!("karst-sim: {}\n\n{HELP}", error.0);
        ExitCode::from(2)
    })
}
