//! Requests out, frames in.

use super::{Asked, Client, Effect, Pending};
use crate::oracle::Observation;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, MetadataRequest, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use karst_core::machine::{Effects, Now, Rope};

impl Client {
    /// Sends a request and remembers it until its answer.
    pub(super) fn send(
        &mut self,
        now: Now,
        (api, version): (ApiKey, i16),
        body: &impl Encodable,
        asked: Asked,
        out: &mut Effects<Effect>,
    ) {
        self.correlation += 1;
        *self.asked.entry(asked.kind()).or_default() += 1;
        out.push(Effect::Send(frame(api, version, self.correlation, format!("client-{}", self.id), body)));
        self.pending.push_back(Pending { correlation: self.correlation, version, sent_at: now.mono, asked });
    }

    /// Sends a request that has no answer: only produce has such.
    pub(super) fn send_unanswered(
        &mut self,
        (api, version): (ApiKey, i16),
        body: &impl Encodable,
        out: &mut Effects<Effect>,
    ) {
        self.correlation += 1;
        *self.asked.entry("produce").or_default() += 1;
        out.push(Effect::Send(frame(api, version, self.correlation, format!("client-{}", self.id), body)));
    }

    pub(super) fn ask_api_versions(&mut self, now: Now, out: &mut Effects<Effect>) {
        let version = self.rng.between(0, 4) as i16;
        let request = if version >= 3 {
            ApiVersionsRequest::default()
                .with_client_software_name(StrBytes::from_static_str("karst-sim"))
                .with_client_software_version(StrBytes::from_static_str("1"))
        } else {
            ApiVersionsRequest::default()
        };
        self.send(now, (ApiKey::ApiVersions, version), &request, Asked::ApiVersions, out);
    }

    /// Asks for all topics, in a version that tells their ids.
    pub(super) fn ask_metadata(&mut self, now: Now, out: &mut Effects<Effect>) {
        let version = self.rng.between(10, 13) as i16;
        let request = MetadataRequest::default().with_topics(None).with_allow_auto_topic_creation(false);
        let question = self.next_question();
        out.push(Effect::Observe(Observation::AskedForTopics(question)));
        self.send(now, (ApiKey::Metadata, version), &request, Asked::Metadata(question), out);
    }
}

/// The next whole frame of what was received.
pub(crate) fn next_frame(received: &mut BytesMut) -> Option<Bytes> {
    let length = received.get(..4)?;
    let length = u32::from_be_bytes(length.try_into().ok()?) as usize;
    if received.len() < 4 + length {
        return None;
    }
    received.advance(4);
    Some(received.split_to(length).freeze())
}

/// Takes the response header off a frame. Returns the correlation id.
pub(crate) fn response_header(api: ApiKey, version: i16, frame: &mut Bytes) -> Result<i32, String> {
    let header = ResponseHeader::decode(frame, api.response_header_version(version));
    header.map(|header| header.correlation_id).map_err(|error| error.to_string())
}

/// A request as it goes out.
pub(crate) fn frame(api: ApiKey, version: i16, correlation: i32, client: String, body: &impl Encodable) -> Rope {
    let header = RequestHeader::default()
        .with_request_api_key(api as i16)
        .with_request_api_version(version)
        .with_correlation_id(correlation)
        .with_client_id(Some(StrBytes::from_string(client)));
    let mut bytes = BytesMut::new();
    bytes.put_u32(0);
    header.encode(&mut bytes, api.request_header_version(version)).expect("a header encodes");
    body.encode(&mut bytes, version).expect("clients fill only what the version has");
    let length = u32::try_from(bytes.len() - 4).expect("requests are small");
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    bytes.freeze().into()
}
