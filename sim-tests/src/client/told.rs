//! What the oracle is told, in words: the rest of `tells the oracle that`.

mod answers;
mod groups;

use crate::oracle::{Aside, ConfigEnd, Growth, Judged, Observation, Outcome, Place, Question, Size, Told, Trim, Upto};
use answers::{of_answer as of_reply, of_code};
use groups::of_group;
use karst_core::kafka::BatchHeader;

pub(super) fn that(seen: &Observation) -> String {
    match seen {
        Observation::Sent(place, write, _) => format!("it is about to send write {} to {place}", write.0),
        Observation::Judged(place, write, judged) => of_judgement(&format!("write {} to {place}", write.0), *judged),
        Observation::Ended(place, write, outcome, code) => {
            of_write(&format!("write {} to {place}", write.0), *outcome, code.0)
        }
        Observation::AckedAgain(place, write, base) => {
            format!("write {} to {place} was acknowledged again or late, at offset {base}", write.0)
        }
        Observation::SentAgain(place, write) => format!("it is about to send write {} to {place} again", write.0),
        Observation::Unheard(place, write, Aside(None)) => {
            format!("it hears nothing any more of write {} to {place}", write.0)
        }
        Observation::Unheard(place, write, Aside(Some(code))) => {
            format!("write {} to {place}, which it had given up, got {}", write.0, of_code(*code))
        }
        Observation::ProducerRefused(place, write, code) => {
            format!("write {} to {place} got {}, though nothing before it is missing", write.0, of_code(*code))
        }
        Observation::ProducerId(id) => format!("it has producer id {id}"),
        Observation::Asked(place, _) => format!("it is about to ask about {place}"),
        Observation::HighWatermark(place, _, hw) => format!("{place} is said to have its high watermark at {hw}"),
        Observation::Read(place, from, batches) => of_read(place, *from, batches),
        Observation::LogStart(place, _, start) => format!("{place} is said to begin at offset {start}"),
        Observation::Served(place, _, from) => format!("its fetch of {place} from offset {from} was served"),
        Observation::OutOfRange(place, _, from) => {
            format!("its fetch of {place} from offset {from} was refused as out of range")
        }
        Observation::Trimming(place, _, upto) => match upto {
            Upto::Offset(offset) => format!("it is about to delete the records of {place} below offset {offset}"),
            Upto::HighWatermark => format!("it is about to delete all records of {place}"),
        },
        Observation::Trimmed(place, _, trim) => match trim {
            Trim::Done(start) => format!("records of {place} are deleted: it is said to begin at offset {start}"),
            Trim::Refused => format!("deleting records of {place} was refused"),
            Trim::Forbidden => format!("deleting records of {place} was forbidden by its cleanup.policy"),
            Trim::Unknown => format!("nobody knows whether records of {place} were deleted"),
        },
        Observation::Told(place, _, question, told) => of_answer(place, *question, *told),
        Observation::Missing(place, _) => format!("{place} is said not to exist"),
        Observation::ReadAll(place, start, end) => {
            format!("it has read all of {place}, from offset {start} up to {end}")
        }
        Observation::Sized(place, Size { read, told, .. }) => {
            format!("{place} is said to take {told} bytes, of which it has read {read}")
        }
        Observation::Creating(topic, partitions) => {
            format!("it is about to create topic {topic}, partitions: {partitions}")
        }
        Observation::Created(topic) => format!("topic {topic} exists"),
        Observation::Growing(topic, _, partitions) => {
            format!("it is about to make topic {topic} grow, partitions then: {partitions}")
        }
        Observation::Grown(topic, _, growth) => match growth {
            Growth::Done => format!("topic {topic} has grown"),
            Growth::Refused => format!("topic {topic} has not grown, which was refused"),
            Growth::Unknown => format!("nobody knows whether topic {topic} has grown"),
        },
        Observation::Deleting(topic) => format!("it is about to delete topic {topic}"),
        Observation::Configuring(topic, _, wishes) => {
            let wishes = wishes.iter().map(|(name, value)| format!("{name}={}", value.as_deref().unwrap_or("default")));
            let wishes: Vec<String> = wishes.collect();
            format!("it is about to configure topic {topic} to {}", wishes.join(", "))
        }
        Observation::Configured(topic, _, end) => match end {
            ConfigEnd::Done => format!("topic {topic} is configured"),
            ConfigEnd::Refused => format!("configuring topic {topic} was refused"),
            ConfigEnd::Unknown => format!("nobody knows whether topic {topic} is configured"),
        },
        Observation::AskedForConfigs(topic, _) => format!("it is about to ask for the configs of topic {topic}"),
        Observation::Configs(topic, _, all) => {
            let set = all.iter().filter_map(|(name, value)| Some(format!("{name}={}", value.as_ref()?)));
            let set: Vec<String> = set.collect();
            format!("topic {topic} is said to be configured to {}", set.join(", "))
        }
        Observation::Group(group, seen) => of_group(group, seen),
        Observation::AskedForTopics(_) => "it is about to ask for all topics".into(),
        Observation::Listed(_, topics) => format!("it was told of all topics, in number: {}", topics.len()),
        Observation::Broken(what) => format!("an answer makes no sense: {what}"),
        Observation::Answered(what, reply) => of_reply(what, &reply.0),
        Observation::Lost(what) => format!("its {what} request will never be answered"),
    }
}

fn of_judgement(write: &str, Judged { code, appended_at }: Judged) -> String {
    match (code, appended_at) {
        (0, -1) => format!("{write} is said to be done"),
        (0, at) => format!("{write} is said to be done, and to have been stamped at {at}"),
        (code, _) => format!("{write} got {}", of_code(code)),
    }
}

fn of_write(write: &str, outcome: Outcome, code: Option<i16>) -> String {
    let code = code.map_or_else(String::new, |code| format!(", with {}", of_code(code)));
    match outcome {
        Outcome::Acked(base) => format!("{write} was acknowledged, at offset {base}"),
        Outcome::Failed => format!("{write} was refused{code}"),
        Outcome::Unknown if code.is_empty() => format!("nobody knows whether {write} was done"),
        Outcome::Unknown => format!("nobody knows whether {write} was done: it was answered{code}"),
    }
}

fn of_answer(place: &Place, question: Question, told: Told) -> String {
    let asked = match question {
        Question::Since(time) => format!("the first record of {place} since {time}"),
        Question::Latest => format!("the latest record of {place}"),
        Question::Epoch(epoch) => format!("the end of epoch {epoch} of {place}"),
    };
    match told {
        Told::Record(offset, time, _) => format!("{asked} is said to be at offset {offset}, of time {time}"),
        Told::EpochEnd(epoch, end) => format!("{asked} is said to be offset {end}, of epoch {epoch}"),
        Told::Nothing => format!("{asked} is said not to exist"),
    }
}

/// What a fetch gave: from where to where.
fn of_read(place: &Place, from: i64, batches: &[u8]) -> String {
    let mut read = None;
    let mut rest = batches;
    while let Some(header) = BatchHeader::parse(rest) {
        let last = header.base_offset.saturating_add(header.last_offset_delta.into());
        read = Some((read.map_or(header.base_offset, |(first, _)| first), last));
        let length = usize::try_from(header.length).unwrap_or(usize::MAX - 12) + 12;
        rest = rest.get(length..).unwrap_or_default();
    }
    match read {
        Some((first, last)) => format!("it read offsets {first} to {last} of {place}, asking from {from} on"),
        None => format!("it read nothing of {place} from offset {from} on"),
    }
}
