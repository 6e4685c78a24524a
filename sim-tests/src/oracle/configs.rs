//! The model of one topic's configs: each is a register that many clients write and read, and that decides what becomes
//! of batches.

use super::producers::Times;
use super::stored::{Storing, most_stored};
use super::trims::{Trim, TrimId};
use super::{Violation, WriteId};
use crate::client::BatchLimits;
use crate::client::batch::codec_of;
use bytes::Bytes;
use karst_core::kafka::Codec;
use karst_runtime_sim::clock::BEGINNING;
use std::collections::BTreeMap;

/// Names one change of a topic's configs by one client. Unique in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigId(pub u64);

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConfigEnd {
    /// Acknowledged.
    Done,
    /// Refused before anything was done.
    Refused,
    /// It may or may not be done, now or later.
    Unknown,
}

/// What a sound batch was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Judged {
    /// Kafka's error code.
    pub code: i16,
    /// When the broker stamped its records; -1 if it did not.
    pub appended_at: i64,
}

/// What retention may take away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Allowance {
    /// Records that are older, in milliseconds.
    age: Option<i64>,
    /// Records beyond so many bytes.
    pub(super) bytes: Option<u64>,
    /// Whether batches may be stored in other codecs than their producers'.
    pub(super) recompresses: bool,
}

/// Clocks are off by hours, ages by days.
const DAY: i64 = 24 * 3_600_000;

/// Kafka's MESSAGE_TOO_LARGE, INVALID_TIMESTAMP and INVALID_RECORD.
const TOO_LARGE: i16 = 10;
const UNTIMELY: i16 = 32;
const INVALID: i16 = 87;

#[derive(Debug)]
pub(super) struct ConfigModel {
    name: String,
    limits: BatchLimits,
    /// Counts what happens.
    moment: u64,
    writes: BTreeMap<String, Vec<ConfigWrite>>,
    /// When open questions were asked, and batches sent.
    asked: BTreeMap<u64, u64>,
    sent: BTreeMap<WriteId, u64>,
    trims: BTreeMap<TrimId, u64>,
}

#[derive(Clone, Debug)]
struct ConfigWrite {
    id: Option<ConfigId>,
    value: Option<String>,
    began: u64,
    ended: Option<u64>,
}

impl ConfigModel {
    pub(super) fn new(topic: &str, limits: BatchLimits) -> Self {
        Self {
            name: topic.to_owned(),
            limits,
            moment: 0,
            writes: BTreeMap::new(),
            asked: BTreeMap::new(),
            sent: BTreeMap::new(),
            trims: BTreeMap::new(),
        }
    }

    pub(super) fn configuring(&mut self, id: ConfigId, wishes: BTreeMap<String, Option<String>>) {
        self.moment += 1;
        for (name, value) in wishes {
            let write = ConfigWrite { id: Some(id), value, began: self.moment, ended: None };
            self.writes.entry(name).or_insert_with(|| vec![DEFAULT]).push(write);
        }
    }

    pub(super) fn configured(&mut self, id: ConfigId, end: ConfigEnd) {
        self.moment += 1;
        for writes in self.writes.values_mut() {
            match end {
                ConfigEnd::Refused => writes.retain(|write| write.id != Some(id)),
                ConfigEnd::Done => {
                    writes
                        .iter_mut()
                        .filter(|write| write.id == Some(id))
                        .for_each(|write| write.ended = Some(self.moment));
                }
                ConfigEnd::Unknown => {}
            }
        }
    }

    pub(super) fn asked(&mut self, question: u64) {
        self.moment += 1;
        self.asked.insert(question, self.moment);
    }

    /// All configs, as an answer tells them.
    pub(super) fn told(&mut self, question: u64, all: Vec<(String, Option<String>)>) -> Result<(), Violation> {
        self.moment += 1;
        let Some(asked) = self.asked.remove(&question) else { return Ok(()) };
        for (name, value) in all {
            let possible = self.possible(&name, asked);
            if !possible.contains(&value.as_deref()) {
                let message = format!("{}: {name} is {value:?}, and can only be one of {possible:?}", self.name);
                return Err(Violation::new("acked-config-lost", message));
            }
        }
        Ok(())
    }

    pub(super) fn sent(&mut self, write: WriteId) {
        self.moment += 1;
        self.sent.insert(write, self.moment);
    }

    pub(super) fn trimming(&mut self, id: TrimId) {
        self.moment += 1;
        self.trims.insert(id, self.moment);
    }

    /// An attempt to delete records ended: where old records of each key only go, nobody may delete others.
    pub(super) fn trimmed(&mut self, id: TrimId, outcome: Trim) -> Result<(), Violation> {
        let Some(sent) = self.trims.remove(&id) else { return Ok(()) };
        let policies = self.possible("cleanup.policy", sent);
        let is_compact = |policy: &Option<&str>| *policy == Some("compact");
        let is_wrong = match outcome {
            Trim::Done(_) => policies.iter().all(is_compact),
            Trim::Forbidden => !policies.iter().any(is_compact),
            Trim::Refused | Trim::Unknown => false,
        };
        if is_wrong {
            let message =
                format!("{}: {outcome:?} of records, while cleanup.policy was one of {policies:?}", self.name);
            return Err(Violation::new("config-not-honoured", message));
        }
        Ok(())
    }

    /// A sound batch was answered: its topic's configs must allow that answer. Returns how it may be stored, if it is.
    pub(super) fn judged(
        &mut self,
        write: WriteId,
        batch: &Bytes,
        judged: Judged,
    ) -> Result<Option<Storing>, Violation> {
        let Some(sent) = self.sent.remove(&write) else { return Ok(None) };
        let storing = self.storing(sent, batch);
        self.check_answer(write, sent, (batch, &storing), judged)?;
        Ok((judged.code == 0).then_some(storing))
    }

    /// How a batch may be stored that was sent at that moment.
    fn storing(&self, sent: u64, batch: &Bytes) -> Storing {
        let own = codec_of(batch).expect("a sound batch has a codec");
        let types = self.possible("compression.type", sent);
        let codecs = types.iter().map(|kind| codec_named(kind.unwrap_or("producer")).unwrap_or(own)).collect();
        let limits = self.possible("max.message.bytes", sent);
        let largest = limits.iter().map(|limit| self.most(*limit)).max().expect("a config has a value");
        Storing { codecs, largest }
    }

    /// The largest batch under that limit, or where none is set.
    fn most(&self, limit: Option<&str>) -> usize {
        let BatchLimits { usual, largest } = self.limits;
        limit.and_then(|limit| limit.parse().ok()).unwrap_or(usual).min(largest) as usize
    }

    fn check_answer(
        &self,
        write: WriteId,
        sent: u64,
        (batch, storing): (&Bytes, &Storing),
        judged: Judged,
    ) -> Result<(), Violation> {
        let violation = |name: &str, possible: &[Option<&str>]| {
            let Judged { code, appended_at } = judged;
            let what = format!("{}: write {} got code {code}, append time {appended_at}", self.name, write.0);
            Err(Violation::new("config-not-honoured", format!("{what}, while {name} was one of {possible:?}")))
        };
        let limits = self.possible("max.message.bytes", sent);
        // It may be too large in another codec only.
        let own = codec_of(batch);
        let stays = storing.codecs.iter().all(|codec| Some(*codec) == own);
        let most = if stays { batch.len() } else { most_stored(batch) };
        let is_above = |limit: &Option<&str>| batch.len() > self.most(*limit);
        let may_be_above = |limit: &Option<&str>| most > self.most(*limit);
        let policies = self.possible("cleanup.policy", sent);
        let is_compact = |policy: &Option<&str>| policy.is_some_and(|policy| policy.contains("compact"));
        let keyless = crate::client::batch::has_no_key(batch);
        let types = self.possible("message.timestamp.type", sent);
        let is_stamped = |kind: &Option<&str>| *kind == Some("LogAppendTime");
        let before = self.possible("message.timestamp.before.max.ms", sent);
        let age = BEGINNING.0 - timestamp(batch);
        let number = |value: &Option<&str>, default: i64| value.and_then(|value| value.parse().ok()).unwrap_or(default);
        let is_too_old = |most: &Option<&str>| age - DAY > number(most, i64::MAX);
        let after = self.possible("message.timestamp.after.max.ms", sent);
        match judged.code {
            0 if limits.iter().all(is_above) => violation("max.message.bytes", &limits),
            0 if keyless && policies.iter().all(is_compact) => violation("cleanup.policy", &policies),
            0 if judged.appended_at >= 0 && !types.iter().any(is_stamped) => {
                violation("message.timestamp.type", &types)
            }
            0 if judged.appended_at < 0 && types.iter().all(is_stamped) => violation("message.timestamp.type", &types),
            0 if judged.appended_at < 0 && before.iter().all(is_too_old) => {
                violation("message.timestamp.before.max.ms", &before)
            }
            TOO_LARGE if !limits.iter().any(may_be_above) => violation("max.message.bytes", &limits),
            INVALID if !(keyless && policies.iter().any(is_compact)) => violation("cleanup.policy", &policies),
            UNTIMELY if types.iter().all(is_stamped) => violation("message.timestamp.type", &types),
            UNTIMELY
                if before.iter().all(|most| number(most, i64::MAX) == i64::MAX)
                    && after.iter().all(|most| number(most, 0) == i64::MAX) =>
            {
                violation("message.timestamp.after.max.ms", &after)
            }
            _ => Ok(()),
        }
    }

    /// Whose times records have, as far as anybody ever asked for.
    pub(super) fn times(&self) -> Times {
        let is_stamped = |write: &ConfigWrite| write.value.as_deref() == Some("LogAppendTime");
        let stamps = self.writes.get("message.timestamp.type").is_some_and(|writes| writes.iter().any(is_stamped));
        if stamps { Times::PerhapsStamped } else { Times::AsSent }
    }

    /// What retention may ever have been asked to take away.
    pub(super) fn allowance(&self) -> Allowance {
        let least = |name: &str, default: i64| {
            let writes = self.writes.get(name).into_iter().flatten();
            // What a topic is created with comes before all else, so its default never counted.
            let writes = writes.skip(usize::from(self.is_created_with(name)));
            let values =
                writes.map(|write| write.value.as_ref().and_then(|value| value.parse().ok()).unwrap_or(default));
            let values: Vec<i64> = values.filter(|value| *value >= 0).collect();
            match self.writes.contains_key(name) {
                true => values.into_iter().min(),
                false => Some(default).filter(|value| *value >= 0),
            }
        };
        let bytes = least("retention.bytes", -1).and_then(|bytes| u64::try_from(bytes).ok());
        let types = self.writes.get("compression.type").into_iter().flatten();
        let recompresses = types.filter_map(|write| write.value.as_deref()).any(|kind| kind != "producer");
        Allowance { age: least("retention.ms", 7 * DAY), bytes, recompresses }
    }

    fn is_created_with(&self, name: &str) -> bool {
        self.writes
            .get(name)
            .and_then(|writes| writes.get(1))
            .is_some_and(|write| write.began == 1 && write.ended == Some(2))
    }

    /// What a config may be in an answer to what was asked at that moment, and is answered now: everything but what
    /// was overwritten for certain before.
    fn possible(&self, name: &str, asked: u64) -> Vec<Option<&str>> {
        let Some(writes) = self.writes.get(name) else { return vec![None] };
        let done = |write: &ConfigWrite| write.ended.is_some_and(|ended| ended < asked);
        let is_overwritten = |write: &ConfigWrite| {
            write.ended.is_some_and(|ended| writes.iter().any(|later| later.began > ended && done(later)))
        };
        writes.iter().filter(|write| !is_overwritten(write)).map(|write| write.value.as_deref()).collect()
    }
}

/// The codec that `compression.type` asks for, if it asks for one.
fn codec_named(kind: &str) -> Option<Codec> {
    Some(match kind {
        "uncompressed" => Codec::None,
        "gzip" => Codec::Gzip,
        "snappy" => Codec::Snappy,
        "lz4" => Codec::Lz4,
        "zstd" => Codec::Zstd,
        _ => return None,
    })
}

/// What every config is before anybody sets it.
const DEFAULT: ConfigWrite = ConfigWrite { id: None, value: None, began: 0, ended: Some(0) };

impl Allowance {
    /// Whether age is a reason for a record of that time to go.
    pub(super) fn takes(self, timestamp: i64) -> bool {
        self.age.is_some_and(|age| BEGINNING.0 - timestamp > age - DAY)
    }
}

/// The largest timestamp in a batch's header.
pub(super) fn timestamp(batch: &Bytes) -> i64 {
    batch.get(35..43).and_then(|bytes| bytes.try_into().ok()).map_or(0, i64::from_be_bytes)
}

/// The batch as the broker stamps it at that time.
pub(super) fn stamped(batch: &Bytes, at: i64) -> Bytes {
    let mut stamped = batch.to_vec();
    stamped[22] |= 1 << 3;
    stamped[35..43].copy_from_slice(&at.to_be_bytes());
    let crc = crc32c::crc32c(&stamped[crate::client::batch::STAMPED..]);
    stamped[17..21].copy_from_slice(&crc.to_be_bytes());
    stamped.into()
}

/// When the broker stamped a batch that was read; -1 if it did not.
pub(super) fn stamp_of(batch: &Bytes) -> i64 {
    if batch[22] & 1 << 3 == 0 { -1 } else { timestamp(batch) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(value: &str) -> BTreeMap<String, Option<String>> {
        [("retention.ms".to_owned(), Some(value.to_owned()))].into()
    }

    fn told(model: &mut ConfigModel, question: u64, value: Option<&str>) -> bool {
        model.asked(question);
        model.told(question, vec![("retention.ms".into(), value.map(str::to_owned))]).is_ok()
    }

    #[test]
    fn what_is_acknowledged_is_told_from_then_on() {
        let mut model = ConfigModel::new("t", BatchLimits::default());
        assert!(told(&mut model, 1, None) && !told(&mut model, 2, Some("5")));
        model.configuring(ConfigId(1), wish("5"));
        assert!(told(&mut model, 3, None) && told(&mut model, 4, Some("5")), "it may be done already");
        model.asked(5);
        model.configured(ConfigId(1), ConfigEnd::Done);
        assert!(model.told(5, vec![("retention.ms".into(), None)]).is_ok(), "asked before");
        assert!(told(&mut model, 6, Some("5")) && !told(&mut model, 7, None));
        model.configuring(ConfigId(2), wish("6"));
        model.configured(ConfigId(2), ConfigEnd::Unknown);
        model.configuring(ConfigId(3), wish("7"));
        model.configured(ConfigId(3), ConfigEnd::Done);
        assert!(told(&mut model, 8, Some("7")) && told(&mut model, 9, Some("6")) && !told(&mut model, 10, Some("5")));
        model.configuring(ConfigId(4), wish("8"));
        model.configured(ConfigId(4), ConfigEnd::Refused);
        assert!(!told(&mut model, 11, Some("8")));
    }

    #[test]
    fn batches_are_taken_up_to_their_topics_limit_and_never_above_the_brokers() {
        let limits = BatchLimits { usual: 100, largest: 200 };
        let mut model = ConfigModel::new("t", limits);
        let verdict = |model: &mut ConfigModel, len: usize, code| {
            model.sent(WriteId(1));
            model.judged(WriteId(1), &Bytes::from(vec![0; len]), Judged { code, appended_at: -1 }).is_ok()
        };
        assert!(verdict(&mut model, 100, 0) && !verdict(&mut model, 101, 0));
        assert!(!verdict(&mut model, 100, TOO_LARGE) && verdict(&mut model, 101, TOO_LARGE));
        for (value, most) in [("150", 150), ("200", 200), ("300", 200)] {
            let wishes = [("max.message.bytes".to_owned(), Some(value.to_owned()))];
            model.configuring(ConfigId(most as u64), wishes.into());
            model.configured(ConfigId(most as u64), ConfigEnd::Done);
            assert!(verdict(&mut model, most, 0) && !verdict(&mut model, most + 1, 0), "{value}");
            assert!(!verdict(&mut model, most, TOO_LARGE) && verdict(&mut model, most + 1, TOO_LARGE), "{value}");
        }
    }

    #[test]
    fn retention_may_take_what_anybody_allowed() {
        let mut model = ConfigModel::new("t", BatchLimits::default());
        assert_eq!(model.allowance(), Allowance { age: Some(7 * DAY), bytes: None, recompresses: false });
        model.configuring(ConfigId(1), wish("-1"));
        model.configured(ConfigId(1), ConfigEnd::Done);
        assert_eq!(model.allowance().age, None, "created with it");
        model.configuring(ConfigId(2), wish("172800000"));
        assert_eq!(model.allowance().age, Some(2 * DAY));
        assert!(model.allowance().takes(BEGINNING.0 - 2 * DAY) && !model.allowance().takes(BEGINNING.0));
    }
}
