//! Images.

use super::{Field, Record, record};
use crate::envelope::{DecodeError, Fields};
use crate::id::{NodeEpoch, NodeId, Offset, StreamEpoch};
use crate::machine::WallTime;
use crate::metadata::{
    EpochHistory, EpochImage, GivenUpImage, Image, NodeImage, ObjectImage, ObjectState, PartitionImage, RangeImage,
    StateImage, StreamImage, StreamState, TopicImage,
};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// As the `record!` tables, but for `names`, which follow from the topics, and for what must hold of an image.
impl Record for Image {
    fn put_fields(&self, out: &mut Vec<u8>) {
        self.cluster.put(out);
        self.feature_level.put(out);
        self.seq.put(out);
        self.at.put(out);
        self.next_stream.put(out);
        self.next_object.put(out);
        self.next_producer.put(out);
        self.nodes.put(out);
        self.topics.put(out);
        self.streams.put(out);
        self.objects.put(out);
    }

    fn take_fields(from: &mut Fields) -> Result<Self, DecodeError> {
        let mut image = Self::new(Field::take(from)?, Field::take(from)?);
        image.seq = Field::take(from)?;
        image.at = Field::take(from)?;
        image.next_stream = Field::take(from)?;
        image.next_object = Field::take(from)?;
        image.next_producer = Field::take(from)?;
        image.nodes = Field::take(from)?;
        image.topics = BTreeMap::take(from)?;
        image.streams = Field::take(from)?;
        image.objects = Field::take(from)?;
        image.names = image.topics.iter().map(|(id, topic)| (topic.name.clone(), *id)).collect();
        image.check().map_err(|_| DecodeError::Malformed)?;
        Ok(image)
    }
}

record!(NodeImage { epoch, incarnation, host, port, epochs, last_command, answers, given_up });
record!(EpochImage { wal, kind, trim, last_cut, recovery });
record!(GivenUpImage { wal, of_epoch, at });
record!(TopicImage { name, partitions, configs });
record!(PartitionImage { stream });
record!(StreamImage { topic, partition, owner, epoch, state, start, end, ranges, producers, epochs });
record!(StateImage { end, object, at, len });
record!(RangeImage { end, object, max_timestamp, bytes, committed });
record!(ObjectImage { state, size, since });

/// A map.
impl Field for EpochHistory {
    const LEAST: usize = BTreeMap::<StreamEpoch, Offset>::LEAST;

    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }

    fn take(from: &mut Fields) -> Result<Self, DecodeError> {
        Field::take(from).map(Self)
    }
}

/// A tag: 0 closed; 1 open, with the node epoch.
impl Field for StreamState {
    const LEAST: usize = 1;

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Closed => out.push(0),
            Self::Open(epoch) => {
                out.push(1);
                epoch.put(out);
            }
        }
    }

    fn take(from: &mut Fields) -> Result<Self, DecodeError> {
        match from.u8()? {
            0 => Ok(Self::Closed),
            1 => Ok(Self::Open(NodeEpoch::take(from)?)),
            _ => Err(DecodeError::Unsupported),
        }
    }
}

/// A tag: 1 leased, with node and node epoch; 2 live, with a count u32; 3 destroyed, with the time.
impl Field for ObjectState {
    const LEAST: usize = 1;

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Leased(node, epoch) => {
                out.push(1);
                node.put(out);
                epoch.put(out);
            }
            Self::Live(ranges) => {
                out.push(2);
                ranges.put(out);
            }
            Self::Destroyed(at) => {
                out.push(3);
                at.put(out);
            }
        }
    }

    fn take(from: &mut Fields) -> Result<Self, DecodeError> {
        match from.u8()? {
            1 => Ok(Self::Leased(NodeId::take(from)?, NodeEpoch::take(from)?)),
            2 => Ok(Self::Live(u32::take(from)?)),
            3 => Ok(Self::Destroyed(WallTime::take(from)?)),
            _ => Err(DecodeError::Unsupported),
        }
    }
}
