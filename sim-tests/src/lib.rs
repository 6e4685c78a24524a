//! Workloads, oracle, invariants.
