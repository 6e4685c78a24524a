//! A broker in a process of its own, for the length of a benchmark.

use super::progress;
use crate::failure::Failure;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

/// What its log says once it serves, before the address.
const READY: &str = "ready: listening on ";

/// A broker that is killed when this is dropped: what it has is of no use to anybody.
#[derive(Debug)]
pub(super) struct Broker {
    child: Child,
    address: String,
}

impl Broker {
    /// Starts this program as a broker on a free port, with its data in `dir`, and waits until it serves.
    pub(super) fn start(dir: &Path) -> Result<Self, Failure> {
        Self::start_with(dir, &["--http", "off"])
    }

    /// The same, with further options.
    pub(super) fn start_with(dir: &Path, options: &[&str]) -> Result<Self, Failure> {
        progress("starting a broker");
        let mut child = Command::new(std::env::current_exe()?)
            .arg("--data-dir")
            .arg(dir)
            .args(["--listen", "127.0.0.1:0"])
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let log = child.stderr.take().expect("it is piped");
        let mut broker = Self { child, address: String::new() };
        broker.address = watch(log)?;
        Ok(broker)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it listens.
    pub(super) fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for the address in the log. A thread reads on, and passes warnings on.
fn watch(log: ChildStderr) -> Result<String, Failure> {
    let mut lines = BufReader::new(log).lines().map_while(Result::ok);
    let mut said = Vec::new();
    let ready = lines.by_ref().find_map(|line| {
        let address = line.split_once(READY).map(|(_, rest)| rest.split(',').next().unwrap_or(rest).to_owned());
        said.push(line);
        address
    });
    let Some(address) = ready else {
        return Err(Failure::new(format_args!("the broker ended before it served:\n{}", said.join("\n"))));
    };
    std::thread::spawn(move || {
        for line in lines.filter(|line| !line.contains(" INFO ")) {
            progress(format_args!("the broker says: {line}"));
        }
    });
    Ok(address)
}
