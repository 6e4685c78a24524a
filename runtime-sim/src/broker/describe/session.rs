//! Sessions. Which connection a session is of is said of its owner.

use crate::recording::{About, Describe};
use karst_core::session::{Effect, Input, Mail, Numbered};

impl Describe for Input {
    fn describe(&self, about: &mut About) {
        match self {
            Self::Mail(mail) => about.of(mail),
            Self::Sent(op) | Self::Computed(op, _) => about.of(op),
            Self::Received(_) | Self::Closed | Self::Tick => about,
        };
    }
}

impl Describe for Effect {
    fn describe(&self, about: &mut About) {
        match self {
            Self::Send(op, answer) => {
                // Length and correlation id.
                let head: Vec<u8> = answer.pieces().iter().flatten().copied().take(8).collect();
                if let [_, _, _, _, a, b, c, d] = head[..] {
                    about.number("correlation", u64::from(i32::from_be_bytes([a, b, c, d]).unsigned_abs()));
                }
                about.of(op);
            }
            Self::Compute(op, _) => op.describe(about),
            Self::Mail(mail) => mail.describe(about),
            Self::Pause | Self::Resume | Self::Close(_) => {}
        }
    }
}

impl Describe for Mail {
    fn describe(&self, about: &mut About) {
        if let Self::Answer { to, .. } = self {
            about.number("request", to.0);
        }
    }
}

impl Describe for Numbered {
    fn describe(&self, about: &mut About) {
        about.number("request", self.number.0).of(&self.request);
    }
}
