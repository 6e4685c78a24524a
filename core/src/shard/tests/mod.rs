//! The shard, asked by a client and told by a node that are both played here.

mod configs;
mod credit;
mod growth;
mod trims;
mod waiting;
mod world;
