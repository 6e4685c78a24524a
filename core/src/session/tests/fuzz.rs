//! Damaged frames of real clients, at a session that is served in every possible order.

use super::world::{World, limits};
use super::*;
use crate::machine::Rng;

/// Frames captured from clients, one a line, as hexadecimal digits.
const CAPTURED: [&str; 7] = [
    include_str!("../../../../fixtures/frames/kcat-librdkafka-2.0.2.hex"),
    include_str!("../../../../fixtures/frames/confluent-kafka-2.16.1.hex"),
    include_str!("../../../../fixtures/frames/confluent-kafka-2.16.1-admin.hex"),
    include_str!("../../../../fixtures/frames/confluent-kafka-2.16.1-idempotent.hex"),
    include_str!("../../../../fixtures/frames/confluent-kafka-2.16.1-groups.hex"),
    include_str!("../../../../fixtures/frames/java-3.9.1-admin.hex"),
    include_str!("../../../../fixtures/frames/kafka-python-3.0.12-admin.hex"),
];

/// Clients ask for it once they have found who coordinates transactions, which there are none of.
const UNCAPTURED: [Api; 1] = [Api::DescribeTransactions];

/// Frames with their length, as they were on the wire.
fn captured() -> Vec<Vec<u8>> {
    let lines = CAPTURED.iter().flat_map(|file| file.lines());
    let frames = lines.filter(|line| !line.starts_with('#') && !line.is_empty());
    frames.map(|line| line.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()).collect()
}

fn digit(of: u8) -> u8 {
    (of as char).to_digit(16).expect("fixtures are hexadecimal") as u8
}

#[test]
fn what_real_clients_send_is_understood() {
    let frames = captured();
    assert!(frames.len() >= 10, "{}", frames.len());
    let mut seen = Vec::new();
    for frame in &frames {
        let mut world = World::new();
        world.receive(frame);
        assert_eq!(world.why, None, "{frame:?}");
        if let Some(asked) = world.requests.first() {
            if let crate::kafka::RequestBody::Produce(produce) = &asked.request.body {
                let partitions = produce.topics.iter().flat_map(|topic| &topic.partitions);
                for partition in partitions {
                    let batch = partition.records.as_ref().expect("a sound batch");
                    assert!(batch.header.record_count() > 0);
                }
            }
            seen.push(asked.request.api);
        } else {
            assert!(!world.client.is_empty(), "ApiVersions is answered here");
            seen.push(Api::ApiVersions);
        }
    }
    for api in Api::all().filter(|api| !UNCAPTURED.contains(api)) {
        assert!(seen.contains(&api), "no capture has {api:?}");
    }
}

#[test]
fn damaged_frames_break_no_promise() {
    let frames = captured();
    let mut rng = Rng::new(20);
    let (mut closed, mut served) = (0, 0);
    for _ in 0..1500 {
        let inline = rng.below(400) as u32;
        let mut world = World::with_idle_credit(&Limits { compute_inline: inline, ..limits() });
        (world.hold_sends, world.hold_grants) = (rng.chance(1, 2), rng.chance(1, 2));
        world.hold_jobs = rng.chance(1, 2);
        let mut stream = Vec::new();
        for _ in 0..rng.between(1, 12) {
            let mut frame = rng.pick(&frames).expect("not empty").clone();
            if rng.chance(1, 8) {
                damage(&mut rng, &mut frame);
            }
            stream.extend(frame);
        }
        let mut left = &stream[..];
        while !left.is_empty() || rng.chance(39, 40) {
            step(&mut rng, &mut world, &mut left);
        }
        served += world.requests.len();
        closed += usize::from(world.why.is_some());
        world.close();
        world.grant();
        while world.jobs() > 0 {
            world.release_job();
        }
        world.assert_settled();
    }
    assert!(closed > 300 && served > 3000, "both fates are tried: {closed} closed, {served} served");
}

/// One random thing that may happen next.
fn step(rng: &mut Rng, world: &mut World, left: &mut &[u8]) {
    match rng.below(8) {
        0..=3 => {
            let len = if rng.chance(1, 2) { rng.below(20) } else { rng.below(2000) };
            let (now, later) = left.split_at((len as usize).min(left.len()));
            *left = later;
            world.receive(now);
        }
        4 => {
            if let Some(at) = rng.pick(&world.unanswered()) {
                let answer = match rng.below(8) {
                    0 => Answer::Nothing,
                    1 if rng.chance(1, 8) => Answer::Close("told to".into()),
                    _ => body("answer"),
                };
                world.answer(*at, answer);
            }
        }
        5 => {
            world.release_send();
            world.release_job();
        }
        6 => world.grant(),
        _ => world.pass(Duration::from_secs(rng.below(3))),
    }
}

fn damage(rng: &mut Rng, frame: &mut Vec<u8>) {
    match rng.below(4) {
        0 => frame.truncate(rng.below(frame.len() as u64) as usize),
        1 => {
            let at = rng.below(frame.len() as u64 + 1) as usize;
            frame.splice(at..at, [0xff; 4]);
        }
        _ => {
            for _ in 0..rng.between(1, 4) {
                let at = rng.below(frame.len() as u64) as usize;
                frame[at] = rng.next_u64() as u8;
            }
        }
    }
}
