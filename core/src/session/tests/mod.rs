//! Transcripts of a session between a client, a shell and a shard that are all played here.

mod checks;
mod fuzz;
mod world;

use super::*;
use crate::kafka::testing::{Client, frame, on_the_wire};
use crate::machine::Rope;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, FetchRequest, MetadataRequest, ProduceRequest, TopicName,
};
use kafka_protocol::protocol::{Decodable, StrBytes};
use shard::Pool;
use world::World;

const PATIENCE: Duration = Duration::from_secs(60);
const HURRY: Duration = Duration::from_secs(5);

fn client(correlation: i32) -> Client {
    Client { correlation, id: Some("test") }
}

fn versions(correlation: i32, version: i16) -> Vec<u8> {
    let name = |text| if version >= 3 { StrBytes::from_static_str(text) } else { StrBytes::new() };
    let request =
        ApiVersionsRequest::default().with_client_software_name(name("test")).with_client_software_version(name("1"));
    on_the_wire(&frame(client(correlation), Api::ApiVersions, version, &request))
}

fn metadata(correlation: i32) -> Vec<u8> {
    on_the_wire(&frame(client(correlation), Api::Metadata, 9, &MetadataRequest::default()))
}

fn fetch(correlation: i32) -> Vec<u8> {
    on_the_wire(&frame(client(correlation), Api::Fetch, 11, &FetchRequest::default()))
}

/// A produce of so many bytes of what is no batch; nobody here minds.
fn produce(correlation: i32, bytes: usize) -> Vec<u8> {
    produce_all(correlation, vec![vec![b'r'; bytes]])
}

/// A produce of these batches, each to a partition of its own.
fn produce_all(correlation: i32, batches: Vec<Vec<u8>>) -> Vec<u8> {
    let partition = |records: Vec<u8>| PartitionProduceData::default().with_records(Some(records.into()));
    let topic = TopicProduceData::default()
        .with_name(TopicName(StrBytes::from_static_str("logs")))
        .with_partition_data(batches.into_iter().map(partition).collect());
    let request = ProduceRequest::default().with_acks(-1).with_topic_data([topic].into());
    on_the_wire(&frame(client(correlation), Api::Produce, 8, &request))
}

fn body(text: &'static str) -> Answer {
    Answer::Body(Rope::from(text.as_bytes()))
}

/// What an answer of [`body`] looks like to the client, in a version with a plain header.
fn plain(correlation: i32, text: &str) -> Vec<u8> {
    on_the_wire(&[&correlation.to_be_bytes()[..], text.as_bytes()].concat())
}

#[test]
fn the_shard_hears_of_a_session_before_anything_else_and_after_everything() {
    let mut world = World::new();
    assert_eq!(world.mail, ["opened"]);
    world.close();
    assert_eq!(world.mail, ["opened", "closed"]);
    world.assert_settled();
}

#[test]
fn api_versions_is_answered_here_and_an_unknown_version_by_the_oldest() {
    for (version, answered, error) in [(0, 0, 0), (3, 3, 0), (4, 4, 0), (9, 0, 35)] {
        let mut world = World::new();
        let mut asked = versions(77, version.min(4));
        asked[6..8].copy_from_slice(&i16::to_be_bytes(version));
        world.receive(&asked);
        assert_eq!(world.requests.len(), 0);
        let answer = world.client.split_off(0);
        assert_eq!(answer[4..8], 77_i32.to_be_bytes());
        let mut rest = bytes::Bytes::from(answer).slice(8..);
        let response = ApiVersionsResponse::decode(&mut rest, answered).expect("an answer in that version");
        assert!(rest.is_empty());
        assert_eq!(response.error_code, error);
        let served: Vec<i16> = response.api_keys.iter().map(|api| api.api_key).collect();
        let expected = [
            0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19, 20, 21, 22, 23, 29, 30, 31, 32, 33, 35, 37, 42, 43,
            44, 45, 46, 47, 48, 50, 60, 61, 65, 66, 68, 75,
        ];
        assert_eq!(served, expected);
        assert_eq!((response.api_keys[0].min_version, response.api_keys[0].max_version), (0, 13));
    }
}

#[test]
fn produces_are_pipelined_and_answered_in_order() {
    let mut world = World::new();
    world.receive(&[produce(1, 10), produce(2, 10), produce(3, 10)].concat());
    assert_eq!(world.requests.len(), 3);
    world.answer(2, body("third"));
    world.answer(1, body("second"));
    assert_eq!(world.client, b"");
    world.answer(0, body("first"));
    assert_eq!(world.client, [plain(1, "first"), plain(2, "second"), plain(3, "third")].concat());
    world.close();
    world.assert_settled();
}

#[test]
fn what_is_no_produce_waits_and_is_waited_for() {
    let mut world = World::new();
    world.hold_sends = true;
    world.receive(&[produce(1, 10), fetch(2), produce(3, 10), produce(4, 10)].concat());
    assert_eq!(world.requests.len(), 1, "the fetch waits for the produce");
    assert!(world.paused, "a request that can't start is enough to hold");
    world.answer(0, body("one"));
    assert_eq!(world.requests.len(), 1, "its answer has not left");
    world.release_sends();
    assert_eq!(world.requests.len(), 2);
    world.answer(1, body("two"));
    assert_eq!(world.requests.len(), 2, "the fetch's answer has not left");
    world.release_sends();
    assert_eq!(world.requests.len(), 4, "both produces start");
    assert!(!world.paused);
    world.answer(3, body("four"));
    world.answer(2, body("three"));
    world.release_sends();
    let all = [plain(1, "one"), plain(2, "two"), plain(3, "three"), plain(4, "four")].concat();
    assert_eq!(world.client, all);
}

#[test]
fn requests_in_flight_are_bounded() {
    let mut world = World::new();
    let many: Vec<u8> = (0..70).flat_map(|at| produce(at, 10)).collect();
    world.receive(&many);
    assert_eq!(world.requests.len(), 64);
    assert!(world.paused);
    world.answer(0, body(""));
    assert_eq!(world.requests.len(), 65);
    for at in 1..70 {
        world.answer(at, body(""));
    }
    assert_eq!(world.requests.len(), 70);
    assert!(!world.paused);
    world.close();
    world.assert_settled();
}

#[test]
fn a_transcript_means_the_same_wherever_it_is_cut() {
    let transcript = [versions(1, 3), metadata(2), produce(3, 40), produce(4, 5), fetch(5)].concat();
    let run = |cuts: &[usize]| {
        let mut world = World::new();
        let mut from = 0;
        for cut in cuts.iter().chain([&transcript.len()]) {
            world.receive(&transcript[from..*cut]);
            from = *cut;
            world.answer_all("answer");
        }
        world.answer_all("answer");
        world.close();
        world.assert_settled();
        (world.client, world.requests.len(), world.why)
    };
    let whole = run(&[]);
    assert_eq!((whole.1, &whole.2), (4, &None));
    for first in 0..transcript.len() {
        assert_eq!(run(&[first]), whole, "cut at {first}");
        let second = (first + first % 7).min(transcript.len());
        assert_eq!(run(&[first, second]), whole, "cut at {first} and {second}");
    }
}

#[test]
fn a_malformed_frame_closes_with_a_reason_and_spares_what_has_started() {
    let unknown_api = on_the_wire(&[0, 99, 0, 0, 0, 0, 0, 7]);
    let old_produce = on_the_wire(&[0, 0, 0, 2, 0, 0, 0, 7]);
    let too_long = vec![0x7f, 0xff, 0xff, 0xff];
    let mut hostile = metadata(1);
    let at = hostile.len() - 5;
    hostile[at] = 0x7f;
    for (bad, why) in [
        (unknown_api, "API key 99 is not served"),
        (old_produce, "version 2 of Produce is not served: as for Kafka 4, clients must be of 2.1 or later"),
        (too_long, "the length of the frame is 2147483647"),
        (hostile, "topics can't have 126 elements in a request of this length"),
    ] {
        let mut world = World::new();
        world.receive(&produce(1, 10));
        world.answer(0, body("done"));
        world.receive(&bad);
        assert_eq!(world.why.as_deref(), Some(why));
        assert_eq!((world.requests.len(), &world.client), (1, &plain(1, "done")));
        world.receive(&metadata(3));
        assert_eq!(world.requests.len(), 1, "a closed connection is deaf");
        world.close();
        world.assert_settled();
    }
    let mut world = World::new();
    world.receive(&[produce(1, 10), vec![0xff; 4]].concat());
    assert_eq!(world.requests.len(), 1, "what had started is carried out");
    assert!(world.why.is_some());
    world.answer(0, body("nobody hears this"));
    assert_eq!(world.client, b"");
    world.close();
    world.assert_settled();
}

#[test]
fn acks_0_is_answered_by_nothing_or_by_closing_in_its_turn() {
    let mut world = World::new();
    world.receive(&[produce(1, 10), produce(2, 10), produce(3, 10)].concat());
    world.answer(2, Answer::Close("no such partition".into()));
    assert_eq!(world.why, None);
    world.answer(0, Answer::Nothing);
    world.answer(1, body("two"));
    assert_eq!(world.client, plain(2, "two"));
    assert_eq!(world.why.as_deref(), Some("no such partition"));
    world.close();
    world.assert_settled();
}

#[test]
fn a_request_larger_than_the_idle_credit_waits_for_more_and_gives_it_back() {
    let mut world = World::new();
    world.hold_grants = true;
    let large = produce(1, 3 * world::IDLE as usize);
    let cost = large.len() as u64 - 4;
    world.receive(&large[..10]);
    assert_eq!(world.wishes, [(Pool::Produce, cost - world::IDLE)], "wanted as soon as the length is known");
    assert!(world.paused);
    world.receive(&large[10..20]);
    assert_eq!(world.wishes.len(), 1, "wanted once");
    world.grant();
    assert!(!world.paused);
    world.receive(&large[20..]);
    assert_eq!(world.requests.len(), 1);
    assert_eq!(world.granted(Pool::Produce), cost - world::IDLE);
    world.receive(&produce(2, 10));
    assert_eq!(world.wishes.len(), 1, "the idle credit is spent");
    world.grant();
    world.hold_sends = true;
    world.answer(0, body("one"));
    assert!(world.granted(Pool::Produce) >= cost - world::IDLE, "the answer has not left");
    world.release_sends();
    assert!(world.granted(Pool::Produce) < 200, "only the second is under way");
    world.answer(1, body("two"));
    world.release_sends();
    assert_eq!(world.granted(Pool::Produce), 0);
    assert_eq!(world.granted(Pool::Control), world::IDLE);
    world.close();
    world.assert_settled();
}

#[test]
fn a_request_that_waits_for_other_clients_holds_only_idle_credit() {
    let mut world = World::new();
    let large = produce(1, 3 * world::IDLE as usize);
    world.receive(&large);
    let extra = large.len() as u64 - 4 - world::IDLE;
    assert_eq!(world.granted(Pool::Produce), extra);
    world.park(0);
    assert_eq!((world.granted(Pool::Produce), world.granted(Pool::Control)), (0, world::IDLE));
    world.park(0);
    world.answer(0, body("one"));
    assert_eq!((world.granted(Pool::Produce), world.granted(Pool::Control)), (0, world::IDLE));
    world.close();
    world.assert_settled();
}

#[test]
fn a_session_that_is_gone_says_so_at_once_whatever_is_under_way() {
    let mut world = World::new();
    world.hold_grants = true;
    world.receive(&produce(1, 10));
    world.receive(&produce(2, 2 * world::IDLE as usize)[..20]);
    world.close();
    world.assert_settled();
    world.answer(0, body("nobody hears this"));
    world.late_credit(Pool::Produce, 1000);
    world.assert_settled();

    let mut world = World::without_idle_credit();
    world.receive(&metadata(1));
    assert!(world.paused && world.requests.is_empty());
    world.close();
    assert_eq!(world.mail, ["opened", "closed"]);
    world.late_credit(Pool::Idle, world::IDLE);
    world.assert_settled();
}

#[test]
fn a_half_received_request_has_a_deadline() {
    let mut world = World::new();
    let idle = world.session.deadline().expect("no connection is idle for ever");
    assert_eq!(idle.reason, "the connection is idle", "between two requests nobody owes anything");
    let request = produce(1, 500);
    world.receive(&request[..2]);
    let due = world.session.deadline().expect("the rest is owed");
    assert_eq!((due.at, due.reason), (world.mono().after(PATIENCE), "half-received request"));
    world.pass(Duration::from_secs(50));
    world.receive(&request[2..400]);
    assert_eq!(world.session.deadline(), Some(due), "a few bytes are no progress");
    world.pass(Duration::from_secs(9));
    assert_eq!(world.why, None);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.why.as_deref(), Some("half-received request: the client does not go on"));
    world.close();
    world.assert_settled();
}

#[test]
fn an_idle_connection_is_closed_in_the_end_and_gives_its_credit_back() {
    let mut world = World::new();
    world.credit(Pool::Control, world::IDLE);
    let idle = world.session.deadline().expect("no connection is idle for ever");
    world.pass(Duration::from_nanos(idle.at.0 - world.mono().0 - 1));
    assert_eq!(world.why, None);
    world.pass(Duration::from_nanos(1));
    assert_eq!(world.why.as_deref(), Some("the connection is idle: the client does not go on"));
    world.close();
    world.assert_settled();
}

#[test]
fn progress_and_our_own_pauses_extend_the_deadline() {
    let mut world = World::new();
    let large = produce(1, 3 << 20);
    for part in large.chunks((1 << 20) + 1) {
        world.pass(Duration::from_secs(50));
        world.receive(part);
        assert_eq!(world.why, None);
    }
    assert_eq!(world.requests.len(), 1);
    world.hold_grants = true;
    let second = produce(2, 1 << 20);
    world.receive(&second[..2]);
    world.receive(&second[2..100]);
    world.pass(Duration::from_secs(1000));
    assert_eq!(world.why, None, "the broker makes the client wait");
    world.grant();
    world.pass(Duration::from_secs(59));
    assert_eq!(world.why, None);
    world.pass(Duration::from_secs(2));
    assert!(world.why.is_some(), "now the client makes the broker wait");
}

#[test]
fn an_unread_answer_has_a_deadline_for_each_part() {
    let mut world = World::new();
    world.hold_sends = true;
    world.receive(&fetch(1));
    world.pass(Duration::from_secs(1000));
    assert_eq!(world.session.deadline(), None, "a fetch may wait for records");
    world.answer(0, Answer::Body(Rope::from(vec![5; 5 << 16])));
    assert_eq!(world.unsent(), 3, "it leaves in parts");
    for _ in 0..2 {
        world.pass(Duration::from_secs(50));
        world.release_send();
        assert_eq!(world.why, None);
    }
    world.pass(Duration::from_secs(61));
    assert_eq!(world.why.as_deref(), Some("unread answer: the client does not go on"));
    world.close();
    world.assert_settled();
}

#[test]
fn a_client_that_is_hurried_must_go_on_with_a_request() {
    let large = produce(1, 3 << 20);
    let mut world = World::new();
    world.receive(&large[..4]);
    world.hurry();
    world.pass(HURRY);
    world.hurry();
    assert_eq!(world.why, None, "nothing is paid for yet");
    let mut sent = 4;
    for _ in 0..5 {
        world.receive(&large[sent..sent + (64 << 10)]);
        sent += 64 << 10;
        world.pass(HURRY - Duration::from_millis(1));
        world.hurry();
        assert_eq!(world.why, None, "it goes on");
    }
    world.receive(&large[sent..sent + 1_000]);
    world.pass(Duration::from_millis(1));
    assert_eq!(world.why, None, "nobody waits for what it holds");
    world.hurry();
    assert!(world.why.as_deref().is_some_and(|why| why.contains("others wait")), "{:?}", world.why);
    world.close();
    world.assert_settled();
}

#[test]
fn a_client_that_is_hurried_must_read_its_answer() {
    let mut world = World::new();
    world.hold_sends = true;
    world.receive(&fetch(1));
    world.pass(10 * HURRY);
    world.hurry();
    assert_eq!(world.why, None, "the broker is to answer");
    world.answer(0, Answer::Body(Rope::from(vec![5; 5 << 16])));
    world.pass(HURRY - Duration::from_millis(1));
    world.release_send();
    world.pass(HURRY - Duration::from_millis(1));
    world.hurry();
    assert_eq!(world.why, None, "it goes on");
    world.pass(Duration::from_millis(1));
    world.hurry();
    assert!(world.why.as_deref().is_some_and(|why| why.contains("others wait")), "{:?}", world.why);
    world.close();
    world.assert_settled();
}

#[test]
fn a_large_answer_arrives_as_it_was() {
    let mut world = World::new();
    let content: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    let mut rope = Rope::from(content[..1_500_000].to_vec());
    rope.push(content[1_500_000..].to_vec());
    world.receive(&fetch(9));
    world.answer(0, Answer::Body(rope));
    assert_eq!(world.client, on_the_wire(&[&9_i32.to_be_bytes()[..], &content].concat()));
}

#[test]
fn a_halt_lets_what_has_started_end() {
    let mut world = World::new();
    world.receive(&[produce(1, 10), fetch(2)].concat());
    world.halt();
    assert_eq!(world.why, None);
    world.receive(&fetch(3));
    world.answer(0, body("one"));
    assert_eq!(world.requests.len(), 1, "what had not started does not");
    assert_eq!(world.client, plain(1, "one"));
    assert_eq!(world.why.as_deref(), Some("the broker stops"));
    world.close();
    world.assert_settled();

    let mut idle = World::new();
    idle.halt();
    assert_eq!(idle.why.as_deref(), Some("the broker stops"));
}
