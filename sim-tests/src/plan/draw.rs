//! How a plan is drawn from a seed.

use super::{Disturbance, Numbers, Plan, Profile};
use karst_core::machine::Rng;
use karst_runtime_sim::seed::{Seed, SeedTree};
use std::collections::BTreeMap;
use std::time::Duration;

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
        profile.adapt(&mut numbers, &mut rng.child("profile"));
        faults(&mut numbers, profile, &mut rng.child("faults"));
        configs(&mut numbers, &mut rng.child("configs"));
        let mut disturbances = disturbances(&mut numbers, profile, &mut rng.child("disturbances"));
        groups(&mut numbers, profile, &mut rng.child("groups"));
        producers(&mut numbers, &mut rng.child("producers"));
        large(&mut numbers, &mut rng.child("large"));
        expiries(&mut numbers, profile, &mut rng.child("expiries"));
        reads(&mut numbers, &mut rng.child("reads"));
        losses(&mut numbers, &mut disturbances, profile, &mut rng.child("losses"));
        compaction(&mut numbers, &mut rng.child("compaction"));
        object_wal(&mut numbers, &mut disturbances, profile, &mut rng.child("object-wal"));
        profile.slow_down(&mut numbers, &mut rng.child("slow-down"));
        Self { numbers, disturbances, only: BTreeMap::new() }
    }
}

/// Consumer groups, in most seeds; in a short one they take as long as all the rest.
fn groups(n: &mut Numbers, profile: Profile, rng: &mut Rng) {
    let (most, members, out_of_8) = if profile == Profile::Smoke { (1, 2, 1) } else { (2, 4, 6) };
    if !rng.chance(out_of_8, 8) {
        return;
    }
    n.groups = rng.between(1, most);
    n.members = rng.between(1, members);
    n.statics = if rng.chance(1, 2) { 0 } else { rng.between(0, n.members) };
    n.session = log_uniform(rng, 200_000, 2_000_000);
    n.rebalance_delay = if rng.chance(1, 2) { 0 } else { rng.between(1_000, 100_000) };
    n.log_partitions = rng.between(1, 3);
    n.log_garbage = log_uniform(rng, 1_024, 16_384);
}

fn shape(n: &mut Numbers, rng: &mut Rng) {
    n.safety = rng.between(3_000_000, 9_000_000);
    n.clients = rng.between(2, 5);
    n.pause = log_uniform(rng, 3_000, 30_000);
    n.in_flight = rng.between(1, 6);
    n.timeout = log_uniform(rng, 500_000, 10_000_000);
    n.records = rng.between(1, 8);
    // Large ones span blocks, and fill the ring.
    n.value = if rng.chance(1, 4) { rng.between(2_000, 8_000) } else { log_uniform(rng, 16, 8_000) };
    n.topics = rng.between(1, 3);
    n.partitions = rng.between(1, 4);
    n.produce = rng.between(20, 80);
    n.fetch = rng.between(10, 50);
    n.delete = if rng.chance(1, 8) { rng.between(4, 12) } else { rng.between(0, 2) };
    // Where topics come and go, much waits, or is in flight, for one that is gone.
    if rng.chance(1, 5) {
        n.delete = rng.between(3, 12);
        n.create = n.delete + 3;
    }
    n.grow = rng.between(0, 4);
    n.grown = rng.between(2, 8);
    n.trim = rng.between(0, 3);
}

/// Two in three have topics with configs.
fn configs(n: &mut Numbers, rng: &mut Rng) {
    n.retention_check = log_uniform(rng, 50_000, 2_000_000);
    if rng.chance(2, 3) {
        n.configured = rng.between(30, 100);
        n.configure = rng.between(0, 8);
    }
}

fn limits(n: &mut Numbers, rng: &mut Rng) {
    n.batch = 8_192;
    n.block = 4_096 * log_uniform(rng, 1, 8);
    // Half of all records are in several blocks.
    if rng.chance(1, 4) {
        n.block = 4_096 * rng.between(1, 2);
        n.value = rng.between(3_500, 8_000);
        n.records = rng.between(1, 2);
    }
    n.depth = rng.between(1, 8);
    // Two headers, and a ring that holds the largest batch a few times over. Each start begins it anew.
    n.ring = 8_192 + 4_096 * log_uniform(rng, 10, 48);
    n.window = log_uniform(rng, 24_576, 131_072);
    n.compute_inline = log_uniform(rng, 16, 16_384);
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
    n.attempt = log_uniform(rng, 100_000, 2_000_000);
    n.stalled = log_uniform(rng, 250_000, 60_000_000);
    n.store_low = log_uniform(rng, 500, 5_000);
    n.store_high = n.store_low * rng.between(2, 6);
    n.store_page = rng.between(1, 10);
    n.store_unique_etags = rng.below(2);
    n.disk_high = log_uniform(rng, 100, 5_000);
    n.copied_records = log_uniform(rng, 64, 16_384);
}

/// Where topics have configs, every other seed has topics that allow more than is usual: in half of them as much as the
/// ring can hold.
fn large(n: &mut Numbers, rng: &mut Rng) {
    if n.configured > 0 && rng.chance(1, 2) {
        n.largest_batch = if rng.chance(1, 2) { 1 << 18 } else { log_uniform(rng, 2 * n.batch, 8 * n.batch) };
    }
}

/// In one of four the WAL is in the bucket, and in half of those a broker is taken for dead that is not.
fn object_wal(n: &mut Numbers, disturbances: &mut Vec<(Duration, Disturbance)>, profile: Profile, rng: &mut Rng) {
    if !rng.chance(1, 4) {
        return;
    }
    n.object_wal = 1;
    n.wal_object = log_uniform(rng, 512, 65_536);
    n.wal_interval = if rng.chance(1, 4) { 0 } else { log_uniform(rng, 1_000, 100_000) };
    n.wal_objects = log_uniform(rng, 16, 128);
    if profile == Profile::Calm || rng.chance(1, 2) {
        return;
    }
    for _ in 0..rng.between(1, 3) {
        let at = Duration::from_micros(rng.between(n.safety / 10, n.safety));
        let lasts = Duration::from_micros(log_uniform(rng, 2_000, 500_000) * profile.pace() / 1_000);
        disturbances.push((at, Disturbance::Overtake { lasts }));
    }
    disturbances.sort_by_key(|(at, _)| *at);
    n.safety += 1_000_000 * profile.pace() / 1_000;
}

fn producers(n: &mut Numbers, rng: &mut Rng) {
    n.sequenced = if rng.chance(1, 4) { 0 } else { rng.between(10, 60) };
    n.producer_lease = rng.between(1, 4);
    n.producer_states = rng.between(1, 5);
    n.producer_expiration = log_uniform(rng, 3_600_000_000, 36_000_000_000);
    if rng.chance(1, 8) {
        n.producers = rng.between(1, 4);
    }
}

/// What is idle expires within the run, in three of four seeds; in others as late as in production.
fn expiries(n: &mut Numbers, profile: Profile, rng: &mut Rng) {
    if rng.chance(3, 4) {
        n.producer_expiration = log_uniform(rng, n.safety / 64, n.safety / 8).max(1_000);
    }
    if n.groups > 0 && profile != Profile::Smoke && rng.chance(7, 8) {
        n.offsets_retention = log_uniform(rng, 50_000, 300_000);
        n.offsets_check = log_uniform(rng, 10_000, 100_000);
        n.recess = rng.between(1_300_000, 2_800_000);
        n.recess_lasts = 2 * n.offsets_retention + n.offsets_check + rng.between(0, 300_000);
    }
    n.late_rival = u64::from(rng.chance(1, 10) && profile != Profile::Calm);
}

/// A cache of a few blocks, windows of as many, and clients that read everything again.
fn reads(n: &mut Numbers, rng: &mut Rng) {
    n.block_cache = log_uniform(rng, 512, 65_536);
    n.object_reads = rng.between(1, 8);
    n.read_piece = log_uniform(rng, 256, 32_768);
    n.read_ahead = if rng.chance(1, 8) { 0 } else { n.data_block * rng.between(1, 8) };
    n.idle_reader = log_uniform(rng, 50_000, 5_000_000);
    n.rewind = if rng.chance(1, 2) { 0 } else { rng.between(1, 12) };
}

/// In one seed of sixteen a disk is lost, or two: what is lost may hide what else goes wrong.
fn losses(n: &mut Numbers, disturbances: &mut Vec<(Duration, Disturbance)>, profile: Profile, rng: &mut Rng) {
    if profile == Profile::Calm || !rng.chance(1, 16) {
        return;
    }
    for _ in 0..rng.between(1, 2) {
        let at = Duration::from_micros(rng.between(n.safety / 4, n.safety));
        let down = Duration::from_micros(log_uniform(rng, 10_000, 500_000) * profile.pace() / 1_000);
        disturbances.push((at, Disturbance::LoseDisk { down }));
    }
    disturbances.sort_by_key(|(at, _)| *at);
    // A refusal, an operator, and what comes after.
    n.safety += 3_000_000;
}

/// In seven of eight seeds objects are rewritten all the time.
fn compaction(n: &mut Numbers, rng: &mut Rng) {
    if rng.chance(1, 8) {
        return;
    }
    n.compaction = log_uniform(rng, 10_000, 500_000);
    n.fan_in = rng.between(2, 4);
    n.compacted = log_uniform(rng, 2_048, 131_072);
    n.bandwidth = log_uniform(rng, 100_000, 1_000_000_000);
    n.split_age = log_uniform(rng, 200_000, 20_000_000);
}

/// One seed in ten has no faults, one in ten a single class, one in twenty all; the others a random subset.
fn faults(n: &mut Numbers, profile: Profile, rng: &mut Rng) {
    let (kind, single) = (rng.below(20), rng.below(CLASSES.len() as u64) as usize);
    for (at, class) in CLASSES.iter().enumerate() {
        let mut own = rng.child(&format!("class/{at}"));
        // What a crash leaves is what most of this is about.
        let drawn = own.chance(if at == 0 { 3 } else { 2 }, 4);
        if profile.has_faults(kind, at == single, drawn) {
            class(n, &mut own);
        }
    }
}

/// What is done to the broker, and when. The time that it takes is added to the phase: a broker that is down, or waits
/// for its store, is of no use to clients, and what follows would find it empty.
fn disturbances(n: &mut Numbers, profile: Profile, rng: &mut Rng) -> Vec<(Duration, Disturbance)> {
    let what = if profile == Profile::Calm { Vec::new() } else { what(profile, rng) };
    let restart = RESTART * u32::try_from(profile.pace()).unwrap_or(u32::MAX) / 1_000;
    let takes = |one: &Disturbance| match *one {
        Disturbance::Kill { down } | Disturbance::Stop { down } | Disturbance::LoseDisk { down } => down + restart,
        Disturbance::Pause { lasts } | Disturbance::Outage { lasts } | Disturbance::Full { lasts } => lasts,
        // A broker that is deposed by its rival starts again.
        Disturbance::Rot { .. } | Disturbance::Rival { .. } | Disturbance::Overtake { .. } => restart,
        Disturbance::ClockJump { .. } => Duration::ZERO,
    };
    let takes: u128 = what.iter().map(|one| takes(one).as_micros()).sum();
    n.safety += u64::try_from(takes).unwrap_or(0);
    let at = |rng: &mut Rng| Duration::from_micros(rng.between(n.safety.min(100_000), n.safety));
    let mut all: Vec<_> = what.into_iter().map(|one| (at(rng), one)).collect();
    all.sort_by_key(|(at, _)| *at);
    all
}

/// What a start takes, more or less: most of it is waiting for a store that fails.
const RESTART: Duration = Duration::from_millis(300);

fn what(profile: Profile, rng: &mut Rng) -> Vec<Disturbance> {
    let lasts = |rng: &mut Rng, low: u64, high: u64| {
        Duration::from_micros(log_uniform(rng, low, high) * profile.pace() / 1_000)
    };
    let mut all = Vec::new();
    let (least, most, stops) = profile.ends();
    // Nearly every seed crashes: what a crash leaves is what most of this is about.
    if !rng.chance(1, 12) {
        for _ in 0..rng.between(least, most) {
            all.push(Disturbance::Kill { down: lasts(rng, 10_000, 500_000) });
        }
    }
    for _ in 0..rng.between(0, stops) {
        all.push(Disturbance::Stop { down: lasts(rng, 10_000, 300_000) });
    }
    if rng.chance(1, 4) {
        all.push(Disturbance::Pause { lasts: lasts(rng, 10_000, 5_000_000) });
    }
    if rng.chance(1, 4) {
        all.push(Disturbance::Outage { lasts: lasts(rng, 50_000, 3_000_000) });
    }
    if rng.chance(1, 6) {
        all.push(Disturbance::Full { lasts: lasts(rng, 50_000, 3_000_000) });
    }
    if rng.chance(1, 4) {
        let by_ms = rng.between(0, 20_000_000).cast_signed() - 10_000_000;
        all.push(Disturbance::ClockJump { by_ms });
    }
    if rng.chance(1, 6) {
        all.push(Disturbance::Rot { at: rng.below(1_000_000) });
    }
    if rng.chance(1, 5) {
        for _ in 0..rng.between(1, 3) {
            all.push(Disturbance::Rival { lasts: lasts(rng, 10_000, 1_000_000) });
        }
    }
    all
}

/// Every order of magnitude equally likely.
pub(super) fn log_uniform(rng: &mut Rng, low: u64, high: u64) -> u64 {
    let octaves = (high / low.max(1)).max(1).ilog2();
    let from = low << rng.below(u64::from(octaves) + 1);
    rng.between(from, (from * 2).min(high).max(from))
}
