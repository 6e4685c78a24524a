//! `karst-sim`: runs Karst under simulated faults, and replays what failed.

use karst_sim::cli;
use mimalloc::MiMalloc;
use std::process::ExitCode;

/// Each seed allocates and frees all that its world holds, on a thread of its own.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    cli::main(std::env::args().skip(1).collect())
}
