//! Reading what a failure's message is about.

use crate::recording::{Recording, TagValue};
use std::collections::BTreeSet;

/// What a text names: tags of the recording whose name is one of its words, and numbers behind a tag's key, as in
/// `orders-3: offset 17`, as pairs of key and value.
pub(super) fn named_in(text: &str, recording: &Recording) -> Vec<(&'static str, String)> {
    let mut names = BTreeSet::new();
    let mut keys = BTreeSet::new();
    for tag in recording.entries.iter().flat_map(|entry| &entry.tags) {
        match &tag.value {
            TagValue::Name(name) => drop(names.insert((tag.key, &**name))),
            TagValue::Range(..) => drop(keys.insert(tag.key)),
        }
    }
    let words: Vec<&str> = text.split(|c: char| !is_of_word(c)).filter(|word| !word.is_empty()).collect();
    let mut found: Vec<(&'static str, String)> = Vec::new();
    for (key, name) in names {
        if words.contains(&name) && !found.iter().any(|(other, _)| *other == key) {
            found.push((key, name.into()));
        }
    }
    for pair in words.windows(2) {
        let key = keys.iter().find(|key| pair[0] == **key || pair[0].strip_suffix('s') == Some(**key));
        let digits: String = pair[1].chars().take_while(char::is_ascii_digit).collect();
        if let Some(key) = key
            && !digits.is_empty()
            && !found.iter().any(|(other, _)| other == key)
        {
            found.push((key, digits));
        }
    }
    found
}

/// What may be the last record that a text speaks of: the one before each number in it, the largest first, since a log
/// that ends at 15 has 14.
pub(super) fn ends_in(text: &str) -> impl Iterator<Item = String> {
    let words = text.split(|c: char| !is_of_word(c));
    let mut numbers: Vec<u64> = words.filter_map(|word| word.trim_end_matches('.').parse().ok()).collect();
    numbers.sort_unstable_by(|one, other| other.cmp(one));
    numbers.into_iter().filter_map(|number| number.checked_sub(1)).map(|number| number.to_string())
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || "-_.".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::{Entry, EntryKind, LaneId, Tag};
    use crate::time::SimTime;

    #[test]
    fn an_end_speaks_of_the_record_before_it() {
        let ends = |text| ends_in(text).collect::<Vec<_>>();
        assert_eq!(ends("t3-2-0: the high watermark is 0, but 3 was known."), ["2"]);
        assert_eq!(ends("the log ends at 15, not at 20."), ["19", "14"]);
        assert!(ends("no number here").is_empty());
    }

    #[test]
    fn names_and_numbers_are_recognised_as_whole_words() {
        let tags = vec![
            Tag::name("partition", "orders-3"),
            Tag::name("partition", "orders-31"),
            Tag::number("offset", 4),
            Tag::number("write", 2),
        ];
        let entry = Entry {
            event: 1,
            at: SimTime(1),
            lane: LaneId(0),
            kind: EntryKind::Input,
            text: "x".into(),
            words: None,
            cause: None,
            besides: Vec::new(),
            tags,
        };
        let recording = Recording { entries: vec![entry], ..Recording::default() };
        let named = |text| named_in(text, &recording);
        assert_eq!(
            named("orders-31: offsets 17..20 are gone"),
            [("partition", "orders-31".into()), ("offset", "17".into())]
        );
        assert_eq!(named("orders-3: write 9 acked at offset 5").len(), 3);
        assert!(named("orders: nothing at offset all, reoffset 9").is_empty());
    }
}
