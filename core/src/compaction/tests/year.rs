//! A year of traffic, as planner and metadata see it.
//!
//! ```sh
//! cargo test --release -p karst-core --lib compaction::tests::year -- --ignored --nocapture
//! ```

extern crate std;

use super::model::{MIB, Model};
use crate::compaction::Rules;
use crate::id::{Offset, StreamId};
use crate::limits::Limits;
use crate::machine::Rng;
use crate::metadata::{CleanupPolicy, Millis, ObjectState, TopicConfigs};
use alloc::vec::Vec;
use std::eprintln;

const DAY: i64 = 86_400_000;

/// A cluster's traffic: partitions that are busy, that are slow, and that hardly ever write.
struct Traffic {
    model: Model,
    rng: Rng,
    first: StreamId,
    /// Between two cuts.
    pause: i64,
    /// Bytes per cut of each stream, on average.
    rates: Vec<u64>,
    /// Records stay so long.
    retention: Option<i64>,
    longest: Line,
}

/// What is looked at.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    ranges_per_stream: f64,
    most_ranges: usize,
    objects: usize,
    requests_per_gib: f64,
    rewritten: f64,
    space: f64,
}

impl Traffic {
    fn new(retention: Option<i64>, pause: i64, limits: &Limits) -> Self {
        let mut model = Model::new(Rules::new(limits));
        model.checks = false;
        let configs = match retention {
            Some(time) => TopicConfigs { retention_time: Some(Millis(time)), ..TopicConfigs::default() },
            None => TopicConfigs { cleanup_policy: Some(CleanupPolicy::NONE), ..TopicConfigs::default() },
        };
        let (_, first) = model.topic(40, configs);
        let rate = |at: u64| match at {
            0..2 => 10 * MIB,
            2..10 => 640 << 10,
            10..25 => 40 << 10,
            _ => 1_000,
        };
        let rates = (0..40).map(rate).collect();
        Self { model, rng: Rng::new(7), first, pause, rates, retention, longest: Line::default() }
    }

    /// So many days, with a look each `every` days. Objects are rewritten each `hours`.
    fn run(&mut self, days: i64, every: i64, hours: i64) {
        let round = hours * DAY / 24;
        let mut told = -1;
        let mut rewritten = 0;
        while self.model.now < days * DAY {
            self.cut();
            if self.model.now / round == rewritten {
                continue;
            }
            rewritten = self.model.now / round;
            self.retain();
            self.model.compact_all();
            let today = self.model.now / DAY / every;
            if today != told {
                told = today;
                self.look();
            }
        }
    }

    fn cut(&mut self) {
        self.model.now += self.pause;
        let mut parts = Vec::new();
        for (at, rate) in (self.first.0..).zip(&self.rates) {
            // What hardly ever writes is in few cuts.
            if *rate > 1_000 || self.rng.chance(1, 20) {
                parts.push((StreamId(at), self.rng.between(rate / 2 + 1, rate * 3 / 2), None));
            }
        }
        self.model.cut(&parts);
    }

    /// As the shard does it: by whole ranges.
    fn retain(&mut self) {
        let Some(retention) = self.retention else { return };
        let old = self.model.now - retention;
        let end = |stream: &crate::metadata::StreamImage| {
            let old = stream.ranges.values().take_while(|range| range.max_timestamp.0 < old);
            old.last().map(|range| range.end)
        };
        let trims: Vec<(StreamId, Offset)> =
            self.model.image.streams.iter().filter_map(|(id, stream)| Some((*id, end(stream)?))).collect();
        for (stream, start) in trims {
            self.model.trim(stream, start);
        }
    }

    fn look(&mut self) {
        let image = &self.model.image;
        let ranges: Vec<usize> = image.streams.values().map(|stream| stream.ranges.len()).collect();
        let live = image.objects.values().filter(|object| matches!(object.state, ObjectState::Live(_)));
        let stored: u64 = live.clone().map(|object| object.size).sum();
        let needed: u64 = match self.retention {
            // What is younger than that, and no more.
            Some(retention) => {
                let spans = self.model.requests.ingested as f64 * (retention as f64 / self.model.now as f64).min(1.0);
                spans as u64
            }
            None => image.streams.values().flat_map(|stream| stream.ranges.values()).map(|range| range.bytes).sum(),
        };
        let requests = self.model.requests;
        let gib = requests.ingested as f64 / (1 << 30) as f64;
        let line = Line {
            ranges_per_stream: ranges.iter().sum::<usize>() as f64 / ranges.len() as f64,
            most_ranges: ranges.iter().copied().max().unwrap_or(0),
            objects: live.count(),
            requests_per_gib: (requests.puts + requests.gets) as f64 / gib,
            rewritten: requests.rewritten as f64 / requests.ingested as f64,
            space: stored as f64 / needed.max(1) as f64,
        };
        eprintln!(
            "day {:>4} {:>9.1} GiB {:>7} objects {:>8.1} ranges/stream, most {:>5} {:>8.0} requests/GiB {:>5.2} x rewritten \
             {:>5.2} x space",
            self.model.now / DAY,
            gib,
            line.objects,
            line.ranges_per_stream,
            line.most_ranges,
            line.requests_per_gib,
            line.rewritten,
            line.space,
        );
        self.longest = line;
    }
}

/// The same cluster, for a month.
#[test]
fn a_month_of_traffic_leaves_few_objects() {
    let mut traffic = Traffic::new(Some(7 * DAY), 30 * 60_000, &Limits::default());
    traffic.run(30, 5, 1);
    let Line { most_ranges, space, rewritten, .. } = traffic.longest;
    // A busy partition has 3.8 GiB: 30 full objects.
    assert!(most_ranges < 150, "{most_ranges} ranges of one stream");
    assert!(space < 1.5 && rewritten < 4.0, "{space} times the space, {rewritten} times rewritten");
}

#[test]
#[ignore = "takes minutes"]
fn a_year_of_traffic_kept_for_a_week() {
    eprintln!("40 partitions, a cut every 5 minutes; retention of 7 days");
    Traffic::new(Some(7 * DAY), 300_000, &Limits::default()).run(365, 30, 1);
}

#[test]
#[ignore = "takes minutes"]
fn a_year_of_traffic_kept_for_ever() {
    eprintln!("40 partitions, a cut every 5 minutes; kept for ever");
    Traffic::new(None, 300_000, &Limits::default()).run(365, 30, 12);
}
