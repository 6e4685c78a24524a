//! Answers to requests, in words: which partition got which error.

use crate::oracle::Reply;
use bytes::Bytes;
use kafka_protocol::messages::{FetchResponse, ListOffsetsResponse, ProduceResponse};
use kafka_protocol::protocol::Decodable;
use karst_core::kafka::ErrorCode;
use karst_runtime_sim::recording::Tag;
use karst_runtime_sim::recording::words::name_of;
use uuid::Uuid;

/// Partitions that are told of one answer.
const MOST: usize = 4;

/// `its produce request 12 was answered: t1-1-0 got REQUEST_TIMED_OUT (7)`.
pub(super) fn of_answer(kind: &str, reply: &Reply) -> String {
    let mut codes: Vec<String> = codes(kind, reply).unwrap_or_default();
    let more = codes.len().saturating_sub(MOST);
    codes.truncate(MOST);
    if more > 0 {
        codes.push(format!("{more} more"));
    }
    let codes = if codes.is_empty() { String::new() } else { format!(": {}", codes.join(", ")) };
    format!("its {kind} request {} was answered{codes}", reply.request)
}

/// What each partition got; `None` of an answer that has no partitions, or that can't be read.
fn codes(kind: &str, reply: &Reply) -> Option<Vec<String>> {
    let mut codes = Vec::new();
    match kind {
        "produce" | "produce-sequenced" => {
            for topic in decoded::<ProduceResponse>(reply)?.responses {
                let place = |index| place(&topic.name.0, topic.topic_id, index);
                codes.extend(topic.partition_responses.iter().map(|one| got(&place(one.index), one.error_code)));
            }
        }
        "fetch" => {
            for topic in decoded::<FetchResponse>(reply)?.responses {
                let place = |index| place(&topic.topic.0, topic.topic_id, index);
                codes.extend(topic.partitions.iter().map(|one| got(&place(one.partition_index), one.error_code)));
            }
        }
        "list-offsets" | "list-offsets-by-time" => {
            for topic in decoded::<ListOffsetsResponse>(reply)?.topics {
                let place = |index| place(&topic.name.0, Uuid::nil(), index);
                codes.extend(topic.partitions.iter().map(|one| got(&place(one.partition_index), one.error_code)));
            }
        }
        _ => return None,
    }
    Some(codes)
}

fn decoded<T: Decodable>(Reply { version, body, .. }: &Reply) -> Option<T> {
    T::decode(&mut Bytes::clone(body), *version).ok()
}

fn place(name: &str, id: Uuid, partition: i32) -> String {
    if !name.is_empty() {
        return format!("{name}-{partition}");
    }
    name_of(&Tag::name("partition-id", format!("{}-{partition}", karst_core::id::TopicId(id.into_bytes()))))
}

fn got(place: &str, code: i16) -> String {
    format!("{place} got {}", of_code(code))
}

/// An error by Kafka's name and number; `no error`.
pub(super) fn of_code(code: i16) -> String {
    match ErrorCode::ALL.iter().find(|known| **known as i16 == code) {
        Some(ErrorCode::None) => "no error".into(),
        Some(known) => format!("{} ({code})", known.name()),
        None => format!("the error {code}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use kafka_protocol::messages::TopicName;
    use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
    use kafka_protocol::protocol::{Encodable, StrBytes};

    #[test]
    fn an_answer_says_which_partition_got_which_error() {
        let got = |index, code| PartitionProduceResponse::default().with_index(index).with_error_code(code);
        let topic = TopicProduceResponse::default()
            .with_name(TopicName(StrBytes::from_static_str("orders")))
            .with_partition_responses(vec![got(3, 0), got(4, 87)]);
        let mut body = BytesMut::new();
        let response = ProduceResponse::default().with_responses(vec![topic]);
        response.encode(&mut body, 7).expect("the version has all of it");
        let reply = Reply { request: 12, version: 7, body: body.freeze() };
        assert_eq!(
            of_answer("produce", &reply),
            "its produce request 12 was answered: orders-3 got no error, orders-4 got INVALID_RECORD (87)"
        );
        let torn = Reply { body: reply.body.slice(..3), ..reply };
        assert_eq!(of_answer("produce", &torn), "its produce request 12 was answered");
        assert_eq!(of_code(7_777), "the error 7777");
    }
}
