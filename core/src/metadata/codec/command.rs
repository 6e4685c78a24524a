//! Entries, commands and answers.

use super::{Field, record, tagged};
use crate::controller::NodeCommand;
use crate::envelope::{DecodeError, Fields};
use crate::metadata::{
    Answer, Command, Commit, CommitObject, CommitRange, CommitState, CompactedObject, CompactedRange, CompactedState,
    Compaction, Entry, NewTopic, Recovery, Refusal, RegisteredWal, StateKind, TopicName, WalKind,
};
use alloc::string::String;
use alloc::vec::Vec;

record!(Entry { seq, at, by });
record!(NodeCommand { node, incarnation, epoch, seq, confirmed, command });

tagged!(Command {
    1 => Register { wal, host, port, give_up },
    2 => NameWal { uuid, kind },
    3 => EndRecovery { number },
    4 => OpenStreams,
    5 => CloseStreams,
    6 => CreateTopic(topic),
    7 => GrowTopic { id, partitions },
    8 => DeleteTopic { id },
    9 => LeaseObjects { count },
    10 => Commit(commit),
    11 => TrimStream { stream, epoch, start },
    12 => ForgetObjects { ids },
    13 => ConfigureTopic { id, patch },
    30 => LeaseProducers { count },
    40 => Compact(compaction),
    41 => AbandonObjects { ids },
});

record!(RegisteredWal { uuid, epoch, trim });
record!(NewTopic { id, name, partitions, configs });
record!(Commit { epoch, recovery, number, lsn, objects });
record!(CommitObject { id, size, ranges });
record!(CommitRange { stream, epoch, start, end, max_timestamp, bytes, producers });
record!(CommitState { kind, at, len });
record!(Compaction { inputs, results });
record!(CompactedObject { id, size, ranges, states });
record!(CompactedRange { stream, start, end, bytes });
record!(CompactedState { stream, end, at, len });

/// A tag: 1 ring, 2 objects.
impl Field for WalKind {
    const LEAST: usize = 1;

    fn put(&self, out: &mut Vec<u8>) {
        out.push(match self {
            Self::Ring => 1,
            Self::Objects => 2,
        });
    }

    fn take(from: &mut Fields) -> Result<Self, DecodeError> {
        match from.u8()? {
            1 => Ok(Self::Ring),
            2 => Ok(Self::Objects),
            _ => Err(DecodeError::Unsupported),
        }
    }
}

/// A tag: 1 of the range, 2 of the log.
impl Field for StateKind {
    const LEAST: usize = 1;

    fn put(&self, out: &mut Vec<u8>) {
        out.push(match self {
            Self::Range => 1,
            Self::Log => 2,
        });
    }

    fn take(from: &mut Fields) -> Result<Self, DecodeError> {
        match from.u8()? {
            1 => Ok(Self::Range),
            2 => Ok(Self::Log),
            _ => Err(DecodeError::Unsupported),
        }
    }
}

tagged!(Answer {
    1 => Done,
    2 => Registered { epoch, recoveries },
    3 => Leased { first, count },
    4 => Refused(refusal),
    30 => LeasedProducers { first, count },
});

record!(Recovery { number, epoch, wal, kind, trim, last_cut });

tagged!(Refusal {
    1 => Fenced,
    2 => SequenceGap,
    3 => WrongWal { expected },
    4 => WalAhead { known },
    5 => NotRecovered,
    6 => RecoverySuperseded,
    7 => CutGap { expected },
    8 => NotContiguous { stream, end },
    9 => NotLeased { id },
    10 => TopicExists,
    11 => UnknownTopic,
    12 => InvalidPartitions,
    13 => UnknownStream,
    14 => Invalid,
    40 => NothingToGiveUp,
    41 => WalPresent,
    50 => NotCovered { id },
});

impl Field for TopicName {
    const LEAST: usize = 3;

    fn put(&self, out: &mut Vec<u8>) {
        super::put_text(self.as_str(), out);
    }

    fn take(from: &mut Fields) -> Result<Self, DecodeError> {
        Self::parse(&String::take(from)?).ok_or(DecodeError::Malformed)
    }
}
