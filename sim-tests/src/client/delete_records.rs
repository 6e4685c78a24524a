//! Deleting records: now and then, mostly a few, now and then what can't be.

use super::work::topic_name;
use super::{Asked, Client, Effect};
use crate::oracle::{Observation, Place, Trim, TrimId, Upto};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::{ApiKey, DeleteRecordsRequest, DeleteRecordsResponse};
use karst_core::machine::{Effects, Now};

/// Kafka's OFFSET_OUT_OF_RANGE.
const OUT_OF_RANGE: i16 = 1;
/// Kafka's REQUEST_TIMED_OUT: whether the request took effect is unknown.
const TIMED_OUT: i16 = 7;
/// Kafka's POLICY_VIOLATION.
const FORBIDDEN: i16 = 44;

impl Client {
    pub(super) fn delete_records(&mut self, now: Now, out: &mut Effects<Effect>) {
        let Some(place) = self.any_place() else { return };
        let position = self.positions.get(&place).copied().unwrap_or(0);
        let (offset, upto) = match self.rng.below(12) {
            // What was just written goes as well: a recovery may find it deleted.
            0..=2 => (-1, Some(Upto::HighWatermark)),
            // Neither an offset nor the high watermark, or far beyond it.
            3 => (*self.rng.pick(&[-2, i64::MIN, i64::MAX, 1 << 40]).expect("not empty"), None),
            4 => (position, Some(Upto::Offset(position))),
            _ => {
                let offset = self.rng.below(position.unsigned_abs() / 2 + 1).cast_signed();
                (offset, Some(Upto::Offset(offset)))
            }
        };
        let id = TrimId(self.next_question());
        if let Some(upto) = upto {
            out.push(Effect::Observe(Observation::Trimming(place.clone(), id, upto)));
        }
        let partition = DeleteRecordsPartition::default().with_partition_index(place.partition).with_offset(offset);
        let topic = DeleteRecordsTopic::default().with_name(topic_name(&place.topic)).with_partitions(vec![partition]);
        let timeout = if self.rng.chance(1, 8) { self.rng.below(30) as i32 } else { 10_000 };
        let request = DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(timeout);
        let version = self.rng.between(0, 2) as i16;
        let asked = Asked::DeleteRecords(place, id, upto.is_some());
        self.send(now, (ApiKey::DeleteRecords, version), &request, asked, out);
    }

    pub(super) fn handle_records_deleted(
        &mut self,
        response: &DeleteRecordsResponse,
        (place, id, may_be): (Place, TrimId, bool),
        out: &mut Effects<Effect>,
    ) -> Result<(), String> {
        let answer = response.topics.first().and_then(|topic| topic.partitions.first());
        let answer = answer.ok_or("an empty answer to delete-records")?;
        let code = answer.error_code;
        let outcome = match code {
            0 => Trim::Done(answer.low_watermark),
            TIMED_OUT => Trim::Unknown,
            OUT_OF_RANGE | 3 | 6 | 41 => Trim::Refused,
            FORBIDDEN => Trim::Forbidden,
            _ => return Err(format!("delete-records was answered with error {code}")),
        };
        if code != 0 && answer.low_watermark != -1 {
            return Err(format!("an error of delete-records has the low watermark {}", answer.low_watermark));
        }
        if may_be {
            out.push(Effect::Observe(Observation::Trimmed(place, id, outcome)));
        } else if !matches!(outcome, Trim::Refused | Trim::Forbidden) {
            return Err("records that can't be there were deleted".into());
        }
        Ok(())
    }
}
