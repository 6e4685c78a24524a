//! The simulated object store as an S3 server: the production binary meets the faults that the simulation has.
//!
//! ```text
//!   karst ── HTTP ──► server ── s3s ──► s3 ── StoreOp ──► store: a thread with runtime-sim's model
//!                        └── /-/plan, /-/counts ──────────►   └── weather: what a plan says of the store, now
//! ```
//! Faults, their names and the plans that bring them are the simulator's: `--seed N` has the storms of the plan that
//! `karst-sim run --seeds N..N+1` draws, and the n-th request of a kind always has the n-th fate. Objects are in memory,
//! as many bytes as `--capacity` says; they live as long as the server.
#![forbid(unsafe_code)]

mod s3;
mod server;
mod store;
mod truncated;
mod weather;

use karst_runtime_sim::seed::Seed;
use karst_sim::plan::{Plan, Profile};
use std::process::ExitCode;

const HELP: &str = "\
s3_storms: the simulated object store, with its faults, as an S3 server

USAGE
  s3_storms [--listen 127.0.0.1:9000] [--bucket storms] [--access-key test] [--secret-key secret] [--capacity BYTES]
            [--seed N [--profile P] | --plan FILE]
  --listen    where it listens; with port 0 at a free one, which it prints
  --capacity  bytes of all objects together; a put beyond that finds no space (4294967296)
  --seed      the faults of the plan that karst-sim draws from this seed
  --profile   swarm, calm, storm, smoke or nightly (storm)
  --plan      a plan from a file; what it says of anything but the store is not looked at
Without a seed or a plan nothing fails until POST /-/plan brings a plan. GET /-/counts tells what was counted.
";

struct Options {
    listen: String,
    bucket: String,
    keys: (String, String),
    capacity: u64,
    plan: Plan,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--help" || word == "-h") {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let failed = match parse(words) {
        Ok(options) => run(options).map_err(|error| error.to_string()),
        Err(error) => Err(format!("{error}\n\n{HELP}")),
    };
    match failed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("s3_storms: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(&options.listen).await?;
        println!("listening on {}", listener.local_addr()?);
        let store = store::Store::start(options.plan, options.capacity);
        server::serve(listener, options.bucket, options.keys, store).await
    })
}

fn parse(words: Vec<String>) -> Result<Options, String> {
    let mut options = Options {
        listen: "127.0.0.1:9000".into(),
        bucket: "storms".into(),
        keys: ("test".into(), "secret".into()),
        capacity: 4 << 30,
        plan: calm(),
    };
    let (mut seed, mut profile, mut file) = (None, Profile::Storm, None);
    let mut words = words.into_iter();
    while let Some(flag) = words.next() {
        let value = words.next().ok_or_else(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--listen" => options.listen = value,
            "--bucket" => options.bucket = value,
            "--access-key" => options.keys.0 = value,
            "--secret-key" => options.keys.1 = value,
            "--capacity" => options.capacity = number(&value)?,
            "--seed" => seed = Some(Seed(number(&value)?)),
            "--profile" => profile = Profile::parse(&value).ok_or_else(|| format!("there is no profile {value}"))?,
            "--plan" => file = Some(value),
            _ => return Err(format!("there is no option {flag}")),
        }
    }
    options.plan = match (seed, file) {
        (Some(_), Some(_)) => return Err("a seed or a plan, not both".into()),
        (Some(seed), None) => Plan::from_seed(seed, profile),
        (None, Some(file)) => {
            let text = std::fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?;
            Plan::from_text(&text).map_err(|error| format!("{file}: {error}"))?
        }
        (None, None) => options.plan,
    };
    Ok(options)
}

/// Nothing fails, and pages are as long as S3's.
fn calm() -> Plan {
    let mut plan = Plan::default();
    plan.numbers.store_page = 1000;
    plan
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("'{text}' is not a number"))
}
