//! How long things took, counted by duration.

use super::exposition::Text;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper ends of the buckets, in microseconds: from a write to a fast disk to a store that is away.
const BOUNDS: [u64; 16] = [
    100, 250, 500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000,
];

/// A histogram that any number of threads may add to without waiting.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    /// Each counts what is in no smaller one; the last counts what is above all bounds.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
}

impl Histogram {
    pub(crate) fn add(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let at = BOUNDS.partition_point(|bound| bound * 1000 < nanos);
        self.buckets[at].fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// What several of them count together.
    pub(crate) fn sum<'a>(of: impl Iterator<Item = &'a Self>) -> Totals {
        let mut totals = Totals::default();
        for one in of {
            for (total, bucket) in totals.buckets.iter_mut().zip(&one.buckets) {
                *total += bucket.load(Ordering::Relaxed);
            }
            totals.nanos = totals.nanos.wrapping_add(one.nanos.load(Ordering::Relaxed));
        }
        totals
    }
}

/// A histogram as of some moment.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    buckets: [u64; BOUNDS.len() + 1],
    nanos: u64,
}

impl Totals {
    /// How many were counted.
    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// As samples of the family `name`: buckets, each with all smaller ones, sum and count.
    pub(crate) fn write(&self, to: &mut Text, name: &str, labels: &[(&str, &str)]) {
        let (buckets, sum, count) = (format!("{name}_bucket"), format!("{name}_sum"), format!("{name}_count"));
        let mut below = 0;
        for (bound, bucket) in BOUNDS.iter().map(|bound| seconds(bound * 1000)).zip(&self.buckets) {
            below += bucket;
            to.sample(&buckets, &[labels, &[("le", &bound)]].concat(), below);
        }
        to.sample(&buckets, &[labels, &[("le", "+Inf")]].concat(), self.count());
        to.sample(&sum, labels, seconds(self.nanos));
        to.sample(&count, labels, self.count());
    }
}

/// Exactly, and without more digits than it takes.
fn seconds(nanos: u64) -> String {
    let text = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_is_in_the_first_bucket_that_reaches_it() {
        let (one, other) = (Histogram::default(), Histogram::default());
        for micros in [0, 100, 101, 10_000_000] {
            one.add(Duration::from_micros(micros));
        }
        other.add(Duration::from_secs(3600));
        let totals = Histogram::sum([&one, &other].into_iter());
        assert_eq!((totals.buckets[0], totals.buckets[1], totals.buckets[15], totals.buckets[16]), (2, 1, 1, 1));
        let mut text = Text::default();
        totals.write(&mut text, "x", &[("a", "b")]);
        let text = text.end();
        for line in [
            "x_bucket{a=\"b\",le=\"0.0001\"} 2\n",
            "x_bucket{a=\"b\",le=\"0.00025\"} 3\n",
            "x_bucket{a=\"b\",le=\"1\"} 3\n",
            "x_bucket{a=\"b\",le=\"10\"} 4\n",
            "x_bucket{a=\"b\",le=\"+Inf\"} 5\n",
            "x_sum{a=\"b\"} 3610.000201\n",
            "x_count{a=\"b\"} 5\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
