//! How large everything is as time goes by: a broker that runs for long gives back what it took.
//!
//! ```text
//!   safety   ├─ warm-up ─┼── second quarter ──┼── third ──┼── last quarter ──┤
//!                          the usual size                   must be about that
//! ```
//! In the second quarter retention, compaction and deletes have found their pace. What leaks as much all the time has more
//! than doubled by the last one.

use super::host::Host;
use karst_runtime_sim::time::SimTime;
use std::fmt::{self, Display, Write};
use std::time::Duration;

/// What is looked at, in the order of [`Sizes`].
pub(super) const COLUMNS: [&str; 7] = ["objects", "bucket", "metadata", "ranges", "WAL", "log cache", "block cache"];

/// Below this, per column, a size is small, however it grows: in objects, bytes, or things.
const SMALL: [u64; COLUMNS.len()] = [100, 1 << 17, 1 << 15, 100, 1 << 15, 1 << 15, 1 << 15];

/// What a broker and its bucket hold at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// When.
    pub at: SimTime,
    /// Objects in the bucket; bytes of all, and of the metadata log; ranges of streams; bytes of the WAL that are in use, of
    /// records in the log cache, of blocks in the block cache.
    pub columns: [u64; COLUMNS.len()],
}

/// Looks each so often.
#[derive(Debug)]
pub(super) struct Samples {
    every: Duration,
    next: SimTime,
    taken: Vec<Sizes>,
}

impl Samples {
    /// So many in so much time; none for 0.
    pub(super) fn new(count: u64, time: Duration) -> Self {
        let every = u32::try_from(count).ok().filter(|count| *count > 0).map_or(Duration::MAX, |count| time / count);
        Self { every, next: SimTime::ZERO.after(every), taken: Vec::new() }
    }

    /// Time has passed. A broker that is down is looked at when it serves again.
    pub(super) fn look(&mut self, now: SimTime, host: &Host) {
        if now < self.next {
            return;
        }
        if let Some(columns) = host.sizes() {
            self.taken.push(Sizes { at: now, columns });
            self.next = now.after(self.every);
        }
    }

    pub(super) fn into_taken(self) -> Vec<Sizes> {
        self.taken
    }

    /// What has grown.
    pub(super) fn grown(&self) -> Option<String> {
        let quarter = self.taken.len() / 4;
        (0..COLUMNS.len()).filter(|_| quarter > 0).find_map(|column| {
            let usual = median(&self.taken[quarter..2 * quarter], column);
            let last = median(&self.taken[3 * quarter..], column);
            let is_more = last > (usual + usual / 2).max(SMALL[column]);
            is_more.then(|| format!("{}: {usual} in the second quarter, {last} in the last", COLUMNS[column]))
        })
    }
}

fn median(sizes: &[Sizes], column: usize) -> u64 {
    let mut values: Vec<u64> = sizes.iter().map(|size| size.columns[column]).collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

/// A table of them, for people.
pub(super) struct Table<'a>(pub(super) &'a [Sizes]);

impl Display for Table<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:>9}", "time")?;
        COLUMNS.iter().try_for_each(|name| write!(out, "  {name:>11}"))?;
        for size in self.0 {
            let minutes = size.at.0 / 60_000_000_000;
            write!(out, "\n{:>9}", format!("{}:{:02}", minutes / 60, minutes % 60))?;
            for (name, value) in COLUMNS.iter().zip(size.columns) {
                write!(out, "  {value:>width$}", width = name.len().max(11))?;
            }
        }
        out.write_char('\n')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hundred, of which the first column is as `of` says.
    fn samples(of: impl Fn(u64) -> u64) -> Samples {
        let mut samples = Samples::new(100, Duration::from_secs(100));
        samples.taken = (0..100).map(|at| Sizes { at: SimTime(at), columns: [of(at); COLUMNS.len()] }).collect();
        samples
    }

    #[test]
    fn what_stays_the_same_has_not_grown() {
        assert_eq!(samples(|at| 1_000_000 + at % 7 * 100_000).grown(), None);
        assert_eq!(samples(|at| if at == 90 { 50_000_000 } else { 1_000_000 }).grown(), None, "a moment is no trend");
        assert_eq!(samples(|at| if at < 20 { at * 50_000 } else { 1_000_000 }).grown(), None, "it takes time to begin");
        assert_eq!(samples(|at| at).grown(), None, "it is small");
    }

    #[test]
    fn what_leaks_all_the_time_has_grown() {
        let grown = samples(|at| at * 1_000_000).grown().expect("it leaks");
        assert_eq!(grown, "objects: 37000000 in the second quarter, 87000000 in the last");
    }

    #[test]
    fn the_table_has_a_line_per_sample() {
        let hour = Sizes { at: SimTime(3_660_000_000_000), columns: [1, 2, 3, 4, 5, 6, 7] };
        let table = Table(&[hour]).to_string();
        assert_eq!(table.lines().count(), 2);
        assert!(table.contains("     1:01            1            2"), "{table}");
    }
}
