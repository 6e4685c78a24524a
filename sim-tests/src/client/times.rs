//! Questions about times and leader epochs.

use super::work::topic_name;
use super::{Asked, Client, Effect};
use crate::oracle::{Observation, Place, Question, Told};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::ListOffsetsPartitionResponse;
use kafka_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafka_protocol::messages::{
    ApiKey, ListOffsetsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
};
use karst_core::machine::{Effects, Now, Rng};

/// Asks for the first record of the largest time.
const MAX_TIMESTAMP: i64 = -3;

/// Kafka's codes: NOT_LEADER_OR_FOLLOWER, UNKNOWN_TOPIC_OR_PARTITION, KAFKA_STORAGE_ERROR, REQUEST_TIMED_OUT.
const LEGAL: [i16; 4] = [6, 3, 56, 7];
/// Kafka's FENCED_LEADER_EPOCH: the broker has started again since.
const FENCED: i16 = 74;

/// How far from now the times of records may be, in milliseconds.
pub(super) const SPREAD: u64 = 2_000;

/// A question on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Puzzle {
    question: Question,
    number: u64,
    /// The epoch that the client said it believes in.
    believed: i32,
    version: i16,
}

impl Client {
    pub(super) fn ask_about_times(&mut self, now: Now, mut rng: Rng, out: &mut Effects<Effect>) {
        let Some(place) = self.any_place() else { return };
        let known = self.epochs.get(&place).copied();
        let believed = known.filter(|_| rng.chance(1, 4)).unwrap_or(-1);
        let number = self.ask_high_watermark(&place, out);
        match rng.below(6) {
            0 => {
                let epoch = rng.below(u64::from(known.unwrap_or(1).unsigned_abs()) + 3) as i32;
                let version = rng.between(2, 4) as i16;
                let puzzle = Puzzle { question: Question::Epoch(epoch), number, believed, version };
                self.ask_epoch(now, place, puzzle, out);
            }
            1 => {
                let version = rng.between(7, 10) as i16;
                self.ask_time(now, place, Puzzle { question: Question::Latest, number, believed, version }, out);
            }
            _ => {
                let version = rng.between(1, 10) as i16;
                let believed = if version >= 4 { believed } else { -1 };
                let back = rng.below(3 * SPREAD).cast_signed() - SPREAD.cast_signed() / 2;
                let question = Question::Since((now.wall.0 - back).max(0));
                self.ask_time(now, place, Puzzle { question, number, believed, version }, out);
            }
        }
    }

    fn ask_time(&mut self, now: Now, place: Place, puzzle: Puzzle, out: &mut Effects<Effect>) {
        let time = if let Question::Since(time) = puzzle.question { time } else { MAX_TIMESTAMP };
        let partition = ListOffsetsPartition::default()
            .with_partition_index(place.partition)
            .with_current_leader_epoch(puzzle.believed)
            .with_timestamp(time);
        let topic = ListOffsetsTopic::default().with_name(topic_name(&place.topic)).with_partitions(vec![partition]);
        let request = ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![topic]);
        self.send(now, (ApiKey::ListOffsets, puzzle.version), &request, Asked::Time(place, puzzle), out);
    }

    fn ask_epoch(&mut self, now: Now, place: Place, puzzle: Puzzle, out: &mut Effects<Effect>) {
        let Question::Epoch(epoch) = puzzle.question else { return };
        let partition = OffsetForLeaderPartition::default()
            .with_partition(place.partition)
            .with_current_leader_epoch(puzzle.believed)
            .with_leader_epoch(epoch);
        let topic =
            OffsetForLeaderTopic::default().with_topic(topic_name(&place.topic)).with_partitions(vec![partition]);
        let request = OffsetForLeaderEpochRequest::default().with_topics(vec![topic]);
        let request = if puzzle.version >= 3 { request.with_replica_id((-1).into()) } else { request };
        self.send(now, (ApiKey::OffsetForLeaderEpoch, puzzle.version), &request, Asked::Epoch(place, puzzle), out);
    }

    pub(super) fn handle_time(
        &mut self,
        response: &ListOffsetsResponse,
        (place, puzzle): (Place, Puzzle),
        out: &mut Effects<Effect>,
    ) -> Result<(), String> {
        let answer = response.topics.first().and_then(|topic| topic.partitions.first());
        let answer = answer.ok_or("an empty answer to list-offsets")?;
        check_code("list-offsets", answer.error_code, puzzle.believed)?;
        if answer.error_code == 0 {
            let told = told(answer, puzzle.version)?;
            out.push(Effect::Observe(Observation::Told(place, puzzle.number, puzzle.question, told)));
        }
        Ok(())
    }

    pub(super) fn handle_epoch(
        &mut self,
        response: &OffsetForLeaderEpochResponse,
        (place, puzzle): (Place, Puzzle),
        out: &mut Effects<Effect>,
    ) -> Result<(), String> {
        let answer = response.topics.first().and_then(|topic| topic.partitions.first());
        let answer = answer.ok_or("an empty answer to offset-for-leader-epoch")?;
        check_code("offset-for-leader-epoch", answer.error_code, puzzle.believed)?;
        if answer.error_code == 0 {
            let told = match (answer.leader_epoch, answer.end_offset) {
                (-1, -1) => Told::Nothing,
                (epoch @ 0.., end @ 0..) => Told::EpochEnd(epoch, end),
                other => return Err(format!("half an end of an epoch: {other:?}")),
            };
            out.push(Effect::Observe(Observation::Told(place, puzzle.number, puzzle.question, told)));
        }
        Ok(())
    }

    /// An answer tells a partition's leader epoch.
    pub(super) fn learn_epoch(&mut self, place: &Place, epoch: i32) -> Result<(), String> {
        if epoch >= 0
            && let Some(before) = self.epochs.insert(place.clone(), epoch)
            && epoch < before
        {
            return Err(format!("the leader epoch of {place:?} is {epoch}, and was {before}"));
        }
        Ok(())
    }
}

fn told(answer: &ListOffsetsPartitionResponse, version: i16) -> Result<Told, String> {
    let epoch = (version >= 4).then_some(answer.leader_epoch);
    match (answer.offset, answer.timestamp, epoch) {
        (-1, -1, None | Some(-1)) => Ok(Told::Nothing),
        (offset @ 0.., time, None) => Ok(Told::Record(offset, time, None)),
        (offset @ 0.., time, Some(epoch @ 0..)) => Ok(Told::Record(offset, time, Some(epoch))),
        other => Err(format!("half a record: {other:?}")),
    }
}

/// Nobody is told of a later epoch than there is, and only who believes in one can be told of another.
fn check_code(api: &str, code: i16, believed: i32) -> Result<(), String> {
    let legal = code == 0 || LEGAL.contains(&code) || (code == FENCED && believed >= 0);
    if legal { Ok(()) } else { Err(format!("{api} was answered with error {code}")) }
}
