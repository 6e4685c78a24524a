//! What the world does to the broker, in words: the rest of a sentence about the nemesis.

use super::aim::Aim;
use super::rot::Rot;
use crate::plan::Disturbance;
use karst_runtime_sim::fault::Label;
use karst_runtime_sim::recording::Describe;

impl Describe for Disturbance {
    fn words(&self) -> Option<String> {
        Some(match self {
            Self::Kill { down } => format!("is about to kill the broker, and to start it again after {down:?}"),
            Self::Stop { down } => format!("asks the broker to stop, and starts it again after {down:?}"),
            Self::Pause { lasts } => format!("lets the broker's process stand still for {lasts:?}"),
            Self::Outage { lasts } => format!("takes the object store out of service for {lasts:?}"),
            Self::Full { lasts } => format!("leaves the object store no space for {lasts:?}"),
            Self::ClockJump { by_ms } => format!("sets the broker's wall clock by {by_ms} ms"),
            Self::Rival { lasts } => format!("starts another broker on the same bucket, by mistake, for {lasts:?}"),
            Self::Overtake { lasts } => {
                format!("takes the broker for dead, which stands still for {lasts:?}, and starts another in its place")
            }
            Self::LoseDisk { down } => format!("is about to kill the broker, and to take its disk away, for {down:?}"),
            Self::Rot { .. } => "kills the broker, damages the device of its log, and starts it again".into(),
        })
    }
}

impl Describe for Aim {
    fn words(&self) -> Option<String> {
        let during = match self {
            Self::Write => "a write to its disk",
            Self::Header => "a write of its log's header",
            Self::Record => "a write of a part of a record",
            Self::Wrap => "a write where the ring begins again",
            Self::Recovery => "the recovery of its log",
            Self::Put => "a write to the object store",
            Self::Object => "the upload of an object",
            Self::Head => "a change of the metadata log's head",
            Self::Spill => "the write of a segment or snapshot of the metadata",
            Self::GivenUp => "a write to the object store that it has given up waiting for",
        };
        Some(format!("has hit the broker in the middle of {during}"))
    }
}

impl Describe for Rot {
    fn words(&self) -> Option<String> {
        let owes = match self.label {
            Label::MustRecover => "nothing may be lost by that",
            Label::MustDetect => "the broker must notice it",
            Label::Ambiguous => "the broker must notice it or lose nothing",
        };
        Some(format!("damages a sector of the log's device, at {}: {owes}", self.at.0))
    }
}
