//! What a client's inputs and effects are about, and what they are in words, for recordings. The keys are those of
//! [`karst_runtime_sim::broker::describe`], and `write`: the number of a write, unique in a run.

use super::{Effect, Input, told};
use crate::oracle::{Observation, Outcome, Place};
use karst_runtime_sim::broker::describe;
use karst_runtime_sim::recording::words::SENDER;
use karst_runtime_sim::recording::{About, Describe};

impl Describe for Input {
    fn words(&self) -> Option<String> {
        Some(match self {
            Self::Start => "begins".into(),
            Self::Connected => "has a connection to the broker".into(),
            Self::Disconnected => "has no connection to the broker any more".into(),
            Self::Received(bytes) => format!("receives {} bytes{SENDER}", bytes.len()),
            Self::Verify => "is told to read everything back".into(),
            Self::Stop => "is told to hang up".into(),
            Self::Tick => "wakes up at its deadline".into(),
        })
    }
}

impl Describe for Effect {
    fn describe(&self, about: &mut About) {
        match self {
            Self::Send(frame) => describe::frame(&frame.to_bytes(), about),
            Self::Observe(seen) => seen.describe(about),
            _ => {}
        }
    }

    fn words(&self) -> Option<String> {
        Some(match self {
            Self::Connect => "connects to the broker".into(),
            Self::Disconnect => "hangs up".into(),
            Self::Send(frame) => format!("sends the broker {}", describe::frame_in_words(&frame.to_bytes())),
            Self::Observe(seen) => format!("tells the oracle that {}", told::that(seen)),
        })
    }
}

impl Describe for Observation {
    fn describe(&self, about: &mut About) {
        match self {
            Self::Sent(place, write, batch) => {
                about.of(place).number("write", write.0);
                if let Some(name) = describe::batch_name(batch) {
                    about.name("batch", name);
                }
            }
            Self::Judged(place, write, _)
            | Self::SentAgain(place, write)
            | Self::Unheard(place, write, _)
            | Self::ProducerRefused(place, write, _) => {
                about.of(place).number("write", write.0);
            }
            Self::Ended(place, write, outcome, _) => {
                about.of(place).number("write", write.0);
                if let Outcome::Acked(base) = outcome {
                    about.number("base", u64::try_from(*base).unwrap_or(0));
                }
            }
            Self::AckedAgain(place, write, base) => {
                about.of(place).number("write", write.0).number("base", u64::try_from(*base).unwrap_or(0));
            }
            Self::Read(place, _, records) => describe::batches(records, |about| place.describe(about), about),
            Self::Asked(place, _)
            | Self::HighWatermark(place, ..)
            | Self::ReadAll(place, ..)
            | Self::Sized(place, _) => place.describe(about),
            Self::Creating(topic, _)
            | Self::Created(topic)
            | Self::Growing(topic, ..)
            | Self::Grown(topic, ..)
            | Self::Configuring(topic, ..)
            | Self::Configured(topic, ..)
            | Self::AskedForConfigs(topic, _)
            | Self::Configs(topic, ..)
            | Self::Deleting(topic) => {
                about.name("topic", topic.as_str());
            }
            Self::LogStart(place, ..)
            | Self::Served(place, ..)
            | Self::OutOfRange(place, ..)
            | Self::Trimming(place, ..)
            | Self::Trimmed(place, ..)
            | Self::Told(place, ..)
            | Self::Missing(place, _) => place.describe(about),
            Self::Group(group, _) => {
                about.name("group", group.as_str());
            }
            Self::Answered(_, reply) => {
                about.number("request", reply.0.request);
            }
            Self::AskedForTopics(_) | Self::Listed(..) | Self::Broken(_) | Self::Lost(_) | Self::ProducerId(_) => {}
        }
    }
}

impl Describe for Place {
    fn describe(&self, about: &mut About) {
        about.name("partition", self.to_string());
    }
}
