//! The end of a run: a client reads every partition, from its start to its end, and asks what it takes.

use super::work::topic_name;
use super::{Asked, Client, Effect, Mode};
use crate::oracle::{Observation, Place, Size};
use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{ApiKey, DescribeLogDirsRequest, DescribeLogDirsResponse, FetchRequest};
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
    /// Bytes of what was read.
    bytes: u64,
    /// What the partition takes, it says.
    size: Option<i64>,
    /// Start and end after that.
    again: (Option<i64>, Option<i64>),
}

impl Current {
    fn new(place: Place) -> Self {
        Self { place, start: None, end: None, next: 0, bytes: 0, size: None, again: (None, None) }
    }

    /// What is still to be known.
    fn next(&self) -> Next {
        match (self.start, self.end, self.size) {
            (None, ..) => Next::List(EARLIEST),
            (_, None, _) => Next::List(LATEST),
            (_, Some(end), _) if self.next < end => Next::Fetch,
            (_, _, None) => Next::Size,
            _ if self.again.0.is_none() => Next::List(EARLIEST),
            _ if self.again.1.is_none() => Next::List(LATEST),
            (Some(start), Some(end), Some(told)) => Next::Done { start, end, told },
        }
    }
}

/// What a client does next about a partition that it reads.
enum Next {
    List(i64),
    Fetch,
    Size,
    Done { start: i64, end: i64, told: i64 },
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
            verify.current = Some(Current::new(place));
        }
        let Some(current) = &verify.current else { return };
        let place = current.place.clone();
        match current.next() {
            Next::List(which) => self.list_offset_of(now, place, which, out),
            Next::Fetch => {
                let from = current.next;
                self.fetch_on(now, place, from, out);
            }
            Next::Size => self.ask_size(now, place, out),
            Next::Done { start, end, told } => {
                // What came or went meanwhile would explain another size.
                let is_still = current.again == (Some(start), Some(end)) && current.next == end;
                let read = current.bytes;
                verify.current = None;
                out.push(Effect::Observe(Observation::ReadAll(place.clone(), start, end)));
                if is_still {
                    out.push(Effect::Observe(Observation::Sized(place, Size { start, read, told })));
                }
                self.verify(now, out);
            }
        }
    }

    pub(super) fn verify_listed(&mut self, place: &Place, which: i64, offset: i64) {
        if let Mode::Verify(Verify { current: Some(current), .. }) = &mut self.mode
            && current.place == *place
        {
            match (which, current.size) {
                (EARLIEST, None) => {
                    current.start = Some(offset);
                    current.next = offset;
                }
                (_, None) => current.end = Some(offset),
                (EARLIEST, Some(_)) => current.again.0 = Some(offset),
                (_, Some(_)) => current.again.1 = Some(offset),
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

    pub(super) fn verify_fetched(&mut self, place: &Place, next: i64, bytes: usize) {
        if let Mode::Verify(Verify { current: Some(current), .. }) = &mut self.mode
            && current.place == *place
        {
            current.next = next;
            current.bytes += bytes as u64;
        }
    }

    fn ask_size(&mut self, now: Now, place: Place, out: &mut Effects<Effect>) {
        let topic = DescribableLogDirTopic::default()
            .with_topic(topic_name(&place.topic))
            .with_partitions(vec![place.partition]);
        let request = DescribeLogDirsRequest::default().with_topics(Some(vec![topic]));
        self.send(now, (ApiKey::DescribeLogDirs, 4), &request, Asked::Size(place), out);
    }

    pub(super) fn verify_sized(&mut self, response: &DescribeLogDirsResponse, place: &Place) -> Result<(), String> {
        let [dir] = &response.results[..] else {
            return Err(format!("a broker keeps partitions in one place, not in {}", response.results.len()));
        };
        if (response.error_code, dir.error_code) != (0, 0) {
            return Err(format!(
                "describe-log-dirs was answered with errors {} {}",
                response.error_code, dir.error_code
            ));
        }
        let told = dir.topics.iter().filter(|topic| topic.name.as_str() == place.topic);
        let mut told = told.flat_map(|topic| &topic.partitions).filter(|one| one.partition_index == place.partition);
        match told.next() {
            Some(one) => {
                if let Mode::Verify(Verify { current: Some(current), .. }) = &mut self.mode
                    && current.place == *place
                {
                    current.size = Some(one.partition_size);
                }
            }
            // It is not there any more, or is being opened.
            None => self.verify_failed(),
        }
        Ok(())
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
