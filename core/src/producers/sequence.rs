//! Sequence numbers, as Kafka counts them.

use crate::kafka::BatchHeader;

/// The number of a record among those that a producer wrote to one partition under one epoch: from 0 on, and after
/// 2^31 - 1 from 0 again (KIP-98).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(u32);

/// Grows when a producer begins to count anew (KIP-360); Kafka's producer epoch, from 0 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerEpoch(pub u16);

/// One run of a producer that writes without duplicates. Issued by the cluster, once for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerId(pub u64);

impl core::fmt::Display for ProducerId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

/// There are so many sequence numbers.
const SEQUENCES: u64 = 1 << 31;

impl Sequence {
    /// The first.
    pub const FIRST: Self = Self(0);

    /// The number that a batch header has; `None` if it is negative.
    #[must_use]
    pub fn of(number: i32) -> Option<Self> {
        u32::try_from(number).ok().map(Self)
    }

    /// The number `by` after this one.
    #[must_use]
    pub const fn plus(self, by: u32) -> Self {
        // The remainder is below 2^31.
        Self(((self.0 as u64 + by as u64) % SEQUENCES) as u32)
    }

    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        self.plus(1)
    }

    /// Whether it was counted before `other`, for certain: they are taken without gaps, so a smaller one was, unless it
    /// is so much smaller that it is rather one of the next round.
    #[must_use]
    pub fn lies_before(self, other: Self) -> bool {
        other.0.checked_sub(self.0).is_some_and(|distance| distance > 0 && u64::from(distance) < SEQUENCES / 2)
    }

    /// As stored.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// What a batch of an idempotent producer says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sequenced {
    /// Whose it is.
    pub producer: ProducerId,
    /// Under which epoch it was made.
    pub epoch: ProducerEpoch,
    /// The number of its first record.
    pub first: Sequence,
    /// The number of its last.
    pub last: Sequence,
}

impl Sequenced {
    /// What a header says; `None` for a batch without a producer, and for one whose epoch or sequence can't be, which
    /// is never appended.
    #[must_use]
    pub fn of(header: &BatchHeader) -> Option<Self> {
        let first = Sequence::of(header.base_sequence)?;
        Some(Self {
            producer: ProducerId(u64::try_from(header.producer_id).ok()?),
            epoch: ProducerEpoch(u16::try_from(header.producer_epoch).ok()?),
            first,
            last: first.plus(u32::try_from(header.last_offset_delta).ok()?),
        })
    }
}
