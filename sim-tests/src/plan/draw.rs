//! How a plan is drawn from a seed.

use super::{Disturbance, Numbers, Plan};
use karst_core::machine::Rng;
use karst_runtime_sim::seed::{Seed, SeedTree};
use std::time::Duration;

/// What a campaign is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Faults by swarm: each seed turns a random subset of them off.
    #[default]
    Swarm,
    /// No faults but latency.
    Calm,
    /// Everything at once.
    Storm,
}

impl Profile {
    /// By name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "swarm" => Some(Self::Swarm),
            "calm" => Some(Self::Calm),
            "storm" => Some(Self::Storm),
            _ => None,
        }
    }
}

/// Classes of faults that are on or off together.
const CLASSES: [fn(&mut Numbers, &mut Rng); 14] = [
    |n, _| n.crash_any = 1_000_000,
    |n, rng| n.disk_write_error = rng.between(50, 2_000),
    |n, rng| n.disk_no_space = rng.between(50, 1_000),
    |n, rng| n.disk_read_error = rng.between(1_000, 50_000),
    |n, rng| n.disk_stall = rng.between(100, 5_000),
    |n, rng| {
        n.store_timeout = rng.between(1_000, 60_000);
        n.store_cut_off = rng.between(1_000, 60_000);
    },
    |n, rng| n.store_throttle = rng.between(1_000, 200_000),
    |n, rng| n.store_server_error = rng.between(1_000, 100_000),
    |n, rng| n.store_conflict = rng.between(1_000, 100_000),
    |n, rng| n.store_truncate = rng.between(1_000, 50_000),
    |n, rng| n.store_tail = rng.between(1_000, 30_000),
    |n, rng| {
        n.net_split = rng.between(50_000, 800_000);
        n.net_stall = rng.between(0, 10_000);
    },
    |n, rng| {
        n.net_reset = rng.between(500, 15_000);
        n.net_half_open = rng.between(0, 300_000);
    },
    |n, rng| {
        n.drift = rng.between(0, 100_000);
        n.skew = rng.between(0, 10_000_000);
    },
];

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn from_seed(seed: Seed, profile: Profile) -> Self {
        let tree = SeedTree::new(seed);
        let mut rng = tree.plan();
        let mut numbers = Numbers { root: rng.next_u64(), ..Numbers::default() };
        shape(&mut numbers, &mut rng.child("shape"));
        limits(&mut numbers, &mut rng.child("limits"));
        faults(&mut numbers, profile, &mut rng.child("faults"));
        let disturbances = disturbances(&numbers, profile, &mut rng.child("disturbances"));
        Self { numbers, disturbances }
    }
}

fn shape(n: &mut Numbers, rng: &mut Rng) {
    n.safety = rng.between(3_000_000, 9_000_000);
    n.clients = rng.between(2, 5);
    n.pause = log_uniform(rng, 4_000, 40_000);
    n.in_flight = rng.between(1, 6);
    n.timeout = log_uniform(rng, 500_000, 10_000_000);
    n.records = rng.between(1, 8);
    n.value = log_uniform(rng, 16, 8_000);
    n.topics = rng.between(1, 3);
    n.partitions = rng.between(1, 4);
    n.produce = rng.between(20, 80);
    n.fetch = rng.between(10, 50);
    n.delete = rng.between(0, 2);
}

fn limits(n: &mut Numbers, rng: &mut Rng) {
    n.batch = 8_192;
    n.block = 4_096 * rng.between(1, 8);
    n.depth = rng.between(1, 8);
    // Two headers, and a ring that holds the largest batch a few times over.
    n.ring = 8_192 + 4_096 * log_uniform(rng, 10, 64);
    n.window = log_uniform(rng, 24_576, 131_072);
    n.produce_credit = log_uniform(rng, 16_384, 262_144);
    n.answer_credit = log_uniform(rng, n.batch, 262_144);
    n.idle_credit = log_uniform(rng, 128, 8_192);
    n.control_credit = n.idle_credit * rng.between(12, 40);
    n.cut_bytes = log_uniform(rng, 2_048, 65_536);
    n.cut_age = log_uniform(rng, 50_000, 2_000_000);
    n.uploads = rng.between(1, 4);
    n.split = log_uniform(rng, 512, 32_768);
    n.data_block = log_uniform(rng, 256, 8_192);
    n.log_cache = log_uniform(rng, 1, 65_536);
    n.lease = rng.between(1, 8);
    n.head_inline = log_uniform(rng, 128, 8_192);
    n.segments = rng.between(1, 5);
    n.retention = log_uniform(rng, 100_000, 3_000_000);
    n.scrub = log_uniform(rng, 1_000_000, 10_000_000);
    n.store_low = log_uniform(rng, 500, 5_000);
    n.store_high = n.store_low * rng.between(2, 6);
    n.store_page = rng.between(1, 10);
    n.store_unique_etags = rng.below(2);
    n.disk_high = log_uniform(rng, 100, 5_000);
}

/// One seed in ten has no faults, one in ten a single class, one in twenty all; the others a random subset.
fn faults(n: &mut Numbers, profile: Profile, rng: &mut Rng) {
    let (kind, single) = (rng.below(20), rng.below(CLASSES.len() as u64) as usize);
    for (at, class) in CLASSES.iter().enumerate() {
        let mut own = rng.child(&format!("class/{at}"));
        let drawn = own.chance(1, 2);
        let on = match profile {
            Profile::Calm => false,
            Profile::Storm => true,
            Profile::Swarm => match kind {
                0..2 => false,
                2..4 => at == single,
                4 => true,
                _ => drawn,
            },
        };
        if on {
            class(n, &mut own);
        }
    }
}

fn disturbances(n: &Numbers, profile: Profile, rng: &mut Rng) -> Vec<(Duration, Disturbance)> {
    let micros = Duration::from_micros;
    let mut all = Vec::new();
    if profile == Profile::Calm {
        return all;
    }
    let mut at = |rng: &mut Rng, what: Disturbance| all.push((micros(rng.between(100_000, n.safety)), what));
    // Nearly every seed crashes: what a crash leaves is what most of this is about.
    if !rng.chance(1, 12) {
        for _ in 0..rng.between(2, 7) {
            let down = micros(log_uniform(rng, 10_000, 500_000));
            at(rng, Disturbance::Kill { down });
        }
    }
    for _ in 0..rng.below(3) {
        let down = micros(log_uniform(rng, 10_000, 300_000));
        at(rng, Disturbance::Stop { down });
    }
    if rng.chance(1, 4) {
        let lasts = micros(log_uniform(rng, 10_000, 5_000_000));
        at(rng, Disturbance::Pause { lasts });
    }
    if rng.chance(1, 4) {
        let lasts = micros(log_uniform(rng, 50_000, 3_000_000));
        at(rng, Disturbance::Outage { lasts });
    }
    if rng.chance(1, 6) {
        let lasts = micros(log_uniform(rng, 50_000, 3_000_000));
        at(rng, Disturbance::Full { lasts });
    }
    if rng.chance(1, 4) {
        let by_ms = rng.between(0, 20_000_000).cast_signed() - 10_000_000;
        at(rng, Disturbance::ClockJump { by_ms });
    }
    if rng.chance(1, 30) {
        let place = rng.below(1_000_000);
        at(rng, Disturbance::Rot { at: place });
    }
    all.sort_by_key(|(at, _)| *at);
    all
}

/// Every order of magnitude equally likely.
fn log_uniform(rng: &mut Rng, low: u64, high: u64) -> u64 {
    let octaves = (high / low.max(1)).max(1).ilog2();
    let from = low << rng.below(u64::from(octaves) + 1);
    rng.between(from, (from * 2).min(high).max(from))
}
