//! The command line of `karst-sim`.

mod args;
mod campaign;
mod corpus;
mod determinism;
mod exit;
mod explain;
mod follow;
mod glossary;
mod plants;
mod replay;
mod repository;
mod shrink;
mod step;

use args::{Args, UsageError};
use exit::Verdict;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

const HELP: &str = "\
karst-sim: Karst under simulated faults

USAGE
  karst-sim run --seeds N | A..B | --for TIME [--profile P] [--jobs J] [--shard I/N] [--seeds-from COMMIT]
                [--until-failure] [--require-marks] [--resume FILE]
                [--plans DIR [--shrink[=60s]]] [--pages DIR] [--json FILE] [--json-lines FILE] [--junit FILE]
      Runs seed after seed, each in a world of its own, and tells what they came to: failures by defect, with the seed
      that shows each soonest, and which marks (rare situations that matter) no seed reached.
      --for         for so long, such as 90s, 20m or 8h; without --seeds, as many seeds as there is time for
      --shard       every Nth seed of the same range only, beginning with the Ith: parts are disjoint
      --seeds-from  seeds begin at a number made of this text, such as a commit's hash
      --resume      keeps the campaign's state in FILE, and goes on from there if it exists. Ctrl-C ends a campaign
                    with its summary so far
      --until-failure  ends with the first seed that fails; --require-marks fails if a mark is never reached
      --plans       saves the plan of each defect's quickest seed; --shrink beside it what remains when it is shrunk,
                    each for at most so long
      --pages       draws each defect as a page, see explain
      --json        saves the summary; --json-lines a line per seed as it ends; --junit a report for GitHub or Jenkins
  karst-sim corpus [FILE | DIR ...]
      Runs the plans that ever failed: those of sim-tests/corpus, or the ones named.
  karst-sim plants [NAME...] [--campaigns 3] [--seeds 1000] [--within 5m] [--shrink[=60s]] [--markdown FILE] [--resume]
                [--folder DIR] [--check]
      Plants each bug of sim-tests/plants in a copy of the sources, builds it, and runs campaigns until the first
      failure: each must be found, by an invariant that its header names. --check only sees whether all still apply.
      --within      how long all campaigns of one plant may take
      --markdown    puts the rows into the table of a document, as each is known; other rows stay
      --resume      goes on with a table that was interrupted: plants that were measured with these sources, and in
                    this way, are not measured again
      --folder      where copy, builds and what was measured are kept (target/plants)
  karst-sim replay SEED | PLAN-FILE [--profile P] [--until EVENT] [--log[=LINES]] [--break EVENT]
                [--follow KEY=VALUE[,KEY=VALUE] | --state NAME[:PATH] | --step]
      The same run again: the same trace hash, and what came of it.
      --follow      the story of one thing only: a record (partition=orders-3,offset=17), a batch, an object
                    (object=12), a write (write=4294967339), a connection or the request to which its client gave
                    that number (connection=broker-1/3,request=5): from its birth at a client through every hop to
                    where it ended
      --state       the state of a machine after the event of --until, or at the end: broker-1/wal, broker-*/shard,
                    client-0/client, world/disk, world/store; --state list names them. Of a large one the deepest parts are folded:
                    broker-1/shard:image.topics shows that part, broker-1/shard:all everything
      --step        event by event, by commands from standard input (h lists them); with --until from there on
      --break       calls karst_runtime_sim::exec::breakpoint right before that event is handled, always at the same
                    moment: gdb -ex 'break stage.rs:breakpoint' -ex run --args karst-sim replay SEED --break EVENT
                    From there 'finish' leads to the call of the machine's handle. A debug build shows more
  karst-sim shrink SEED | PLAN-FILE [--profile P] [--for 60s] [--jobs J] [--out FILE]
      Looks for the simplest plan that fails for the same reason, saves it, and says in words what remains; Ctrl-C ends
      it with the best so far. Ends with 0 if the plan failed, and with 1 if it did not.
  karst-sim explain SEED | PLAN-FILE [--profile P] [--html FILE]
      Tells in a few sentences how a run came to its failure (or what was done to it, if it passed).
      --html        draws the run as a page that any browser opens from disk: lanes, messages, faults, curves; of a run
                    with more than 400000 entries, its end and what the story tells
  karst-sim plan SEED [--profile P]
      Prints the plan of a seed, each number with what it means, as a file that can be edited and replayed.
  karst-sim hashes --seeds N | A..B [--profile P] [--jobs J] [--log]
      Prints the trace hash of each seed, to compare machines and builds. --log prints every line of the runs with the
      hash so far instead: the first line that differs is where two builds part.
  karst-sim determinism --seeds N | A..B [--profile P]
      Runs each seed on one thread and on four, in this process and in another: all hashes must be equal. If not, shows
      the first event that differs.

PROFILES
  swarm (each seed turns a random subset of the faults off), calm (latency only), storm (all faults), smoke (a short
  swarm, for every push), nightly (a longer and harsher one), soak (a day of a broker that has little to do, with sizes
  of everything, which must not grow: replay shows them)

EXIT CODES
  0 all passed
  1 safety: something happened that must not
  2 wrong usage, or a plan whose limits no broker accepts
  3 determinism: two runs of one seed differ
  4 liveness: something that must happen did not, or nothing did any more, or a limit was reached
  5 crash: a machine or the simulator panicked
  6 a mark was never reached, with --require-marks
  7 results could not be saved
  8 a plant was not found, not by its invariant, or does not apply
  130 ended by SIGINT or SIGTERM before its last seed; nothing had failed
  Of several the worst is told: 1, then 3, 5, 4, 2, 8, 7, 6, 130.
";

/// Runs the command. Returns its exit code: also after a panic of its own, which is not taken for a failed seed.
#[must_use]
pub fn main(words: Vec<String>) -> ExitCode {
    // Nothing of the command is looked at after it panicked, and the panic was printed.
    let done = catch_unwind(AssertUnwindSafe(|| run(Args::new(words))));
    done.unwrap_or_else(|_| Ok(Verdict::Crash.code())).unwrap_or_else(|error| {
        eprintln!("karst-sim: {}\n'karst-sim help' tells what may be asked for", error.0);
        ExitCode::from(2)
    })
}

fn run(mut args: Args) -> Result<ExitCode, UsageError> {
    match args.word().as_deref() {
        Some("run") => campaign::main(args).map(Verdict::code),
        Some("corpus") => corpus::main(args).map(Verdict::code),
        Some("plants") => plants::main(args).map(Verdict::code),
        Some("replay") => replay::main(args),
        Some("shrink") => shrink::main(args),
        Some("explain") => explain::main(args),
        Some("plan") => replay::print_plan(args),
        Some("determinism") => determinism::main(args),
        Some("hashes") => determinism::print_hashes(args),
        Some("help" | "--help" | "-h") => {
            print!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        Some(other) => Err(UsageError(format!("there is no command '{other}'"))),
        None => Err(UsageError("a command is missing".into())),
    }
}
