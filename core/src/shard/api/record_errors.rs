//! What a topic's configs demand of records, judged by what is known of them, as Kafka does before it appends.

use super::text;
use crate::id::StreamId;
use crate::kafka::batch::{BatchHeader, RecordFacts, RecordTime};
use crate::kafka::{CheckedBatch, ErrorCode};
use crate::machine::{Mark, Now, WallTime, sometimes};
use crate::metadata::{TimestampType, TopicConfigs};
use crate::shard::Shard;
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use kafka_protocol::messages::produce_response::{BatchIndexAndErrorMessage, PartitionProduceResponse};
use kafka_protocol::protocol::StrBytes;

/// Records of one batch that are named at most: an answer is not to be many times as long as its request. Of the others
/// clients say that they were in a batch with a bad one.
const NAMED: usize = 8;

/// Why a batch is refused for its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::shard) struct Rejection {
    pub(super) code: ErrorCode,
    why: String,
    /// By their number in the batch.
    records: Vec<(u32, Cow<'static, str>)>,
}

impl Rejection {
    /// Puts the reasons into an answer.
    pub(super) fn explain(self, response: PartitionProduceResponse) -> PartitionProduceResponse {
        let records = self.records.into_iter().map(|(record, why)| {
            BatchIndexAndErrorMessage::default()
                .with_batch_index(i32::try_from(record).unwrap_or(i32::MAX))
                .with_batch_index_error_message(Some(text(why)))
        });
        response.with_error_message(Some(StrBytes::from_string(self.why))).with_record_errors(records.collect())
    }
}

impl Shard {
    /// Whether a batch may be appended to a stream, by the configs of its topic.
    pub(super) fn judge_records(&self, now: Now, stream: StreamId, batch: &CheckedBatch) -> Result<(), Box<Rejection>> {
        judge(self.configs_of(stream), now.wall, &batch.header, &batch.facts).map_err(Box::new)
    }
}

/// A record without key is refused for that; for its time only if it has one.
fn judge(configs: &TopicConfigs, now: WallTime, header: &BatchHeader, facts: &RecordFacts) -> Result<(), Rejection> {
    let keyless = if configs.cleanup_policy().compact.is_on() { facts.keyless.count } else { 0 };
    let mut records: Vec<(u32, Cow<'static, str>)> = Vec::new();
    if keyless > 0 {
        let first = (0..64).filter(|record| facts.keyless.first & 1 << record != 0);
        records.extend(first.take(NAMED).map(|record| (record, Cow::Borrowed(NO_KEY))));
    }
    let untimely = untimely(configs, now, facts);
    records.extend(untimely.iter().map(|time| (time.record, Cow::Owned(out_of_range(configs, now, header, *time)))));
    records.sort_by_key(|(record, _)| *record);
    if !untimely.is_empty() {
        sometimes!(Mark::TimestampRefused);
        let why = "One or more records have been rejected due to invalid timestamp".into();
        return Err(Rejection { code: ErrorCode::InvalidTimestamp, why, records });
    }
    if keyless > 0 {
        sometimes!(Mark::KeylessRefused);
        let why = format!("One or more records have been rejected due to {keyless} record errors in total");
        return Err(Rejection { code: ErrorCode::InvalidRecord, why, records });
    }
    Ok(())
}

const NO_KEY: &str = "Compacted topic cannot accept message without key";

/// Those of the earliest and the latest record that are too far from the broker's clock.
fn untimely(configs: &TopicConfigs, now: WallTime, facts: &RecordFacts) -> Vec<RecordTime> {
    let Some((earliest, latest)) = facts.times.filter(|_| configs.timestamp_type() == TimestampType::CreateTime) else {
        return Vec::new();
    };
    let behind = |time: RecordTime| now.0.saturating_sub(time.at.0) > configs.timestamp_before_max().0;
    let ahead = |time: RecordTime| time.at.0.saturating_sub(now.0) > configs.timestamp_after_max().0;
    let mut found = Vec::new();
    if behind(earliest) || ahead(earliest) {
        found.push(earliest);
    }
    if latest != earliest && (behind(latest) || ahead(latest)) {
        found.push(latest);
    }
    found
}

fn out_of_range(configs: &TopicConfigs, now: WallTime, header: &BatchHeader, time: RecordTime) -> String {
    let first = now.0.saturating_sub(configs.timestamp_before_max().0);
    let last = now.0.saturating_add(configs.timestamp_after_max().0);
    let offset = header.base_offset.saturating_add(i64::from(time.record));
    format!(
        "Timestamp {} of message with offset {offset} is out of range. The timestamp should be within [{first}, {last}]",
        time.at.0
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::batch::Keyless;
    use crate::kafka::batch::tests::{batch, records};
    use crate::metadata::ConfigName;

    const NOW: WallTime = WallTime(1_000_000);

    fn facts(earliest: i64, latest: i64, keyless: u32) -> RecordFacts {
        let time = |at, record| RecordTime { at: WallTime(at), record };
        let first = (1_u64 << keyless.min(60)) - 1;
        RecordFacts {
            inflated: 0,
            keyless: Keyless { count: keyless, first },
            times: Some((time(earliest, 1), time(latest, 4))),
        }
    }

    fn verdict(configs: &[(ConfigName, &str)], facts: &RecordFacts) -> Result<(), (ErrorCode, Vec<u32>)> {
        let mut set = TopicConfigs::default();
        for (name, value) in configs {
            set.set(*name, value).expect("legal");
        }
        let header = BatchHeader::parse(&batch(1, &records(1))).expect("sound");
        let verdict = judge(&set, NOW, &header, facts);
        verdict.map_err(|rejection| (rejection.code, rejection.records.iter().map(|(record, _)| *record).collect()))
    }

    #[test]
    fn times_must_be_near_the_brokers() {
        let untimely = |records: &[u32]| Err((ErrorCode::InvalidTimestamp, records.to_vec()));
        assert_eq!(verdict(&[], &facts(0, NOW.0 + 3_600_000, 0)), Ok(()), "an hour ahead, and any time behind");
        assert_eq!(verdict(&[], &facts(0, NOW.0 + 3_600_001, 0)), untimely(&[4]));
        assert_eq!(verdict(&[], &facts(i64::MIN, i64::MAX, 0)), untimely(&[4]), "nothing overflows");
        let near = [(ConfigName::TimestampAfterMax, "10"), (ConfigName::TimestampBeforeMax, "5")];
        assert_eq!(verdict(&near, &facts(NOW.0 - 5, NOW.0 + 10, 0)), Ok(()));
        assert_eq!(verdict(&near, &facts(NOW.0 - 6, NOW.0 + 10, 0)), untimely(&[1]));
        assert_eq!(verdict(&near, &facts(NOW.0 - 6, NOW.0 + 11, 0)), untimely(&[1, 4]));
        assert_eq!(verdict(&near, &RecordFacts::default()), Ok(()), "no time is none that is wrong");
        let stamped = [near[0], near[1], (ConfigName::TimestampType, "LogAppendTime")];
        assert_eq!(verdict(&stamped, &facts(0, i64::MAX, 0)), Ok(()));
    }

    #[test]
    fn what_is_compacted_needs_keys() {
        let compact = [(ConfigName::CleanupPolicy, "delete,compact")];
        let keyless = |records: &[u32]| Err((ErrorCode::InvalidRecord, records.to_vec()));
        assert_eq!(verdict(&[], &facts(0, 0, 3)), Ok(()));
        assert_eq!(verdict(&compact, &facts(0, 0, 0)), Ok(()));
        assert_eq!(verdict(&compact, &facts(0, 0, 2)), keyless(&[0, 1]));
        assert_eq!(verdict(&compact, &facts(0, 0, 40)), keyless(&[0, 1, 2, 3, 4, 5, 6, 7]));
        let both = verdict(&compact, &facts(0, i64::MAX, 1));
        assert_eq!(both, Err((ErrorCode::InvalidTimestamp, [0, 4].into())), "as Kafka names it");
    }
}
