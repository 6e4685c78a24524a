//! Fetches of batches that are much larger than usual: they are returned whole, and nothing is read that is not paid for.

use super::times::{Partition, name};
use super::world::CONN;
use crate::data_object::sample;
use crate::id::ConnId;
use crate::kafka::{Api, RequestBody};
use crate::limits::Limits;
use crate::machine::Rng;
use crate::session::{Answer, Fee, RequestNumber};
use crate::shard::{Mail, Pool};
use crate::store::{Span, StoreOp};
use alloc::boxed::Box;
use alloc::vec;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{FetchRequest, FetchResponse};
use kafka_protocol::protocol::Decodable;

const OTHER: ConnId = ConnId(2);

fn limits() -> Limits {
    Limits {
        batch: 600,
        largest_batch: 10_000,
        data_block: 200,
        wal_block: 4_096,
        log_cache: 0,
        answer_credit: 12_000,
        idle_credit: 100,
        copied_records: 0,
        ..Limits::default()
    }
}

/// Batches with one record of so many bytes each, all of them in one object.
fn in_object(values: &[usize]) -> Partition {
    let mut partition = Partition::new(&limits());
    partition.world.mail(Mail::Opened(OTHER, crate::shard::Arrival::default()));
    for (base, len) in (0..).zip(values) {
        let batch = sample::batch(partition.stream.0, 1, base, 1, *len, &mut Rng::new(base));
        partition.world.append("orders", batch);
    }
    partition.cut(200);
    partition
}

fn fetch(partition: &mut Partition, conn: ConnId, offset: i64, max_bytes: i32) -> RequestNumber {
    let line = FetchPartition::default().with_fetch_offset(offset).with_partition_max_bytes(max_bytes);
    let topics = vec![FetchTopic::default().with_topic(name()).with_partitions(vec![line])];
    let request = FetchRequest::default().with_max_wait_ms(1_000).with_max_bytes(max_bytes).with_topics(topics);
    partition.world.ask_as(conn, Api::Fetch, 11, RequestBody::Fetch(Box::new(request)))
}

/// Does what the fetch waits for; none of it reads more data than there is credit taken. Ends when nothing is left.
fn run(partition: &mut Partition) {
    loop {
        let pools: vec::Vec<_> = partition.world.shard.credit().filter(|state| state.pool == Pool::Answers).collect();
        for (_, call) in &partition.world.calls {
            if let StoreOp::Get { span: Span::Range { len, .. }, .. } = call.op {
                let taken = pools[0].total - pools[0].free;
                assert!(len <= taken, "{len} bytes are read for {taken} of credit");
            }
        }
        if !partition.step(&mut Rng::new(1)) {
            return;
        }
    }
}

/// The length of the records, and what the answer costs.
fn answered(partition: &mut Partition, number: RequestNumber) -> Option<(usize, Fee)> {
    let at = partition.world.answers.iter().position(|(to, _)| *to == number)?;
    let Answer::Paid(body, fee) = partition.world.answers.remove(at).1 else { panic!("not paid for") };
    let response = FetchResponse::decode(&mut body.to_bytes(), 11).expect("an answer");
    let line = &response.responses[0].partitions[0];
    assert_eq!(line.error_code, 0);
    Some((line.records.as_ref().map_or(0, bytes::Bytes::len), fee))
}

#[test]
fn a_large_batch_comes_whole_and_is_paid_for_before_it_is_read() {
    // With its head, a record of `n` bytes and two-byte lengths makes a batch of `n + 71`.
    let mut partition = in_object(&[50, 8_000, 60]);
    for (offset, max_bytes, least, most) in
        [(0, 1, 50, 150), (0, 5_000, 50, 150), (1, 1, 8_000, 8_100), (1, 600, 8_000, 8_100), (2, 5_000, 60, 160)]
    {
        let number = fetch(&mut partition, CONN, offset, max_bytes);
        run(&mut partition);
        let (len, fee) = answered(&mut partition, number).expect("nobody else wants anything");
        assert!((least..most).contains(&len), "{len} bytes from offset {offset} on");
        assert!(fee.bytes >= len as u64 && (len > 5_000 || fee.bytes < 5_000), "{fee:?} for {len}");
        partition.world.mail(Mail::CreditBack(CONN, fee.pool, fee.bytes));
        assert!(partition.world.credit_is_back());
    }
}

#[test]
fn a_large_batch_waits_for_credit_that_others_hold() {
    let mut partition = in_object(&[50, 8_000, 8_000]);
    let first = fetch(&mut partition, OTHER, 1, 1);
    run(&mut partition);
    let (_, held) = answered(&mut partition, first).expect("it is alone");
    let second = fetch(&mut partition, CONN, 2, 1);
    run(&mut partition);
    assert_eq!(answered(&mut partition, second), None, "there is no room for two");
    partition.world.mail(Mail::CreditBack(OTHER, held.pool, held.bytes));
    run(&mut partition);
    let (len, fee) = answered(&mut partition, second).expect("there is now");
    assert!(len > 8_000);
    partition.world.mail(Mail::CreditBack(CONN, fee.pool, fee.bytes));
    assert!(partition.world.credit_is_back() && partition.world.shard.is_quiescent());
}

#[test]
fn who_leaves_while_a_large_batch_is_wanted_leaves_nothing_behind() {
    for steps in 0..6 {
        let mut partition = in_object(&[50, 8_000]);
        fetch(&mut partition, CONN, 1, 1);
        for _ in 0..steps {
            partition.step(&mut Rng::new(1));
        }
        partition.world.mail(Mail::Closed(CONN));
        run(&mut partition);
        assert!(partition.world.credit_is_back() && partition.world.shard.is_quiescent(), "after {steps} steps");
    }
}
