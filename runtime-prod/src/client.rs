//! As little of a Kafka client as measures a broker and asks it questions: one blocking connection, and frames made in
//! advance.

use crate::failure::Failure;
use bytes::{Buf, Bytes};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    ApiVersionsRequest, CreateTopicsRequest, DeleteTopicsRequest, MetadataRequest, RequestHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use karst_core::kafka::ErrorCode;
use std::io::{BufReader, ErrorKind, Read, Write};
use std::marker::PhantomData;
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// A broker that says nothing for so long is stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// A topic's partitions have a leader so soon after it was made.
const OPENING: Duration = Duration::from_secs(30);

/// Bytes taken from the socket at once where answers are small.
const BUFFER: usize = 16 << 10;

/// What is said when no answer comes.
const CLOSED: &str = "the connection was closed without an answer: is that where the broker listens for Kafka clients \
                      (--listen), and not its HTTP port?";

/// Where the correlation id is in a frame.
const CORRELATION: std::ops::Range<usize> = 8..12;

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
    sent: i32,
    received: i32,
}

/// A request, written once and sent any number of times.
#[derive(Debug)]
pub(crate) struct Frame<R> {
    version: i16,
    bytes: Vec<u8>,
    request: PhantomData<R>,
}

impl<R: Request> Frame<R> {
    pub(crate) fn new(version: i16, request: &R) -> Result<Self, Failure> {
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_client_id(Some(StrBytes::from_static_str("karst")));
        let mut bytes = vec![0; 4];
        header.encode(&mut bytes, R::header_version(version)).map_err(Failure::new)?;
        request.encode(&mut bytes, version).map_err(Failure::new)?;
        let length = i32::try_from(bytes.len() - 4).map_err(Failure::new)?;
        bytes[..4].copy_from_slice(&length.to_be_bytes());
        Ok(Self { version, bytes, request: PhantomData })
    }

    /// All of it, its length first.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Client {
    pub(crate) fn connect(address: &str) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address).map_err(|error| {
            Failure::new(format_args!("cannot connect to {address}: {error}. Does a broker listen there?"))
        })?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::with_capacity(BUFFER, stream), sent: 0, received: 0 })
    }

    /// Sends a request and waits for its answer.
    pub(crate) fn ask<R: Request>(&mut self, version: i16, request: &R) -> Result<R::Response, Failure> {
        let mut frame = Frame::new(version, request)?;
        self.send(&mut frame)?;
        self.receive::<R>(version)
    }

    /// Whether the broker answers that version of the API with this number.
    pub(crate) fn serves(&mut self, key: i16, version: i16) -> Result<bool, Failure> {
        let response = self.ask(0, &ApiVersionsRequest::default())?;
        check("tell its versions", response.error_code)?;
        let served = response.api_keys.iter().find(|api| api.api_key == key);
        Ok(served.is_some_and(|api| (api.min_version..=api.max_version).contains(&version)))
    }

    /// Sends a frame without waiting.
    pub(crate) fn send<R>(&mut self, frame: &mut Frame<R>) -> Result<(), Failure> {
        frame.bytes[CORRELATION].copy_from_slice(&self.sent.to_be_bytes());
        self.sent = self.sent.wrapping_add(1);
        Ok(self.stream.get_mut().write_all(&frame.bytes)?)
    }

    /// Waits for the next answer, which must be to this kind of request.
    pub(crate) fn receive<R: Request>(&mut self, version: i16) -> Result<R::Response, Failure> {
        let mut answer = self.receive_frame()?;
        if answer.remaining() < 5 || answer.get_i32() != self.received {
            return Err(Failure::new("the broker answered out of order"));
        }
        self.received = self.received.wrapping_add(1);
        if R::Response::header_version(version) > 0 && answer.get_u8() != 0 {
            return Err(Failure::new("the broker's answer has a header that is not understood"));
        }
        R::Response::decode(&mut answer, version).map_err(Failure::new)
    }

    /// The answer to a frame that was sent.
    pub(crate) fn receive_for<R: Request>(&mut self, frame: &Frame<R>) -> Result<R::Response, Failure> {
        self.receive::<R>(frame.version)
    }

    /// Makes a topic and waits until all its partitions have a leader.
    pub(crate) fn create_topic(&mut self, name: &TopicName, partitions: usize) -> Result<(), Failure> {
        const VERSION: i16 = 5;
        let topic = CreatableTopic::default()
            .with_name(name.clone())
            .with_num_partitions(i32::try_from(partitions).map_err(Failure::new)?)
            .with_replication_factor(1);
        let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000);
        let response = self.ask(VERSION, &request)?;
        response.topics.iter().try_for_each(|topic| check("create a topic", topic.error_code))?;
        self.await_leaders(name)
    }

    fn await_leaders(&mut self, name: &TopicName) -> Result<(), Failure> {
        const VERSION: i16 = 9;
        let topic = MetadataRequestTopic::default().with_name(Some(name.clone()));
        let request = MetadataRequest::default().with_topics(Some(vec![topic]));
        let until = Instant::now() + OPENING;
        while Instant::now() < until {
            let response = self.ask(VERSION, &request)?;
            let mut partitions = response.topics.iter().flat_map(|topic| &topic.partitions).peekable();
            if partitions.peek().is_some() && partitions.all(|partition| partition.leader_id.0 >= 0) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(Failure::new("a new topic's partitions have no leader"))
    }

    pub(crate) fn delete_topics(&mut self, names: &[TopicName]) -> Result<(), Failure> {
        const VERSION: i16 = 5;
        let request = DeleteTopicsRequest::default().with_topic_names(names.to_vec()).with_timeout_ms(30_000);
        let response = self.ask(VERSION, &request)?;
        response.responses.iter().try_for_each(|topic| check("delete a topic", topic.error_code))
    }

    fn receive_frame(&mut self) -> Result<Bytes, Failure> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset => Failure::new(CLOSED),
            _ => error.into(),
        })?;
        let length = usize::try_from(i32::from_be_bytes(length)).map_err(Failure::new)?;
        let mut frame = Vec::with_capacity(length);
        let got = (&mut self.stream).take(length as u64).read_to_end(&mut frame)?;
        if got < length {
            return Err(Failure::new(CLOSED));
        }
        Ok(frame.into())
    }
}

/// A name as Kafka's messages have it.
pub(crate) fn topic_name(name: String) -> TopicName {
    TopicName(StrBytes::from_string(name))
}

/// Whether the broker did as it was asked.
pub(crate) fn check(what: &str, error: i16) -> Result<(), Failure> {
    if error == ErrorCode::None.code() {
        return Ok(());
    }
    let named = ErrorCode::ALL.iter().find(|known| known.code() == error);
    let name = named.map_or_else(String::new, |known| format!(" ({})", known.name()));
    Err(Failure::new(format_args!("the broker refused to {what}: Kafka's error {error}{name}")))
}
