//! `karst-sim`: runs Karst under simulated faults, and replays what failed.

use karst_sim::cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main(std::env::args().skip(1).collect())
}
