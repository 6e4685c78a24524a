//! The seed tree: who draws from what.
//!
//! Every consumer of randomness has a generator of its own, the child of the seed for a path. Switching one fault class,
//! node or client off moves no draw of any other, which is what makes shrinking work. All paths are here.

use core::fmt;
use karst_core::machine::Rng;

/// What a run is made of. The plan is the only other thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seed(pub u64);

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Gives each consumer its generator.
#[derive(Clone, Debug)]
pub struct SeedTree(Rng);

impl SeedTree {
    /// The tree of a seed.
    #[must_use]
    pub fn new(seed: Seed) -> Self {
        Self(Rng::new(seed.0))
    }

    /// For drawing the plan.
    #[must_use]
    pub fn plan(&self) -> Rng {
        self.0.child("plan")
    }

    /// For the order in which ready owners run.
    #[must_use]
    pub fn schedule(&self) -> Seed {
        Seed(self.0.child("schedule").next_u64())
    }

    /// For the decisions of the nemesis while the world runs, such as what a crash leaves of a write.
    #[must_use]
    pub fn nemesis(&self) -> Rng {
        self.0.child("nemesis")
    }

    /// For the disk of a node.
    #[must_use]
    pub fn disk(&self, node: u32) -> Rng {
        self.0.child(&format!("disk/{node}"))
    }

    /// For the object store.
    #[must_use]
    pub fn store(&self) -> Rng {
        self.0.child("store")
    }

    /// For the network; it has a child per link.
    #[must_use]
    pub fn net(&self) -> Rng {
        self.0.child("net")
    }

    /// For the clock of a node.
    #[must_use]
    pub fn clock(&self, node: u32) -> Rng {
        self.0.child(&format!("clock/{node}"))
    }

    /// For the machines of a node in its so-many-th incarnation.
    #[must_use]
    pub fn core(&self, node: u32, incarnation: u32) -> Rng {
        self.0.child(&format!("core/{node}/{incarnation}"))
    }

    /// For a client.
    #[must_use]
    pub fn client(&self, client: u32) -> Rng {
        self.0.child(&format!("client/{client}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_consumers_share_draws() {
        let tree = SeedTree::new(Seed(1));
        let mut all = vec![tree.plan(), tree.nemesis(), tree.store(), tree.net(), Rng::new(tree.schedule().0)];
        for n in 0..12 {
            all.extend([tree.disk(n), tree.clock(n), tree.core(n, 0), tree.core(n, 1), tree.client(n)]);
        }
        let first: BTreeSet<u64> = all.iter_mut().map(Rng::next_u64).collect();
        assert_eq!(first.len(), all.len());
        assert_ne!(SeedTree::new(Seed(2)).schedule(), tree.schedule());
    }
}
