//! Commands, and the entries that they become.

use crate::recording::{About, Describe};
use karst_core::metadata::{Command, Commit, Entry};

impl Describe for Entry {
    fn describe(&self, about: &mut About) {
        self.by.command.describe(about);
    }
}

impl Describe for Command {
    fn describe(&self, about: &mut About) {
        match self {
            Self::Commit(commit) => commit.describe(about),
            Self::CreateTopic(topic) => {
                about.name("topic", topic.name.as_str());
            }
            Self::GrowTopic { id, .. } => {
                about.name("topic-id", id.to_string());
            }
            Self::DeleteTopic { id } => {
                about.name("deleted-topic-id", id.to_string());
            }
            Self::TrimStream { stream, start, .. } => {
                about.number("stream", stream.0).number("below-offset", start.0);
            }
            Self::ForgetObjects { ids } => {
                for id in ids {
                    about.number("object", id.0);
                }
            }
            _ => {}
        }
    }
}

impl Describe for Commit {
    fn describe(&self, about: &mut About) {
        let cut = if self.recovery.is_some() { "recovery-cut" } else { "cut" };
        about.number(cut, self.number.0);
        for object in &self.objects {
            about.number("object", object.id.0);
        }
        for object in &self.objects {
            for range in &object.ranges {
                about.number("stream", range.stream.0).range("offset", range.start.0, range.end.0);
                about.number("object", object.id.0).number(cut, self.number.0);
            }
        }
    }
}
