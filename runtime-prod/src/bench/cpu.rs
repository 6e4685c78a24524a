//! Processor time, as the kernel counts it.

use crate::failure::Failure;
use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;
use std::fs::read_to_string;
use std::time::{Duration, Instant};

/// Linux counts for programs in hundredths of a second, whatever its own clock does.
const TICK: Duration = Duration::from_millis(10);

/// Times of client and broker at one moment.
#[derive(Debug)]
pub(super) struct Reading {
    at: Instant,
    client: Duration,
    broker: Option<Broker>,
}

#[derive(Debug)]
struct Broker {
    all: Duration,
    threads: BTreeMap<String, Duration>,
}

/// Between two readings, in processors kept busy.
#[derive(Debug, Default)]
pub(super) struct Usage {
    /// This process.
    pub(super) client: f64,
    /// The broker, if it was started by this process.
    pub(super) broker: Option<f64>,
    /// The broker's threads, those of one kind together; the busiest first.
    pub(super) threads: Vec<(String, f64)>,
}

impl Reading {
    /// Now, with the broker of this process id.
    pub(super) fn take(broker: Option<u32>) -> Result<Self, Failure> {
        let broker =
            broker.map(|pid| Ok::<_, Failure>(Broker { all: process(&pid.to_string())?, threads: threads(pid)? }));
        Ok(Self { at: Instant::now(), client: process("self")?, broker: broker.transpose()? })
    }

    /// From here to `end`.
    pub(super) fn until(&self, end: &Self) -> Usage {
        let wall = end.at.duration_since(self.at).as_secs_f64();
        let part = |from: Duration, to: Duration| to.saturating_sub(from).as_secs_f64() / wall;
        let client = part(self.client, end.client);
        let (Some(from), Some(to)) = (&self.broker, &end.broker) else { return Usage { client, ..Usage::default() } };
        let before = |name: &String| from.threads.get(name).copied().unwrap_or_default();
        let mut threads: Vec<_> =
            to.threads.iter().map(|(name, time)| (name.clone(), part(before(name), *time))).collect();
        threads.retain(|(_, busy)| *busy >= 0.01);
        threads.sort_by(|a, b| b.1.total_cmp(&a.1));
        Usage { client, broker: Some(part(from.all, to.all)), threads }
    }

    /// Time since then.
    pub(super) fn elapsed(&self) -> Duration {
        self.at.elapsed()
    }
}

/// What the calling thread took so far: other than the time on the wall, it does not count what others do.
pub(super) fn this_thread() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn process(pid: &str) -> Result<Duration, Failure> {
    let text = read_to_string(format!("/proc/{pid}/stat"))?;
    parse(&text).map(|(_, time)| time).ok_or_else(|| Failure::new("/proc tells no processor time"))
}

fn threads(pid: u32) -> Result<BTreeMap<String, Duration>, Failure> {
    let mut threads = BTreeMap::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end meanwhile.
        let Ok(text) = read_to_string(entry?.path().join("stat")) else { continue };
        if let Some((name, time)) = parse(&text) {
            let kind = name.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('-');
            *threads.entry(kind.to_owned()).or_default() += time;
        }
    }
    Ok(threads)
}

/// Name, and time in user and system mode, of a line of `stat`.
fn parse(line: &str) -> Option<(&str, Duration)> {
    // The name is in parentheses and may hold anything, also parentheses.
    let (head, rest) = line.rsplit_once(')')?;
    let name = head.split_once('(')?.1;
    let mut times = rest.split_whitespace().skip(11).map_while(|ticks| ticks.parse::<u32>().ok());
    Some((name, TICK * times.next()?.checked_add(times.next()?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_stat_is_read() {
        let line = "17 (wal-io (0)) S 1 17 17 0 -1 4194560 25 0 0 0 123 45 0 0 20 0 1 0 9 0 0";
        assert_eq!(parse(line), Some(("wal-io (0)", Duration::from_millis(1680))));
        assert_eq!(parse("17 (x"), None);
    }

    #[test]
    fn work_is_seen() {
        let from = Reading::take(Some(std::process::id())).expect("there is a /proc");
        while from.elapsed() < Duration::from_millis(100) {}
        let usage = from.until(&Reading::take(Some(std::process::id())).expect("there is a /proc"));
        assert!(usage.client > 0.0, "{usage:?}");
        assert!(usage.broker.expect("asked for") > 0.0);
    }
}
