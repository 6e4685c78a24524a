//! ListOffsets: where a partition begins and ends, and where a record lies that is found by its time.

use super::{millis, repeated};
use crate::data_object::{Extent, Origin, Read, ReadBatches, ReadError};
use crate::id::{Offset, StreamId};
use crate::kafka::batch::{Flaw, Times, times};
use crate::kafka::{BatchHeader, Codec, ErrorCode};
use crate::machine::{Effects, INLINE_RATIO, Job, Mark, Now, OpId, WallTime, sometimes};
use crate::session::Fee;
use crate::shard::joins::Asked;
use crate::shard::lookups::{Candidate, Computed, Listed, Listing, Search, Sought};
use crate::shard::{Effect, Pool, Shard, Unpaid};
use alloc::vec;
use alloc::vec::Vec;
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};

/// Asks for the high watermark.
const LATEST: i64 = -1;
/// Asks for the log start offset.
const EARLIEST: i64 = -2;
/// Asks for the first record of the largest time (KIP-734).
const MAX_TIMESTAMP: i64 = -3;
/// Asks for the first offset on the broker's own disk (KIP-405); without tiers that is the first of all.
const EARLIEST_LOCAL: i64 = -4;
/// Asks for the last offset in remote storage (KIP-1005); without tiers there is none.
const LATEST_TIERED: i64 = -5;

/// From this version on the client says how long it waits.
const TIMEOUT: i16 = 10;

/// How often a search goes on from the metadata because an object is gone, before the client is told to.
const RESTARTS: u32 = 3;

/// What a search takes besides what it reads: heads and checksums.
const OVERHEAD: u64 = 1 << 10;

/// What a partition's line comes to.
enum Step {
    Known(Result<Listed, ErrorCode>),
    Search(Search),
}

/// What a search needs next.
enum Need {
    /// Nothing.
    Done(Result<Listed, ErrorCode>),
    /// A data block of a range that ends there.
    Read(Read, Offset),
    /// A job.
    Compute(Candidate),
}

impl Shard {
    pub(in crate::shard) fn handle_list_offsets(
        &mut self,
        now: Now,
        asked: Asked,
        request: ListOffsetsRequest,
        out: &mut Effects<Effect>,
    ) {
        let patience = self.limits.stalled_connection;
        let patience = match request.timeout_ms {
            wait @ 1.. if asked.version >= TIMEOUT => millis(wait).min(patience),
            _ => patience,
        };
        let listing = Listing {
            asked,
            repeated: repeated(self.named(&request)),
            request,
            next: (0, 0),
            known: Vec::new(),
            search: None,
            held: 0,
            large: 0,
            due: now.mono.after(patience),
        };
        self.go_on_listing(now, listing, out);
    }

    /// Goes from partition to partition, until one must wait or all are known.
    pub(in crate::shard) fn go_on_listing(&mut self, now: Now, mut listing: Listing, out: &mut Effects<Effect>) {
        loop {
            let step = match listing.search.take() {
                Some(search) => Step::Search(search),
                None if listing.is_complete() => return self.answer_list_offsets(now, listing, out),
                None => self.list_offset(&listing),
            };
            let mut search = match step {
                Step::Known(outcome) => {
                    listing.end_line(outcome);
                    continue;
                }
                Step::Search(search) => search,
            };
            let room = self.search_room().max(listing.large);
            let origin = Origin::Client(listing.asked.conn);
            let need = self.search(&mut search, origin, room);
            let outcome = match need {
                Need::Done(outcome) => outcome,
                _ if listing.due <= now.mono => Err(ErrorCode::RequestTimedOut),
                need => {
                    listing.search = Some(search);
                    return self.wait_for(now, listing, need, out);
                }
            };
            listing.end_line(outcome);
        }
    }

    /// What a search needs is read or computed, once there is credit for it.
    fn wait_for(&mut self, now: Now, mut listing: Listing, need: Need, out: &mut Effects<Effect>) {
        if let Need::Compute(candidate) = &need {
            listing.large = listing.large.max(candidate.batch.len() as u64);
        }
        let cost = self.search_room().max(listing.large) + OVERHEAD;
        if listing.held < cost {
            // A batch that was found is let go of, and found again.
            drop(need);
            sometimes!(Mark::SearchOfLargeBatch, listing.held > 0);
            let (conn, held) = (listing.asked.conn, core::mem::take(&mut listing.held));
            let search = listing.search.as_mut().expect("who needs something searches");
            search.let_go();
            self.give_back_answer_credit(now, conn, held, out);
            let fee = Fee { pool: Pool::Answers, bytes: cost };
            return self.want_answer_credit(now, conn, fee, Unpaid::Listing(listing), out);
        }
        match need {
            Need::Done(_) => unreachable!("who needs nothing waits for nothing"),
            Need::Read(read, range_end) => {
                sometimes!(Mark::TimeReadFromObject);
                self.lookups.read(listing, read.id, range_end);
                self.begin_reads(now, vec![read], out);
            }
            Need::Compute(candidate) => {
                sometimes!(Mark::TimeComputed);
                let search = listing.search.as_mut().expect("a job is for a search");
                let since = search.since(self.start_of(search.stream));
                let (batch, inflated) = (candidate.batch.clone(), self.limits.inflated.into());
                let op = self.ops.issue();
                self.lookups.compute(listing, op, candidate);
                out.push(Effect::Compute(op, Job::FindTime { batch, since, inflated }));
            }
        }
    }

    /// A data block was read for a listing.
    pub(in crate::shard) fn listing_read(
        &mut self,
        now: Now,
        (mut listing, range_end): (Listing, Offset),
        result: Result<ReadBatches, ReadError>,
        out: &mut Effects<Effect>,
    ) {
        let mut search = listing.search.take().expect("a read is for a search");
        match result {
            Ok(read) => {
                let older = read.older;
                search.take_block(read.into_batches().collect(), older, range_end);
                listing.search = Some(search);
            }
            Err(ReadError::Gone | ReadError::NotHeld) if search.restarts < RESTARTS => {
                search.restarts += 1;
                listing.search = Some(search);
            }
            Err(ReadError::Crowded) => listing.end_line(Err(ErrorCode::RequestTimedOut)),
            Err(ReadError::TooLong(len)) => {
                listing.large = len;
                listing.search = Some(search);
            }
            Err(error) => {
                self.report_failed_search(search.stream, error);
                listing.end_line(Err(ErrorCode::KafkaStorageError));
            }
        }
        self.go_on_listing(now, listing, out);
    }

    pub(in crate::shard) fn time_computed(
        &mut self,
        now: Now,
        op: OpId,
        found: Result<Times, Flaw>,
        out: &mut Effects<Effect>,
    ) {
        let (mut listing, candidate) = match self.lookups.finish_job(op) {
            Computed::For(listing) => *listing,
            Computed::Orphan(conn) => return self.orphan_came_back(now, conn, out),
        };
        let search = listing.search.as_mut().expect("a job is for a search");
        match found.map(|times| search.looked_into(&candidate, times)) {
            Ok(None) => {}
            Ok(Some(listed)) => listing.end_line(Ok(listed)),
            Err(flaw) => {
                let code = unreadable(search.stream, flaw);
                listing.end_line(Err(code));
            }
        }
        self.go_on_listing(now, listing, out);
    }

    pub(in crate::shard) fn expire_listings(&mut self, now: Now, out: &mut Effects<Effect>) {
        for (mut listing, read) in self.lookups.expire(now.mono) {
            self.reader.cancel(read);
            listing.end_line(Err(ErrorCode::RequestTimedOut));
            self.go_on_listing(now, listing, out);
        }
    }

    /// What the line of the next partition asks for.
    fn list_offset(&self, listing: &Listing) -> Step {
        let topic = &listing.request.topics[listing.next.0];
        let (topic, wanted) = (topic.name.as_str(), &topic.partitions[listing.next.1]);
        let version = listing.asked.version;
        let fail = |code| Step::Known(Err(code));
        // Times below zero have a meaning each, since some version.
        let since = match wanted.timestamp {
            0.. | LATEST | EARLIEST => 1,
            MAX_TIMESTAMP => 7,
            EARLIEST_LOCAL => 8,
            LATEST_TIERED => 9,
            _ => return fail(ErrorCode::UnsupportedVersion),
        };
        if version < since {
            return fail(ErrorCode::UnsupportedVersion);
        }
        let stream = match self.stream_named(topic, wanted.partition_index) {
            Ok(stream) => stream,
            Err(code) => return fail(code),
        };
        if listing.repeated.contains(&stream) {
            return fail(ErrorCode::InvalidRequest);
        }
        let partition = match self.led(stream, wanted.current_leader_epoch) {
            Ok(partition) => partition,
            Err(code) => return fail(code),
        };
        match wanted.timestamp {
            LATEST => Step::Known(Ok(Listed {
                offset: Some(partition.high_watermark()),
                epoch: i32::try_from(partition.epoch.0).ok(),
                time: None,
            })),
            EARLIEST | EARLIEST_LOCAL => {
                let (start, image) = (self.start_of(stream), self.image.as_ref());
                let epochs = image.and_then(|image| Some(&image.streams.get(&stream)?.epochs));
                let epoch = epochs.and_then(|epochs| epochs.earliest(start)).and_then(|epoch| epoch.0.try_into().ok());
                Step::Known(Ok(Listed { offset: Some(start), epoch, time: None }))
            }
            LATEST_TIERED => Step::Known(Ok(Listed::default())),
            MAX_TIMESTAMP => Step::Search(Search::new(stream, Sought::Latest)),
            time => Step::Search(Search::new(stream, Sought::Since(WallTime(time)))),
        }
    }

    /// The partitions that a request names, as far as they exist.
    fn named(&self, request: &ListOffsetsRequest) -> impl Iterator<Item = StreamId> {
        let lines = request.topics.iter().flat_map(|topic| topic.partitions.iter().map(move |line| (topic, line)));
        lines.filter_map(|(topic, line)| self.stream_named(topic.name.as_str(), line.partition_index).ok())
    }

    /// Searches as far as that goes at once.
    fn search(&mut self, search: &mut Search, origin: Origin, room: u64) -> Need {
        loop {
            let stream = search.stream;
            // Whoever asks believes no epoch by now: it was checked when the search began, and a broker leads a stream
            // under one epoch only.
            let Some(partition) = self.partitions.get(&stream) else {
                return Need::Done(Err(ErrorCode::NotLeaderOrFollower));
            };
            let high_watermark = partition.high_watermark();
            let image = self.image.as_ref().expect("partitions are led by the image");
            let image_of = &image.streams[&stream];
            let since = search.since(image_of.start);
            if let Some(candidate) = search.next_candidate() {
                match self.look_into(search, candidate) {
                    Some(need) => return need,
                    None => continue,
                }
            }
            let since = search.since(since.from);
            let cached = self.cache.first(stream).unwrap_or(high_watermark);
            if since.from < cached {
                let (found, older) = image_of.seek(since.from, cached, since.time);
                let Some((start, range)) = found else {
                    search.pass(cached, older);
                    continue;
                };
                search.pass(start, older);
                let (object, end, cluster) = (range.object, range.end, image.cluster);
                let offset = search.since(image_of.start).from;
                let (id, extent) = (self.fetches.next_read(), Extent::Since(since.time));
                return Need::Read(Read { id, origin, cluster, object, stream, offset, extent, room }, end);
            }
            let (found, older) = self.cache.seek(stream, since.from, since.time);
            search.pass(since.from, older);
            match found {
                Some(batch) => {
                    let candidate = Candidate { end: batch.end, batch: batch.batch.clone() };
                    if let Some(need) = self.look_into(search, candidate) {
                        return need;
                    }
                }
                None if search.lower() => {}
                None => return Need::Done(Ok(Listed::default())),
            }
        }
    }

    /// Looks into a batch that may hold the record. `None` if it does not, and the search goes on.
    fn look_into(&self, search: &mut Search, candidate: Candidate) -> Option<Need> {
        let Some(limit) = self.affordable(&candidate) else { return Some(Need::Compute(candidate)) };
        let since = search.since(self.start_of(search.stream));
        match times(&candidate.batch, since, limit) {
            Ok(times) => search.looked_into(&candidate, times).map(|listed| Need::Done(Ok(listed))),
            // It may be legal; but to find out is not cheap.
            Err(Flaw::TooLarge) => Some(Need::Compute(candidate)),
            Err(flaw) => Some(Need::Done(Err(unreadable(search.stream, flaw)))),
        }
    }

    /// What the records of a batch that is looked into at once may take; `None` if it is not.
    fn affordable(&self, candidate: &Candidate) -> Option<u64> {
        let attributes = BatchHeader::parse(&candidate.batch)?.attributes;
        let inline = u64::from(self.limits.compute_inline);
        let cheap = attributes.is_log_append_time() || candidate.batch.len() as u64 <= inline;
        let ratio = if attributes.codec() == Some(Codec::None) { 1 } else { INLINE_RATIO };
        cheap.then_some(inline.saturating_mul(ratio))
    }

    /// What a search takes, unless it finds a batch that is larger than usual: a data block, or a block of the WAL that a
    /// cached batch is part of.
    fn search_room(&self) -> u64 {
        let block = u64::from(self.limits.data_block) + u64::from(self.limits.batch);
        block.max(self.limits.wal_block.into())
    }

    fn report_failed_search(&self, stream: StreamId, error: ReadError) {
        tracing::error!(stream = stream.0, "looking for a record by its time failed: {error}");
    }

    fn answer_list_offsets(&mut self, now: Now, listing: Listing, out: &mut Effects<Effect>) {
        let Listing { asked, request, known, held, .. } = listing;
        let mut known = known.into_iter();
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().zip(known.by_ref()).map(|(wanted, outcome)| {
                let response = ListOffsetsPartitionResponse::default().with_partition_index(wanted.partition_index);
                match outcome {
                    Ok(listed) => fill(response, listed, asked.version),
                    Err(code) => response.with_error_code(code.code()),
                }
            });
            ListOffsetsTopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
        });
        let response = ListOffsetsResponse::default().with_topics(topics.collect());
        self.answer(asked, &response, out);
        self.give_back_answer_credit(now, asked.conn, held, out);
    }
}

impl Listing {
    /// Whether no line is left; else the next is at [`Listing::next`].
    fn is_complete(&mut self) -> bool {
        while self.request.topics.get(self.next.0).is_some_and(|topic| topic.partitions.len() <= self.next.1) {
            self.next = (self.next.0 + 1, 0);
        }
        self.next.0 >= self.request.topics.len()
    }

    /// What became of that line.
    fn end_line(&mut self, outcome: Result<Listed, ErrorCode>) {
        self.search = None;
        self.known.push(outcome);
        self.next.1 += 1;
    }
}

fn fill(response: ListOffsetsPartitionResponse, listed: Listed, version: i16) -> ListOffsetsPartitionResponse {
    let offset = listed.offset.map_or(-1, |offset| i64::try_from(offset.0).unwrap_or(i64::MAX));
    let response = response.with_offset(offset).with_timestamp(listed.time.map_or(-1, |time| time.0));
    // The answer has no leader epoch before version 4.
    if version >= 4 { response.with_leader_epoch(listed.epoch.unwrap_or(-1)) } else { response }
}

/// The batch passed its checksums and can't be read: it was stored like that, or the limit on records was lowered.
fn unreadable(stream: StreamId, flaw: Flaw) -> ErrorCode {
    tracing::error!(stream = stream.0, ?flaw, "a stored batch can't be looked into");
    ErrorCode::KafkaStorageError
}
