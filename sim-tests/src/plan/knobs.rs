//! What the numbers of a plan mean for machines and models.

use super::Numbers;
use crate::client::{BatchLimits, Habits, Shares, pack};
use crate::oracle::{Span, Spans};
use karst_core::limits::Limits;
use karst_core::wal::Wal;
use karst_runtime_sim::broker::WalPlace;
use karst_runtime_sim::clock::ClockKnobs;
use karst_runtime_sim::disk::DiskKnobs;
use karst_runtime_sim::fault::{Chance, Latency};
use karst_runtime_sim::net::NetKnobs;
use karst_runtime_sim::store::{Etags, StoreKnobs};
use std::time::Duration;

impl Numbers {
    /// The broker's limits, as they hold on its device.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let limits = self.asked_limits();
        let fitted = match self.wal_place() {
            // A ring that holds nothing is refused when the broker starts.
            WalPlace::Disk => Wal::fit(self.ring, limits.clone()).unwrap_or(limits),
            WalPlace::Bucket(capacity) => Wal::fit_objects(capacity, limits),
        };
        Limits { inflated: pack::most_inflated(fitted.largest_batch), ..fitted }
    }

    fn asked_limits(&self) -> Limits {
        Limits {
            request: 1 << 20,
            batch: u32_of(self.batch),
            largest_batch: u32_of(self.largest_batch.max(self.batch)),
            compute_inline: u32_of(self.compute_inline),
            control_request: u32_of(self.control_credit),
            connections: 64,
            produce_credit: self.produce_credit,
            large_request: u32_of(self.produce_credit / 8),
            large_produce_credit: self.produce_credit / 2,
            recompression: self.produce_credit / 8,
            control_credit: self.control_credit,
            answer_credit: self.answer_credit,
            control_answer_credit: self.control_credit,
            copied_records: u32_of(self.copied_records),
            idle_credit: u32_of(self.idle_credit),
            stalled_connection: micros(self.stalled),
            crowded_after: micros(self.stalled / 30),
            crowded_patience: micros(self.stalled / 12),
            wal_block: u32_of(self.block),
            wal_depth: u32_of(self.depth),
            wal_window: self.window,
            wal_object: u32_of(self.wal_object),
            wal_object_interval: micros(self.wal_interval),
            wal_objects: u32_of(self.wal_objects),
            cut_bytes: self.cut_bytes,
            cut_age: micros(self.cut_age),
            uploads: u32_of(self.uploads),
            split: self.split,
            data_block: u32_of(self.data_block),
            log_cache: self.log_cache,
            compaction_interval: micros(self.compaction),
            compaction_fan_in: u32_of(self.fan_in),
            compaction_object: self.compacted,
            compaction_bandwidth: self.bandwidth,
            compaction_force_split: micros(self.split_age),
            block_cache: self.block_cache,
            object_reads: u32_of(self.object_reads),
            read_piece: u32_of(self.read_piece),
            read_ahead: self.read_ahead,
            idle_reader: micros(self.idle_reader),
            lease: u32_of(self.lease),
            producer_lease: u32_of(self.producer_lease),
            producers: u32_of(self.producers),
            producer_states: u32_of(self.producer_states),
            producer_expiration: micros(self.producer_expiration),
            head_inline: u32_of(self.head_inline),
            segments: u32_of(self.segments),
            deleted_retention: micros(self.retention),
            scrub_interval: micros(self.scrub),
            retention_check: micros(self.retention_check),
            store_attempt: micros(self.attempt),
            offsets_partitions: u32_of(self.log_partitions),
            offsets_retention: micros(self.offsets_retention),
            offsets_retention_check: micros(self.offsets_check),
            group_initial_rebalance_delay: micros(self.rebalance_delay),
            group_min_session_timeout: Duration::from_millis(10),
            group_log_garbage: self.log_garbage,
            ..Limits::default()
        }
    }

    /// What the WAL lies on.
    #[must_use]
    pub fn wal_place(&self) -> WalPlace {
        if self.object_wal == 0 { WalPlace::Disk } else { WalPlace::Bucket(self.ring) }
    }

    /// How long what expires is idle at least.
    #[must_use]
    pub fn spans(&self) -> Spans {
        let drift = self.clock().drift_ppm;
        Spans {
            producers: Span::new(micros(self.producer_expiration), drift),
            offsets: Span::new(micros(self.offsets_retention), drift),
        }
    }

    /// What clients do.
    #[must_use]
    pub fn habits(&self) -> Habits {
        Habits {
            pause: micros(self.pause),
            in_flight: self.in_flight as usize,
            timeout: micros(self.timeout),
            records: u32_of(self.records),
            value: u32_of(self.value),
            limits: self.batch_limits(),
            shares: Shares {
                produce: self.produce,
                fetch: self.fetch,
                list: self.list,
                metadata: self.metadata,
                create: self.create,
                delete: self.delete,
                grow: self.grow,
                trim: self.trim,
                configure: self.configure,
                sequenced: self.sequenced,
            },
            topics: u32_of(self.topics),
            partitions: u32_of(self.partitions),
            grown: u32_of(self.grown),
            configured: self.configured.min(100),
            kept: self.kept,
            rewind: self.rewind.min(100),
        }
    }

    /// How large batches may be.
    #[must_use]
    pub fn batch_limits(&self) -> BatchLimits {
        let limits = self.limits();
        BatchLimits { usual: limits.batch, largest: limits.largest_batch }
    }

    /// How bad the disk is.
    #[must_use]
    pub fn disk(&self) -> DiskKnobs {
        DiskKnobs {
            write: Latency::uniform(micros(self.disk_low), micros(self.disk_high.max(self.disk_low))),
            write_error: chance(self.disk_write_error),
            no_space: chance(self.disk_no_space),
            read_error: chance(self.disk_read_error),
            stall: chance(self.disk_stall),
            stall_for: Latency::uniform(Duration::from_millis(1), Duration::from_millis(500)),
            crash: if self.crash_any > 0 { DiskKnobs::ANY_CRASH } else { DiskKnobs::CALM.crash },
            ..DiskKnobs::CALM
        }
    }

    /// How bad the object store is.
    #[must_use]
    pub fn store(&self) -> StoreKnobs {
        StoreKnobs {
            latency: Latency::uniform(micros(self.store_low), micros(self.store_high.max(self.store_low)))
                .with_tail(chance(self.store_tail), Duration::from_secs(5)),
            throttle: chance(self.store_throttle),
            server_error: chance(self.store_server_error),
            cut_off: chance(self.store_cut_off),
            timeout: chance(self.store_timeout),
            done_despite_error: chance(self.store_done),
            late: chance(self.store_late),
            late_by: Latency::uniform(Duration::from_millis(1), Duration::from_millis(500))
                .with_tail(Chance::percent(10), Duration::from_secs(5)),
            conflict: chance(self.store_conflict.saturating_mul(5)),
            spurious_conflict: chance(self.store_conflict),
            truncate: chance(self.store_truncate),
            page: self.store_page as usize,
            etags: if self.store_unique_etags > 0 { Etags::Unique } else { Etags::Content },
            lost_with_caller: Chance::percent(30),
        }
    }

    /// How bad the network is.
    #[must_use]
    pub fn net(&self) -> NetKnobs {
        NetKnobs {
            split: chance(self.net_split),
            stall: chance(self.net_stall),
            stall_for: Latency::uniform(Duration::from_millis(1), Duration::from_secs(1)),
            reset: chance(self.net_reset),
            half_open: chance(self.net_half_open),
            half_open_for: Latency::uniform(Duration::from_millis(100), Duration::from_secs(5)),
            ..NetKnobs::CALM
        }
    }

    /// How wrong clocks are.
    #[must_use]
    pub fn clock(&self) -> ClockKnobs {
        ClockKnobs { drift_ppm: u32_of(self.drift), skew_ms: self.skew }
    }
}

fn micros(value: u64) -> Duration {
    Duration::from_micros(value)
}

fn chance(ppm: u64) -> Chance {
    Chance(u32_of(ppm).min(Chance::ALWAYS.0))
}

/// A plan is edited by hand: what is too large for a field counts as the largest.
fn u32_of(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
