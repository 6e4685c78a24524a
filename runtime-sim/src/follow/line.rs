//! Entries as lines for people: when, who, and what in words.
//!
//! ```text
//!      event  time       who             what, and what of it the words do not say
//!        345  0.195978s  broker-1/shard  < gets from session-3 request 9 of connection 3 (Produce to t1-1-0)  [batch 1ac16c22]
//!        345  0.195978s  broker-1/shard  > sends the wal 2 batches to append: t1-1-0 offset 3, t2-1-1 offset 0
//! ```
//! `<` is what a machine takes, `>` what it wants done, `-` what the world remarks, `!` a fault.

use crate::debug_text::headline;
use crate::recording::{Entry, EntryKind, Recording, Tag, TagValue};
use core::fmt::Write;

/// Characters of what happened: what matters is at the beginning.
const TEXT: usize = 260;
/// Tags behind it.
const TAGS: usize = 4;
/// Bytes of one: longer ones are for machines.
const TAG: usize = 40;

/// Keys whose number says nothing to a person, or what the words have said.
const FOR_MACHINES: [&str; 4] = [Tag::OF_OWNER, "number", "base", "connection"];
/// Keys of ids that have a name beside them.
const IDS: [&str; 4] = ["stream", "partition-id", "topic-id", "deleted-topic-id"];

/// One entry as a line, and of these tags what its words leave out.
#[must_use]
pub fn line(recording: &Recording, entry: &Entry, tags: &[Tag]) -> String {
    let lane = &recording.lanes[entry.lane.0 as usize];
    let mark = match entry.kind {
        EntryKind::Input => '<',
        EntryKind::Effect => '>',
        EntryKind::Note => '-',
        EntryKind::Fault => '!',
    };
    let what = headline(entry.words.as_deref().unwrap_or(&entry.text), TEXT);
    let who = format!("{}/{}", lane.process, lane.owner);
    let micros = entry.at.0 / 1_000;
    let time = format!("{}.{:06}s", micros / 1_000_000, micros % 1_000_000);
    format!("{:>8} {time:>11} {who:<20} {mark} {what}{}", entry.event, left_out(tags, &what))
}

/// The tags that a text does not say, in brackets.
fn left_out(tags: &[Tag], text: &str) -> String {
    let is_named_beside = |at: usize| {
        IDS.contains(&tags[at].key) && tags.get(at + 1).is_some_and(|next| matches!(next.value, TagValue::Name(_)))
    };
    let told = (0..tags.len()).filter(|at| !is_named_beside(*at) && !FOR_MACHINES.contains(&tags[*at].key));
    let lower = text.to_lowercase();
    let mut out = String::new();
    let mut all: Vec<String> = told.map(|at| tags[at].in_words()).collect();
    all.retain(|tag| tag.len() <= TAG && !says(&lower, &tag.to_lowercase()));
    all.dedup();
    for (nth, tag) in all.iter().take(TAGS).enumerate() {
        let _ = write!(out, "{}{tag}", if nth == 0 { "  [" } else { ", " });
    }
    if !out.is_empty() {
        out.push_str(if all.len() > TAGS { ", …]" } else { "]" });
    }
    out
}

/// Whether a text has these words: `offset 1` is not in `offset 15`.
fn says(text: &str, words: &str) -> bool {
    let is_free = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
    text.match_indices(words)
        .any(|(at, found)| is_free(text[..at].chars().next_back()) && is_free(text[at + found.len()..].chars().next()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::{Lane, LaneId};
    use crate::time::SimTime;

    fn told(words: Option<&str>, tags: &[Tag]) -> String {
        let lane = Lane { process: "broker-1".into(), owner: "wal".into() };
        let entry = Entry {
            event: 7,
            at: SimTime(1_234_567_890),
            lane: LaneId(0),
            kind: EntryKind::Input,
            text: "Mail(Append([Append { stream: StreamId(7) }]))".into(),
            words: words.map(Into::into),
            cause: None,
            besides: Vec::new(),
            tags: Vec::new(),
        };
        line(&Recording { lanes: vec![lane], ..Recording::default() }, &entry, tags)
    }

    #[test]
    fn a_line_says_it_in_words_and_adds_what_they_leave_out() {
        let tags = [
            Tag::number("op", 3),
            Tag::number("stream", 7),
            Tag::name("partition", "orders-3"),
            Tag::range("offset", 1, 2),
            Tag::range("lsn", 0, 512),
            Tag::name("batch", "c0ffee"),
        ];
        let line = told(Some("gets 1 batch to append: orders-3 offset 15"), &tags);
        let expected = "       7   1.234567s broker-1/wal         < gets 1 batch to append: orders-3 offset 15  [offset 1, \
                        LSN 0 to 511, batch c0ffee]";
        assert_eq!(line, expected);
    }

    #[test]
    fn what_has_no_words_says_what_it_says_of_itself() {
        assert!(told(None, &[]).ends_with("< Mail(Append([Append { stream: StreamId(7) }]))"));
        let long = told(Some(&"é".repeat(1_000)), &[]);
        assert!(long.chars().count() < 320 && long.ends_with('…'), "{long}");
    }
}
