//! The format, against bytes that were put together by Kafka's schemas, and against bytes that mean harm.

use super::*;
use crate::machine::Rng;
use alloc::vec;

/// `__consumer_offsets` as Kafka writes it: lines of key and value in hex, made by hand from its message schemas.
const GOLDEN: &str = include_str!("../../../../fixtures/consumer-offsets/kafka.hex");

fn golden() -> Vec<(Bytes, Bytes)> {
    let lines = GOLDEN.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let all: Vec<Bytes> = lines.map(|line| hex(line.split('#').next().expect("a line"))).collect();
    all.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
}

fn hex(line: &str) -> Bytes {
    let digits: Vec<u8> = line.bytes().filter(u8::is_ascii_hexdigit).collect();
    let nibble = |digit: u8| (digit as char).to_digit(16).expect("a digit") as u8;
    digits.chunks(2).map(|pair| nibble(pair[0]) << 4 | nibble(pair[1])).collect::<Vec<u8>>().into()
}

fn offset(expires: Option<WallTime>, leader_epoch: i32) -> OffsetValue {
    OffsetValue { offset: 258, leader_epoch, metadata: "m".into(), committed: WallTime(1_000), expires }
}

fn group() -> GroupValue {
    let member = MemberValue {
        id: "a-1".into(),
        instance: Some("i".into()),
        client: "a".into(),
        host: "/h".into(),
        rebalance: Duration::from_millis(300_000),
        session: Duration::from_millis(45_000),
        subscription: Bytes::from_static(&[1, 2]),
        assignment: Bytes::from_static(&[3]),
    };
    GroupValue {
        protocol_type: "consumer".into(),
        generation: 5,
        protocol: Some("range".into()),
        leader: Some("a-1".into()),
        since: WallTime(2_000),
        members: vec![member],
    }
}

#[test]
fn keys_and_values_are_kafkas() {
    let golden = golden();
    let key = Key::Offset { group: "g".into(), topic: "t".into(), partition: 7 };
    let expected = [offset(None, 4), offset(Some(WallTime(9_000)), -1)];
    for (at, value) in expected.into_iter().enumerate() {
        assert_eq!((key.encode(), value.encode()), golden[at], "{at}");
        assert_eq!(Key::decode(&golden[at].0), Ok(Some(key.clone())));
        assert_eq!(OffsetValue::decode(&golden[at].1), Ok(value));
        assert!(golden[at].0.starts_with(&Key::offsets_of("g")));
    }
    assert_eq!((Key::Group("g".into()).encode(), group().encode()), golden[2]);
    assert_eq!(GroupValue::decode(&golden[2].1), Ok(group()));
    // Older ones are read, too.
    assert_eq!(OffsetValue::decode(&golden[3].1), Ok(offset(None, -1)));
    let mut older = group();
    older.since = WallTime(-1);
    older.members[0].instance = None;
    older.members[0].rebalance = older.members[0].session;
    assert_eq!(GroupValue::decode(&golden[4].1), Ok(older));
}

#[test]
fn keys_of_other_kinds_and_values_of_other_versions_are_told_apart() {
    assert_eq!(Key::decode(&[0, 3, 0, 1, b'g']), Ok(None));
    assert!(Key::decode(&[0]).is_err());
    let mut later = offset(None, 4).encode().to_vec();
    later[1] = 4;
    assert!(OffsetValue::decode(&later).is_err());
}

#[test]
fn a_null_group_is_no_group_and_a_null_value_a_tombstone() {
    let empty = GroupValue { protocol: None, leader: None, members: Vec::new(), ..group() };
    assert_eq!(GroupValue::decode(&empty.encode()), Ok(empty));
}

#[test]
fn any_bytes_are_survived() {
    let mut rng = Rng::new(8);
    let seeds: Vec<Bytes> = golden().into_iter().flat_map(|(key, value)| [key, value]).collect();
    for _ in 0..20_000 {
        let mut bytes = rng.pick(&seeds).expect("some").to_vec();
        for _ in 0..rng.below(4) {
            let at = rng.below(bytes.len() as u64) as usize;
            bytes[at] = rng.next_u64() as u8;
        }
        bytes.truncate(rng.between(0, bytes.len() as u64) as usize);
        let _ = (Key::decode(&bytes), OffsetValue::decode(&bytes), GroupValue::decode(&bytes));
    }
}
