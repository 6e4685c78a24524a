//! Responses: from what a handler says to what goes out.

use super::api::Api;
use super::error::ErrorCode;
use super::frame::{CorrelationId, HeaderKind};
use crate::id::{NodeId, Offset, StreamEpoch, TopicId};
use crate::machine::Rope;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use bytes::{BufMut, BytesMut};
use core::time::Duration;
use kafka_protocol::protocol::{Encodable, StrBytes};

/// The first version of Fetch with compact lengths and tagged fields.
const FLEXIBLE: i16 = 12;

/// The first version of Fetch that tells where a partition's leader is (KIP-951).
const TELLS_LEADERS: i16 = 16;

/// Why a response can't be written: it says something that its version can't.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EncodeError(pub String);

impl core::fmt::Display for EncodeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "the answer can't be written: {}", self.0)
    }
}

/// The body of a response.
///
/// # Errors
/// When a field is set that this version does not have, or a string is too long for it.
pub fn encode<R: Encodable>(version: i16, response: &R) -> Result<Rope, EncodeError> {
    let error = |error: &dyn core::fmt::Display| EncodeError(error.to_string());
    let size = response.compute_size(version).map_err(|e| error(&e))?;
    let mut body = BytesMut::with_capacity(size);
    response.encode(&mut body, version).map_err(|e| error(&e))?;
    Ok(body.freeze().into())
}

/// A whole frame: length, header and body.
///
/// # Panics
/// When the body is longer than 2 GiB, which the limit on fetches does not allow.
#[must_use]
pub fn frame(api: Api, version: i16, correlation: CorrelationId, body: Rope) -> Rope {
    let header = api.response_header(version);
    let tags = usize::from(header == HeaderKind::Flexible);
    let length = i32::try_from(4 + tags + body.len()).expect("answers are bounded far below 2 GiB");
    let mut head = BytesMut::with_capacity(8 + tags);
    head.put_i32(length);
    head.put_i32(correlation.0);
    head.put_bytes(0, tags);
    let mut frame = Rope::from(head.freeze());
    frame.append(body);
    frame
}

/// The answer to a fetch. kafka-protocol's type of that name would copy the records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchAnswer {
    /// How long the client should hold back.
    pub throttle: Duration,
    /// Of the request as a whole; not written before version 7.
    pub error: Option<ErrorCode>,
    /// The fetch session; 0 is none. Not written before version 7.
    pub session_id: i32,
    /// What was asked for, by topic.
    pub topics: Vec<FetchedTopic>,
    /// Where the leaders are that partitions tell of, each once; not written before version 16.
    pub endpoints: Vec<LeaderEndpoint>,
}

/// Where clients reach a broker that leads (KIP-951).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderEndpoint {
    /// Which broker.
    pub node: NodeId,
    /// Its host.
    pub host: StrBytes,
    /// And port.
    pub port: i32,
}

/// Who leads a partition (KIP-951).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CurrentLeader {
    /// Nobody, while there is none.
    pub node: Option<NodeId>,
    /// The latest epoch.
    pub epoch: StreamEpoch,
}

/// The part of a [`FetchAnswer`] about one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchedTopic {
    /// Its name; written up to version 12.
    pub name: StrBytes,
    /// Its id; written from version 13 on.
    pub id: TopicId,
    /// By partition.
    pub partitions: Vec<FetchedPartition>,
}

/// The part of a [`FetchAnswer`] about one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchedPartition {
    /// Which.
    pub index: i32,
    /// What went wrong.
    pub error: Option<ErrorCode>,
    /// End of what is durable, unless unknown.
    pub high_watermark: Option<Offset>,
    /// End of what no open transaction is part of, unless unknown.
    pub last_stable_offset: Option<Offset>,
    /// First offset that may be read, unless unknown; not written before version 5.
    pub log_start_offset: Option<Offset>,
    /// The largest epoch with records up to the one that the client has last fetched, and where that ends, if the client
    /// has fetched what the log does not have (KIP-595); not written before version 12.
    pub diverging: Option<(StreamEpoch, Offset)>,
    /// Who leads it, for a client that believes in another leader or epoch; not written before version 16.
    pub leader: Option<CurrentLeader>,
    /// Whole batches.
    pub records: Rope,
}

impl FetchAnswer {
    /// The body of the response: the records are pieces of it as they are.
    ///
    /// # Errors
    /// When a name is too long for the version.
    pub fn encode(&self, version: i16) -> Result<Rope, EncodeError> {
        let mut out = Writer { body: Rope::default(), part: BytesMut::with_capacity(self.size()), version };
        out.part.put_i32(i32::try_from(self.throttle.as_millis()).unwrap_or(i32::MAX));
        if version >= 7 {
            out.part.put_i16(code(self.error));
            out.part.put_i32(self.session_id);
        }
        out.count(self.topics.len())?;
        for topic in &self.topics {
            topic.write(&mut out)?;
        }
        match &self.endpoints[..] {
            [_, ..] if version >= TELLS_LEADERS => out.endpoints(&self.endpoints)?,
            _ => out.no_tags(),
        }
        out.body.push(out.part.freeze());
        Ok(out.body)
    }

    /// Enough room for everything but the records.
    fn size(&self) -> usize {
        let topic = |topic: &FetchedTopic| 32 + topic.name.len() + 80 * topic.partitions.len();
        let endpoint = |endpoint: &LeaderEndpoint| 32 + endpoint.host.len();
        let endpoints: usize = self.endpoints.iter().map(endpoint).sum();
        32 + self.topics.iter().map(topic).sum::<usize>() + endpoints
    }
}

impl FetchedTopic {
    fn write(&self, out: &mut Writer) -> Result<(), EncodeError> {
        if out.version <= 12 {
            out.text(&self.name)?;
        } else {
            out.part.put_slice(&self.id.0);
        }
        out.count(self.partitions.len())?;
        for partition in &self.partitions {
            partition.write(out)?;
        }
        out.no_tags();
        Ok(())
    }
}

impl FetchedPartition {
    fn write(&self, out: &mut Writer) -> Result<(), EncodeError> {
        out.part.put_i32(self.index);
        out.part.put_i16(code(self.error));
        out.part.put_i64(offset(self.high_watermark));
        out.part.put_i64(offset(self.last_stable_offset));
        if out.version >= 5 {
            out.part.put_i64(offset(self.log_start_offset));
        }
        // Aborted transactions: none. Null is legal too, but some clients only read lists.
        out.count(0)?;
        if out.version >= 11 {
            // Preferred read replica: this one.
            out.part.put_i32(-1);
        }
        out.count(self.records.len())?;
        out.splice(&self.records);
        let diverging = self.diverging.filter(|_| out.version >= FLEXIBLE);
        let leader = self.leader.filter(|_| out.version >= TELLS_LEADERS);
        if out.version >= FLEXIBLE {
            out.part.put_u8(u8::from(diverging.is_some()) + u8::from(leader.is_some()));
        }
        if let Some((epoch, end)) = diverging {
            // Tagged field 0, of thirteen bytes, without tagged fields of its own.
            out.part.put_slice(&[0, 13]);
            out.part.put_i32(i32::try_from(epoch.0).unwrap_or(i32::MAX));
            out.part.put_i64(offset(Some(end)));
            out.part.put_u8(0);
        }
        if let Some(leader) = leader {
            // Tagged field 1, of nine bytes.
            out.part.put_slice(&[1, 9]);
            out.part.put_i32(leader.node_id());
            out.part.put_i32(leader.epoch());
            out.part.put_u8(0);
        }
        Ok(())
    }
}

impl CurrentLeader {
    /// As Kafka says it: -1 is nobody.
    #[must_use]
    pub fn node_id(self) -> i32 {
        self.node.map_or(-1, |node| i32::try_from(node.0).unwrap_or(i32::MAX))
    }

    /// As Kafka says it.
    #[must_use]
    pub fn epoch(self) -> i32 {
        i32::try_from(self.epoch.0).unwrap_or(i32::MAX)
    }
}

/// What is written so far: finished pieces, and the one being written.
struct Writer {
    body: Rope,
    part: BytesMut,
    version: i16,
}

impl Writer {
    /// The count of an array or the length of records.
    fn count(&mut self, count: usize) -> Result<(), EncodeError> {
        let count = i32::try_from(count).map_err(|_| EncodeError("more than 2^31 of something".into()))?;
        if self.version >= FLEXIBLE {
            self.varint(count.unsigned_abs() + 1);
        } else {
            self.part.put_i32(count);
        }
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), EncodeError> {
        if self.version >= FLEXIBLE {
            self.count(text.len())?;
        } else {
            let len = i16::try_from(text.len()).map_err(|_| EncodeError("a name of more than 32 KiB".into()))?;
            self.part.put_i16(len);
        }
        self.part.put_slice(text.as_bytes());
        Ok(())
    }

    fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.part.put_u8((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.part.put_u8(value as u8);
    }

    fn no_tags(&mut self) {
        if self.version >= FLEXIBLE {
            self.part.put_u8(0);
        }
    }

    /// One tagged field, 0, which says first how long it is.
    fn endpoints(&mut self, endpoints: &[LeaderEndpoint]) -> Result<(), EncodeError> {
        let mut field = Writer { body: Rope::default(), part: BytesMut::new(), version: self.version };
        field.count(endpoints.len())?;
        for LeaderEndpoint { node, host, port } in endpoints {
            field.part.put_i32(i32::try_from(node.0).unwrap_or(i32::MAX));
            field.text(host)?;
            field.part.put_i32(*port);
            // No rack.
            field.part.put_u8(0);
            field.no_tags();
        }
        self.part.put_slice(&[1, 0]);
        self.varint(u32::try_from(field.part.len()).map_err(|_| EncodeError("more than 4 GiB of leaders".into()))?);
        self.part.put_slice(&field.part);
        Ok(())
    }

    fn splice(&mut self, records: &Rope) {
        if !records.is_empty() {
            self.body.push(self.part.split().freeze());
            self.body.append(records.clone());
        }
    }
}

fn code(error: Option<ErrorCode>) -> i16 {
    error.map_or(0, ErrorCode::code)
}

/// -1 is how Kafka says unknown.
fn offset(offset: Option<Offset>) -> i64 {
    offset.map_or(-1, |offset| i64::try_from(offset.0).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Rng;
    use bytes::Bytes;
    use kafka_protocol::messages::fetch_response::{
        EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
    };
    use kafka_protocol::messages::{ApiVersionsResponse, FetchResponse, MetadataResponse, TopicName};

    fn random_answer(rng: &mut Rng) -> FetchAnswer {
        let some = |rng: &mut Rng| rng.chance(2, 3).then(|| Offset(rng.next_u64() >> 1));
        let topics = (0..rng.below(4)).map(|at| FetchedTopic {
            name: StrBytes::from_string(alloc::format!("topic-{at}")),
            id: TopicId::draw(rng),
            partitions: (0..rng.below(4))
                .map(|index| FetchedPartition {
                    index: index as i32,
                    error: rng.chance(1, 3).then_some(ErrorCode::OffsetOutOfRange),
                    high_watermark: some(rng),
                    last_stable_offset: some(rng),
                    log_start_offset: some(rng),
                    diverging: rng.chance(1, 4).then(|| (StreamEpoch(rng.below(99) as u32), Offset(rng.below(99)))),
                    leader: rng.chance(1, 4).then(|| CurrentLeader {
                        node: rng.chance(3, 4).then(|| NodeId(rng.below(99) as u32)),
                        epoch: StreamEpoch(rng.below(99) as u32),
                    }),
                    records: random_records(rng),
                })
                .collect(),
        });
        let topics = topics.collect();
        let endpoint = |rng: &mut Rng, at: u64| LeaderEndpoint {
            node: NodeId(at as u32),
            host: StrBytes::from_string("h".repeat(rng.below(300) as usize)),
            port: 9092,
        };
        let endpoints = (0..rng.below(3)).map(|at| endpoint(rng, at)).collect();
        FetchAnswer {
            throttle: Duration::from_millis(rng.below(1000)),
            error: rng.chance(1, 3).then_some(ErrorCode::InvalidRequest),
            session_id: 0,
            topics,
            endpoints,
        }
    }

    fn random_records(rng: &mut Rng) -> Rope {
        let mut records = Rope::default();
        for _ in 0..rng.below(4) {
            let len = *rng.pick(&[0, 1, 61, 126, 127, 128, 20_000]).expect("not empty");
            records.push(Bytes::from(alloc::vec![rng.next_u64() as u8; len]));
        }
        records
    }

    fn theirs(answer: &FetchAnswer, version: i16) -> FetchResponse {
        let topics = answer.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                let diverging = partition
                    .diverging
                    .filter(|_| version >= 12)
                    .map_or_else(EpochEndOffset::default, |(epoch, end)| {
                        EpochEndOffset::default().with_epoch(epoch.0 as i32).with_end_offset(end.0 as i64)
                    });
                let leader =
                    partition.leader.filter(|_| version >= 16).map_or_else(LeaderIdAndEpoch::default, |leader| {
                        let node = leader.node.map_or(-1, |node| node.0 as i32);
                        LeaderIdAndEpoch::default().with_leader_id(node.into()).with_leader_epoch(leader.epoch.0 as i32)
                    });
                PartitionData::default()
                    .with_diverging_epoch(diverging)
                    .with_current_leader(leader)
                    .with_partition_index(partition.index)
                    .with_error_code(code(partition.error))
                    .with_high_watermark(offset(partition.high_watermark))
                    .with_last_stable_offset(offset(partition.last_stable_offset))
                    .with_log_start_offset(offset(partition.log_start_offset))
                    .with_records(Some(partition.records.to_bytes()))
            });
            FetchableTopicResponse::default()
                .with_topic(TopicName(if version <= 12 { topic.name.clone() } else { StrBytes::new() }))
                .with_topic_id(uuid::Uuid::from_bytes(if version <= 12 { [0; 16] } else { topic.id.0 }))
                .with_partitions(partitions.collect())
        });
        let endpoints = answer.endpoints.iter().filter(|_| version >= 16).map(|endpoint| {
            let node = NodeEndpoint::default().with_node_id((endpoint.node.0 as i32).into());
            node.with_host(endpoint.host.clone()).with_port(endpoint.port)
        });
        FetchResponse::default()
            .with_node_endpoints(endpoints.collect())
            .with_throttle_time_ms(answer.throttle.as_millis() as i32)
            .with_error_code(code(answer.error))
            .with_session_id(answer.session_id)
            .with_responses(topics.collect())
    }

    #[test]
    fn a_fetch_answer_is_written_as_kafka_protocol_writes_it() {
        let mut rng = Rng::new(11);
        for _ in 0..200 {
            let answer = random_answer(&mut rng);
            for version in 4..=18 {
                let ours = answer.encode(version).expect("short names").to_bytes();
                let expected = encode(version, &theirs(&answer, version)).expect("short names").to_bytes();
                assert_eq!(ours, expected, "version {version}");
            }
        }
    }

    #[test]
    fn records_are_spliced_and_not_copied() {
        let block = Bytes::from(alloc::vec![7; 1000]);
        let mut records = Rope::from(block.slice(0..400));
        records.push(block.slice(500..600));
        let partition = FetchedPartition { records, ..FetchedPartition::default() };
        let topic = FetchedTopic { partitions: [partition].into(), ..FetchedTopic::default() };
        let body = FetchAnswer { topics: [topic].into(), ..FetchAnswer::default() }.encode(17).expect("no name");
        let pieces = body.pieces();
        assert_eq!(pieces.len(), 4);
        assert_eq!(pieces[1].as_ptr(), block.as_ptr());
        assert_eq!(pieces[2].as_ptr(), block[500..].as_ptr());
    }

    #[test]
    fn a_frame_has_its_versions_header() {
        let head = |api, version| frame(api, version, CorrelationId(0x0102_0304), Rope::from(&b"body"[..])).to_bytes();
        let plain = &b"\0\0\0\x08\x01\x02\x03\x04body"[..];
        let flexible = &b"\0\0\0\x09\x01\x02\x03\x04\0body"[..];
        assert_eq!(head(Api::Metadata, 8), plain);
        assert_eq!(head(Api::Metadata, 9), flexible);
        assert_eq!(head(Api::Fetch, 11), plain);
        assert_eq!(head(Api::Fetch, 12), flexible);
        assert_eq!(head(Api::ApiVersions, 4), plain);
    }

    #[test]
    fn what_a_version_lacks_is_an_error() {
        assert!(encode(3, &ApiVersionsResponse::default()).is_ok());
        let long = StrBytes::from_string("x".repeat(40_000));
        let response = MetadataResponse::default().with_cluster_id(Some(long.clone()));
        assert!(encode(8, &response).is_err());
        let topic = FetchedTopic { name: long, ..FetchedTopic::default() };
        let answer = FetchAnswer { topics: [topic].into(), ..FetchAnswer::default() };
        assert!(answer.encode(11).is_err() && answer.encode(12).is_ok());
    }
}
