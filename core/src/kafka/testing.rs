//! Frames as clients write them, for the tests of this room and of the session.

use super::api::Api;
use super::frame::HeaderKind;
use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::RequestHeader;
use kafka_protocol::protocol::{Encodable, StrBytes};

/// What a client says about itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    pub(crate) correlation: i32,
    pub(crate) id: Option<&'static str>,
}

/// A frame without its length.
pub(crate) fn frame(client: Client, api: Api, version: i16, request: &impl Encodable) -> Bytes {
    let mut bytes = BytesMut::new();
    let header = RequestHeader::default()
        .with_request_api_key(api.key())
        .with_request_api_version(version)
        .with_correlation_id(client.correlation)
        .with_client_id(client.id.map(StrBytes::from_static_str));
    let header_version = if api.request_header(version) == HeaderKind::Flexible { 2 } else { 1 };
    header.encode(&mut bytes, header_version).expect("a header");
    request.encode(&mut bytes, version).expect("what the version has");
    bytes.freeze()
}

/// A frame with its length, as it is on the wire.
pub(crate) fn on_the_wire(frame: &[u8]) -> Vec<u8> {
    let length = i32::try_from(frame.len()).expect("small");
    [&length.to_be_bytes(), frame].concat()
}
