//! What consumers that are behind read from objects.

use super::exposition::{Kind, Text};
use crate::json::Object;
use karst_core::data_object::ReadStats;

/// For Prometheus.
pub(super) fn expose(to: &mut Text, reads: &ReadStats) {
    let name = "karst_block_cache_bytes";
    let help = "Memory for blocks of objects: read already, read ahead and not wanted yet, and on their way.";
    to.family(name, Kind::Gauge, help);
    let states = [("read", reads.cached - reads.unread), ("ahead", reads.unread), ("reserved", reads.reserved)];
    states.iter().for_each(|(state, bytes)| to.sample(name, &[("state", state)], bytes));
    let name = "karst_object_reads_total";
    let help = "Reads of objects: whose first block was there (hit), on its way for another (joined), or not (miss); and \
                those given up since too many were before them (crowded).";
    to.family(name, Kind::Counter, help);
    let results = [("hit", reads.hits), ("joined", reads.joined), ("miss", reads.misses), ("crowded", reads.crowded)];
    results.iter().for_each(|(result, count)| to.sample(name, &[("result", result)], count));
    let name = "karst_object_requests_total";
    to.family(name, Kind::Counter, "Requests to the object store for parts of objects that are read.");
    let parts = [("blocks", reads.requests), ("index", reads.index_requests)];
    parts.iter().for_each(|(part, count)| to.sample(name, &[("part", part)], count));
    let help = "Bytes of blocks that these brought.";
    to.single("karst_object_blocks_bytes_total", Kind::Counter, help, reads.bytes);
    let name = "karst_read_ahead_bytes_total";
    to.family(name, Kind::Counter, "Bytes that were read ahead and then wanted, or left before.");
    let results = [("used", reads.ahead_used), ("wasted", reads.ahead_wasted)];
    results.iter().for_each(|(result, bytes)| to.sample(name, &[("result", result)], bytes));
    let name = "karst_object_reads_waiting";
    to.single(name, Kind::Gauge, "Reads that wait for the object store.", reads.waiting);
    let name = "karst_object_requests_in_line";
    to.single(name, Kind::Gauge, "Requests that wait since as much is being read as may be.", reads.in_line);
}

/// For the status.
pub(super) fn json(reads: &ReadStats) -> Object {
    let mut all = Object::default();
    all.number("cached_bytes", reads.cached);
    all.number("ahead_bytes", reads.unread);
    all.number("reserved_bytes", reads.reserved);
    all.number("hits", reads.hits);
    all.number("joined", reads.joined);
    all.number("misses", reads.misses);
    all.number("requests", reads.requests + reads.index_requests);
    all.number("waiting", reads.waiting as u64);
    all
}
