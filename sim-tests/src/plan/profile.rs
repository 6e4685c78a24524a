//! What campaigns are for.

use super::Numbers;
use super::draw::log_uniform;
use karst_core::machine::Rng;

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
    /// As a swarm, but short: for every push.
    Smoke,
    /// As a swarm, but longer, larger and harsher: for a night.
    Nightly,
    /// A day of a broker that has little to do: what it takes it must give back.
    Soak,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Swarm, Self::Calm, Self::Storm, Self::Smoke, Self::Nightly, Self::Soak];

    /// By name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.name() == name)
    }

    /// The name by which it is chosen.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Swarm => "swarm",
            Self::Calm => "calm",
            Self::Storm => "storm",
            Self::Smoke => "smoke",
            Self::Nightly => "nightly",
            Self::Soak => "soak",
        }
    }

    /// Whether a class of faults is on, of which `is_drawn` says so for half of all seeds. `kind` is below 20: of the
    /// swarm two in twenty have no faults, two the one class that `is_single`, and one has all.
    pub(super) fn has_faults(self, kind: u64, is_single: bool, is_drawn: bool) -> bool {
        match (self, kind) {
            (Self::Calm, _) => false,
            (Self::Storm, _) | (Self::Nightly, 0..5) => true,
            (Self::Swarm | Self::Smoke | Self::Soak, 0..2) => false,
            (Self::Swarm | Self::Smoke | Self::Soak, 2..4) => is_single,
            (Self::Swarm | Self::Smoke | Self::Soak, 4) => true,
            _ => is_drawn,
        }
    }

    /// How many times the broker is killed, at least and at most; and how many times at most it is stopped.
    pub(super) const fn ends(self) -> (u64, u64, u64) {
        match self {
            Self::Smoke => (1, 2, 1),
            Self::Nightly => (4, 12, 3),
            Self::Soak => (6, 24, 6),
            Self::Swarm | Self::Calm | Self::Storm => (2, 7, 2),
        }
    }

    /// Part of the usual time, in thousandths, that disturbances last.
    pub(super) const fn pace(self) -> u64 {
        match self {
            Self::Smoke => 50,
            Self::Nightly => 1_500,
            Self::Soak => 20_000,
            Self::Swarm | Self::Calm | Self::Storm => 1_000,
        }
    }

    /// What else is different.
    pub(super) fn adapt(self, n: &mut Numbers, rng: &mut Rng) {
        match self {
            Self::Swarm | Self::Calm | Self::Storm => {}
            Self::Smoke => smoke(n, rng),
            Self::Nightly => nightly(n, rng),
            Self::Soak => soak(n, rng),
        }
    }

    /// What comes again and again does so less often where a run is long: after everything else was drawn.
    pub(super) fn slow_down(self, n: &mut Numbers, rng: &mut Rng) {
        if self != Self::Soak {
            return;
        }
        n.configured = 100;
        n.configure = 0;
        n.retention_check = log_uniform(rng, 10_000_000, 300_000_000);
        n.compaction = log_uniform(rng, 10_000_000, 300_000_000);
        n.split_age = 3_600_000_000;
        n.wal_interval = log_uniform(rng, 1_000_000, 10_000_000);
        n.session = 120_000_000;
        n.rebalance_delay = n.rebalance_delay.min(1_000_000);
        n.producer_expiration = 3_600_000_000;
        n.offsets_retention = 3_600_000_000;
        n.offsets_check = 600_000_000;
        n.recess = if n.recess == 0 { 0 } else { 4 * 3_600_000_000 };
        n.recess_lasts = 2 * n.offsets_retention;
    }
}

/// Everything small and quick, so that a run of some thousand events comes by the same places.
fn smoke(n: &mut Numbers, rng: &mut Rng) {
    n.safety = rng.between(150_000, 600_000);
    n.clients = rng.between(1, 3);
    n.pause = log_uniform(rng, 1_000, 8_000);
    n.timeout = log_uniform(rng, 50_000, 500_000);
    n.topics = rng.between(1, 2);
    n.partitions = rng.between(1, 2);
    n.ring = 8_192 + 4_096 * rng.between(10, 14);
    n.cut_bytes = log_uniform(rng, 2_048, 16_384);
    n.cut_age = log_uniform(rng, 10_000, 200_000);
    n.retention = log_uniform(rng, 10_000, 100_000);
    n.scrub = log_uniform(rng, 100_000, 1_000_000);
    n.attempt = log_uniform(rng, 20_000, 100_000);
    n.store_low = log_uniform(rng, 100, 1_000);
    n.store_high = n.store_low * rng.between(2, 6);
    n.disk_high = log_uniform(rng, 100, 1_000);
}

fn nightly(n: &mut Numbers, rng: &mut Rng) {
    n.safety = rng.between(6_000_000, 14_000_000);
    n.clients = rng.between(2, 6);
    n.topics = rng.between(1, 4);
    n.partitions = rng.between(1, 6);
    n.ring = 8_192 + 4_096 * log_uniform(rng, 10, 128);
    n.events = 30_000_000;
    n.liveness = 800_000_000;
}

/// Everything that comes again and again does so hundreds of times within the day, and no more often: most of the time
/// nothing happens.
fn soak(n: &mut Numbers, rng: &mut Rng) {
    n.safety = 24 * 3_600_000_000;
    n.samples = 96;
    n.clients = rng.between(2, 3);
    n.produce = rng.between(50, 80);
    (n.delete, n.create) = (1, 8);
    n.pause = rng.between(8_000_000, 16_000_000);
    n.timeout = rng.between(5_000_000, 30_000_000);
    n.topics = rng.between(1, 2);
    n.partitions = rng.between(1, 3);
    n.kept = log_uniform(rng, 16_384, 131_072);
    n.cut_age = log_uniform(rng, 10_000_000, 60_000_000);
    n.retention = log_uniform(rng, 10_000_000, 300_000_000);
    n.scrub = log_uniform(rng, 300_000_000, 3_000_000_000);
    n.attempt = log_uniform(rng, 1_000_000, 5_000_000);
    n.stalled = 60_000_000;
    n.events = 100_000_000;
    // Longer than any recess.
    n.liveness = 40_000_000_000;
}

#[cfg(test)]
mod tests {
    use super::Profile;

    #[test]
    fn profiles_are_found_by_name() {
        for profile in Profile::ALL {
            assert_eq!(Profile::parse(profile.name()), Some(profile));
        }
        assert_eq!(Profile::parse("fog"), None);
    }
}
