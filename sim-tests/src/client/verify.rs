//! The end of a run: a client reads every partition, from its start to its end.

use super::work::topic_name;
use super::{Asked, Client, Effect, Mode};
use crate::oracle::{Observation, Place};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{ApiKey, FetchRequest};
use karst_core::machine::{Effects, Now};
use std::collections::VecDeque;

pub(super) const LATEST: i64 = -1;
pub(super) const EARLIEST: i64 = -2;

/// What is left to read.
#[derive(Debug, Default)]
pub(super) struct Verify {
    listed: bool,
    left: VecDeque<Place>,
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    place: Place,
    start: Option<i64>,
    end: Option<i64>,
    next: i64,
}

impl Verify {
    /// All topics with their numbers of partitions.
    pub(super) fn begin(&mut self, topics: impl Iterator<Item = (String, i32)>) {
        if !self.listed {
            self.listed = true;
            self.left = topics
                .flat_map(|(topic, count)| (0..count).map(move |partition| Place { topic: topic.clone(), partition }))
                .collect();
        }
    }
}

impl Client {
    /// One step at a time, so that a broken connection only repeats a step.
    pub(super) fn verify(&mut self, now: Now, out: &mut Effects<Effect>) {
        if !self.pending.is_empty() {
            return;
        }
        let Mode::Verify(verify) = &mut self.mode else { return };
        if !verify.listed {
            return self.ask_metadata(now, out);
        }
        if verify.current.is_none() {
            let Some(place) = verify.left.pop_front() else {
                self.mode = Mode::Done;
                return;
            };
            verify.current = Some(Current { place, start: None, end: None, next: 0 });
        }
        let Some(current) = &verify.current else { return };
        let place = current.place.clone();
        match (current.start, current.end) {
            (None, _) => self.list_offset_of(now, place, EARLIEST, out),
            (_, None) => self.list_offset_of(now, place, LATEST, out),
            (Some(start), Some(end)) if current.next >= end => {
                verify.current = None;
                out.push(Effect::Observe(Observation::ReadAll(place, start, end)));
                self.verify(now, out);
            }
            _ => {
                let from = current.next;
                self.fetch_on(now, place, from, out);
            }
        }
    }

    pub(super) fn verify_listed(&mut self, place: &Place, which: i64, offset: i64) {
        if let Mode::Verify(Verify { current: Some(current), .. }) = &mut self.mode
            && current.place == *place
        {
            if which == EARLIEST {
                current.start = Some(offset);
                current.next = offset;
            } else {
                current.end = Some(offset);
            }
        }
    }

    /// The partition can't be read any more: a topic may still be deleted by a request from before. Looks again what
    /// there is.
    pub(super) fn verify_failed(&mut self) {
        if let Mode::Verify(verify) = &mut self.mode {
            *verify = Verify::default();
        }
    }

    pub(super) fn verify_fetched(&mut self, place: &Place, next: i64) {
        if let Mode::Verify(Verify { current: Some(current), .. }) = &mut self.mode
            && current.place == *place
        {
            current.next = next;
        }
    }

    fn fetch_on(&mut self, now: Now, place: Place, from: i64, out: &mut Effects<Effect>) {
        let question = self.ask_high_watermark(&place, out);
        let partition = FetchPartition::default()
            .with_partition(place.partition)
            .with_fetch_offset(from)
            .with_partition_max_bytes(30_000);
        let topic = FetchTopic::default().with_topic(topic_name(&place.topic)).with_partitions(vec![partition]);
        let request = FetchRequest::default()
            .with_replica_id((-1).into())
            .with_max_wait_ms(100)
            .with_min_bytes(1)
            .with_max_bytes(60_000)
            .with_topics(vec![topic]);
        self.send(now, (ApiKey::Fetch, 12), &request, Asked::Fetch(vec![(place, from, question)]), out);
    }
}
