//! What topics are configured to.

use super::{Field, record};
use crate::envelope::{DecodeError, Fields};
use crate::metadata::{CleanupPolicy, CompressionType, ConfigPatch, InertName, TimestampType, Toggle, TopicConfigs};
use alloc::vec::Vec;

record!(TopicConfigs {
    retention_time,
    retention_bytes,
    max_message_bytes,
    timestamp_type,
    timestamp_before_max,
    timestamp_after_max,
    compression_type,
    cleanup_policy,
    min_insync_replicas,
    inert,
});
record!(ConfigPatch { clear, set, append, subtract });

/// A tag: 0 the producer's clock, 1 the broker's.
impl Field for TimestampType {
    const LEAST: usize = 1;

    fn put(&self, out: &mut Vec<u8>) {
        out.push(match self {
            Self::CreateTime => 0,
            Self::LogAppendTime => 1,
        });
    }

    fn take(from: &mut Fields) -> Result<Self, DecodeError> {
        match from.u8()? {
            0 => Ok(Self::CreateTime),
            1 => Ok(Self::LogAppendTime),
            _ => Err(DecodeError::Unsupported),
        }
    }
}

/// Its number.
impl Field for InertName {
    const LEAST: usize = 1;

    fn put(&self, out: &mut Vec<u8>) {
        out.push(*self as u8);
    }

    fn take(from: &mut Fields) -> Result<Self, DecodeError> {
        Self::of_number(from.u8()?).ok_or(DecodeError::Unsupported)
    }
}

/// A tag: 0 as the producer did, 1 uncompressed, 2 gzip, 3 Snappy, 4 LZ4, 5 Zstandard.
impl Field for CompressionType {
    const LEAST: usize = 1;

    fn put(&self, out: &mut Vec<u8>) {
        out.push(match self {
            Self::Producer => 0,
            Self::Uncompressed => 1,
            Self::Gzip => 2,
            Self::Snappy => 3,
            Self::Lz4 => 4,
            Self::Zstd => 5,
        });
    }

    fn take(from: &mut Fields) -> Result<Self, DecodeError> {
        Ok(match from.u8()? {
            0 => Self::Producer,
            1 => Self::Uncompressed,
            2 => Self::Gzip,
            3 => Self::Snappy,
            4 => Self::Lz4,
            5 => Self::Zstd,
            _ => return Err(DecodeError::Unsupported),
        })
    }
}

/// A bit each: 0 delete, 1 compact.
impl Field for CleanupPolicy {
    const LEAST: usize = 1;

    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.delete.is_on()) | u8::from(self.compact.is_on()) << 1);
    }

    fn take(from: &mut Fields) -> Result<Self, DecodeError> {
        let toggle = |on: bool| if on { Toggle::On } else { Toggle::Off };
        match from.u8()? {
            bits @ 0..=3 => Ok(Self { delete: toggle(bits & 1 != 0), compact: toggle(bits & 2 != 0) }),
            _ => Err(DecodeError::Unsupported),
        }
    }
}
