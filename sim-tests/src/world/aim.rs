//! What a crash is aimed at: moments that a crash at random would seldom meet, and at which it is most telling.
//!
//! ```text
//!   lie in wait --an operation begins, and the aim is in sight--> a drawn moment before it is over --> the crash
//! ```

use karst_core::controller::Audit;
use karst_core::disk::{DevicePos, SECTOR};
use karst_core::id::Lsn;
use karst_core::machine::Rng;
use karst_core::wal::object::format::PREFIX as WAL;
use karst_core::wal::ring::Geometry;
use karst_core::wal::ring::block::{BLOCK_HEAD, FragmentKind};
use karst_runtime_sim::disk::SimDisk;
use karst_runtime_sim::store::{Caller, SimStore, Timeliness};
use karst_runtime_sim::time::SimTime;
use std::time::Duration;

/// Something that is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Aim {
    /// Any write to the disk. Of a WAL in the bucket, this and the next four are a put of one of its objects.
    Write,
    /// A write of the WAL's header.
    Header,
    /// A block with part of a record that is in several.
    Record,
    /// A block at the ring's end or its beginning.
    Wrap,
    /// A read of the ring, which only a recovery does.
    Recovery,
    /// Any put.
    Put,
    /// A data object.
    Object,
    /// A replacement of the metadata head.
    Head,
    /// A segment or a snapshot.
    Spill,
    /// A put that its caller has given up, of which nobody knows whether it will ever come.
    GivenUp,
}

impl Aim {
    /// At a broker that serves.
    pub(super) fn draw(rng: &mut Rng) -> Self {
        use Aim::{GivenUp, Head, Header, Object, Put, Record, Spill, Wrap, Write};
        *pick(
            rng,
            &[Write, Write, Header, Header, Record, Record, Record, Wrap, Put, Object, Head, Head, Spill, GivenUp],
        )
    }

    /// At a broker that starts.
    pub(super) fn draw_at_start(rng: &mut Rng) -> Self {
        use Aim::{GivenUp, Head, Header, Object, Recovery};
        *pick(rng, &[Header, Header, Recovery, Recovery, Object, Object, Head, Head, GivenUp])
    }

    /// How often a crash met it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Write => "aim.write",
            Self::Header => "aim.header",
            Self::Record => "aim.record",
            Self::Wrap => "aim.wrap",
            Self::Recovery => "aim.recovery",
            Self::Put => "aim.put",
            Self::Object => "aim.object",
            Self::Head => "aim.head",
            Self::Spill => "aim.spill",
            Self::GivenUp => "aim.given-up",
        }
    }

    /// If it is in sight: until when.
    pub(super) fn sight(self, now: SimTime, disk: &SimDisk, store: &SimStore, caller: Caller) -> Option<SimTime> {
        let write = |fits: &dyn Fn(DevicePos, &[u8]) -> bool| {
            disk.on_their_way(now).filter(|(at, data, _)| fits(*at, data)).map(|(_, _, lands)| lands).min()
        };
        let put = |prefix: &str, when: Option<Timeliness>| {
            let mine = store.coming_puts().filter(|(key, from, ..)| *from == caller && key.0.starts_with(prefix));
            mine.filter(|(_, _, is, _)| when.is_none_or(|when| when == *is)).map(|(.., at)| at).min()
        };
        // A WAL in the bucket writes nothing to a disk.
        let wal = || put(WAL, None);
        let ring = Geometry::of_device(disk.size()).ok()?;
        let begins = ring.position(Lsn(0));
        let ends = begins.0 + ring.ring();
        match self {
            Self::Write => write(&|_, _| true).or_else(wal),
            Self::Header => write(&|at, _| at < begins).or_else(wal),
            Self::Record => write(&|at, data| at >= begins && is_part_of_record(data)).or_else(wal),
            Self::Wrap => write(&|at, data| at == begins || at.0 + data.len() as u64 == ends).or_else(wal),
            Self::Recovery => {
                let reads = disk.being_read().any(|at| at >= begins);
                reads.then(|| now.after(Duration::from_micros(100))).or_else(wal)
            }
            Self::Put => put("", None),
            Self::Object => put("data/", None),
            Self::Head => put(Audit::HEAD, None),
            Self::Spill => put("meta/s", None),
            Self::GivenUp => put("", Some(Timeliness::Late)),
        }
    }
}

/// Whether a block's first fragment is not a whole record.
fn is_part_of_record(block: &[u8]) -> bool {
    let whole = FragmentKind::Full as u8;
    block.len() as u64 >= SECTOR && block.get(BLOCK_HEAD).is_some_and(|kind| *kind != whole)
}

fn pick<'a, T>(rng: &mut Rng, all: &'a [T]) -> &'a T {
    &all[rng.below(all.len() as u64) as usize]
}
