//! What a client's inputs and effects are about, for recordings. The keys are those of
//! [`karst_runtime_sim::broker::describe`], and `write`: the number of a write, unique in a run.

use super::{Effect, Input};
use crate::oracle::{Observation, Outcome, Place};
use karst_core::kafka::BatchHeader;
use karst_runtime_sim::broker::describe;
use karst_runtime_sim::recording::{About, Describe};

impl Describe for Input {}

impl Describe for Effect {
    fn describe(&self, about: &mut About) {
        match self {
            Self::Send(frame) => describe::frame(&frame.to_bytes(), about),
            Self::Observe(seen) => seen.describe(about),
            _ => {}
        }
    }
}

impl Describe for Observation {
    fn describe(&self, about: &mut About) {
        match self {
            Self::Sent(place, write, batch) => {
                about.of(place).number("write", write.0);
                if let Some(header) = BatchHeader::parse(batch) {
                    about.name("batch", format!("{:08x}", header.crc));
                }
            }
            Self::Ended(place, write, outcome) => {
                about.of(place).number("write", write.0);
                if let Outcome::Acked(base) = outcome {
                    about.number("base", u64::try_from(*base).unwrap_or(0));
                }
            }
            Self::AckedAgain(place, write, base) => {
                about.of(place).number("write", write.0).number("base", u64::try_from(*base).unwrap_or(0));
            }
            Self::ProducerForgotten(place, _) => place.describe(about),
            Self::Read(place, _, records) => describe::batches(records, |about| place.describe(about), about),
            Self::Asked(place, _) | Self::HighWatermark(place, ..) | Self::ReadAll(place, ..) => place.describe(about),
            _ => {}
        }
    }
}

impl Describe for Place {
    fn describe(&self, about: &mut About) {
        about.name("partition", format!("{}-{}", self.topic, self.partition));
    }
}
