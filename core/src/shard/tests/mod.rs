//! The shard, asked by a client and told by a node that are both played here.

mod admin;
mod configs;
mod corners;
mod credit;
mod describe;
mod growth;
mod large;
mod leaders;
mod producers;
mod recompressions;
mod times;
mod trims;
mod waiting;
mod watch;
mod world;
