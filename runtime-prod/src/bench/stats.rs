//! Small statistics.

use std::time::Duration;

/// How long each of many things took.
#[derive(Clone, Debug, Default)]
pub(super) struct Latencies {
    all: Vec<Duration>,
}

impl Latencies {
    pub(super) fn add(&mut self, one: Duration) {
        self.all.push(one);
    }

    pub(super) fn append(&mut self, mut other: Self) {
        self.all.append(&mut other.all);
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// In microseconds; 0 of nothing.
    pub(super) fn median(&self) -> f64 {
        self.permille(500)
    }

    /// In microseconds; 0 of nothing.
    pub(super) fn p99(&self) -> f64 {
        self.permille(990)
    }

    fn permille(&self, permille: usize) -> f64 {
        let mut sorted = self.all.clone();
        sorted.sort_unstable();
        let at = (sorted.len() * permille / 1000).min(sorted.len().saturating_sub(1));
        sorted.get(at).map_or(0.0, |one| one.as_nanos() as f64 / 1e3)
    }
}

/// 10^6 a second.
pub(super) fn megabytes(bytes: u64, during: Duration) -> f64 {
    bytes as f64 / during.as_secs_f64() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_values() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.median(), 0.0);
        for micros in (1..=1000).rev() {
            latencies.add(Duration::from_micros(micros));
        }
        assert_eq!((latencies.median(), latencies.p99(), latencies.len()), (501.0, 991.0, 1000));
        assert_eq!(megabytes(3_000_000, Duration::from_secs(2)), 1.5);
    }
}
