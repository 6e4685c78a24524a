//! The places in the words of an entry, which are filled later.
//!
//! ```text
//!   gets 2 durable batches⟨sender⟩: ⟨stream=7⟩ offset 15       as a machine's input says it
//!   gets 2 durable batches from the wal: ⟨stream=7⟩ offset 15  as it is recorded: why it happened is known by then
//!   gets 2 durable batches from the wal: orders-3 offset 15    when the run is over, and all names are known
//! ```

use super::{Tag, TagValue};
use std::collections::BTreeMap;

/// Where an input says who sent it, as ` from the shard`; empty if nobody else did.
pub const SENDER: &str = "⟨sender⟩";

/// Where an input that ends an operation says what was asked for, as ` to delete object 7`: what follows the first ` to `
/// in the words of the effect that asked. Empty if there is none.
pub const ASKED: &str = "⟨asked⟩";

/// Where something stands that may have a name: that of its alias, or else the tag's key and value. See
/// [`World::alias`](crate::exec::World::alias).
#[must_use]
pub fn name_of(tag: &Tag) -> String {
    format!("⟨{tag}⟩")
}

/// Fills the places of what has one number here, and a name that both ends of a connection know: these tags have both.
pub(crate) fn with_numbered(words: String, tags: &[Tag]) -> String {
    let (number, name) = Tag::NUMBERED;
    let mut words = words;
    for pair in tags.windows(2).filter(|pair| pair[0].key == number && pair[1].key == name) {
        words = words.replace(&name_of(&pair[0]), &pair[1].in_words());
    }
    words
}

/// Fills the places that stand for why something happened.
pub(crate) fn with_cause(words: String, sender: Option<&str>, cause: Option<&str>) -> String {
    let mut words = words;
    if words.contains(SENDER) {
        words = words.replace(SENDER, &sender.map_or_else(String::new, |sender| format!(" from {sender}")));
    }
    if words.contains(ASKED) {
        let asked = cause.and_then(|cause| cause.find(" to ").map(|at| &cause[at..]));
        words = words.replace(ASKED, asked.unwrap_or_default());
    }
    words
}

/// The names of what has a number in most places.
pub(crate) struct Names<'a>(BTreeMap<String, &'a str>);

impl<'a> Names<'a> {
    pub(crate) fn of(aliases: &'a BTreeMap<Tag, Tag>) -> Self {
        let named = |(tag, alias): (&Tag, &'a Tag)| match &alias.value {
            TagValue::Name(name) => Some((tag.to_string(), &**name)),
            TagValue::Range(..) => None,
        };
        Self(aliases.iter().filter_map(named).collect())
    }

    /// Fills the places of names. A client's text that looks like one stays as it is, but for its brackets.
    pub(crate) fn fill(&self, words: &mut String) {
        if !words.contains('⟨') {
            return;
        }
        let mut filled = String::with_capacity(words.len());
        let mut rest = words.as_str();
        while let Some((before, inside, after)) = place(rest) {
            filled.push_str(before);
            match self.0.get(inside) {
                Some(name) => filled.push_str(name),
                None => filled.push_str(&inside.replacen('=', " ", 1)),
            }
            rest = after;
        }
        filled.push_str(rest);
        *words = filled;
    }
}

/// What is before the first place, in it, and behind it.
fn place(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once('⟨')?;
    let (inside, after) = rest.split_once('⟩')?;
    Some((before, inside, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled() {
        let aliases = BTreeMap::from([(Tag::number("stream", 7), Tag::name("partition", "orders-3"))]);
        let names = Names::of(&aliases);
        let filled = |words: String, sender, cause| {
            let mut words = with_cause(words, sender, cause);
            names.fill(&mut words);
            words
        };
        let stream = |number| name_of(&Tag::number("stream", number));
        let gets = format!("gets {} and {}{SENDER}", stream(7), stream(8));
        assert_eq!(filled(gets.clone(), Some("the wal"), None), "gets orders-3 and stream 8 from the wal");
        assert_eq!(filled(gets, None, None), "gets orders-3 and stream 8");
        let ended = format!("its request{ASKED} is done");
        let asked = Some("asks the store to delete object 7 to save space");
        assert_eq!(filled(ended.clone(), None, asked), "its request to delete object 7 to save space is done");
        assert_eq!(filled(ended, None, None), "its request is done");
        assert_eq!(filled("hostile ⟨ and ⟩⟨".into(), None, None), "hostile  and ⟨");
    }
}
