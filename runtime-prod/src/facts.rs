//! What a command found out, told to people as lines or to programs as JSON.

use crate::json::{List, Object};
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use karst_core::machine::WallTime;
use std::fmt::{Display, Write};

/// Named facts, in the order in which they are told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts(Vec<(&'static str, Fact)>);

#[derive(Clone, Debug)]
enum Fact {
    Text(String),
    Number(i128),
    Bytes(u64),
    Truth(bool),
    Time(WallTime),
    Texts(Vec<String>),
    Part(Facts),
    Parts(Vec<Facts>),
}

impl Facts {
    /// A text.
    pub(crate) fn text(&mut self, name: &'static str, value: impl Display) {
        self.0.push((name, Fact::Text(value.to_string())));
    }

    /// A number.
    pub(crate) fn number(&mut self, name: &'static str, value: impl Into<i128>) {
        self.0.push((name, Fact::Number(value.into())));
    }

    /// How many there are.
    pub(crate) fn count(&mut self, name: &'static str, value: usize) {
        self.number(name, value as u64);
    }

    /// A length in bytes.
    pub(crate) fn bytes(&mut self, name: &'static str, value: u64) {
        self.0.push((name, Fact::Bytes(value)));
    }

    /// Whether it is so.
    pub(crate) fn truth(&mut self, name: &'static str, value: bool) {
        self.0.push((name, Fact::Truth(value)));
    }

    /// A time; in JSON the milliseconds since 1970.
    pub(crate) fn time(&mut self, name: &'static str, value: WallTime) {
        self.0.push((name, Fact::Time(value)));
    }

    /// Some texts, told if there are any; always there in JSON.
    pub(crate) fn texts(&mut self, name: &'static str, values: Vec<String>) {
        self.0.push((name, Fact::Texts(values)));
    }

    /// Facts about a part of it.
    pub(crate) fn part(&mut self, name: &'static str, part: Self) {
        self.0.push((name, Fact::Part(part)));
    }

    /// Facts about many parts of one kind.
    pub(crate) fn parts(&mut self, name: &'static str, parts: Vec<Self>) {
        self.0.push((name, Fact::Parts(parts)));
    }

    /// As one line of JSON.
    pub(crate) fn json(&self) -> String {
        self.object().end() + "\n"
    }

    /// As lines for people.
    pub(crate) fn lines(&self) -> String {
        let mut out = String::new();
        self.write(0, &mut out);
        out
    }

    fn object(&self) -> Object {
        let mut object = Object::default();
        for (name, fact) in &self.0 {
            match fact {
                Fact::Text(text) => object.text(name, text),
                Fact::Number(number) => object.number(name, *number),
                Fact::Bytes(bytes) => object.number(name, *bytes),
                Fact::Truth(truth) => object.truth(name, *truth),
                Fact::Time(time) => object.number(name, time.0),
                Fact::Texts(texts) => object.list(name, List::texts(texts)),
                Fact::Part(part) => object.object(name, part.object()),
                Fact::Parts(parts) => object.list(name, List::objects(parts.iter().map(Self::object))),
            }
        }
        object
    }

    fn write(&self, depth: usize, out: &mut String) {
        let margin = 2 * depth;
        for (name, fact) in &self.0 {
            let name = name.replace('_', " ");
            // Writing to a text can't fail.
            let _ = match (fact, fact.on_a_line()) {
                (_, Some(text)) => writeln!(out, "{:margin$}{name:<22} {text}", ""),
                (Fact::Texts(texts), None) => {
                    texts.iter().try_for_each(|text| writeln!(out, "{:margin$}{name}: {text}", ""))
                }
                (Fact::Part(part), None) => {
                    let written = writeln!(out, "{:margin$}{name}", "");
                    part.write(depth + 1, out);
                    written
                }
                (Fact::Parts(parts), None) => {
                    let written = writeln!(out, "{:margin$}{name}: {}", "", parts.len());
                    parts.iter().for_each(|part| part.write_as_item(depth + 1, out));
                    written
                }
                (_, None) => Ok(()),
            };
        }
    }

    /// What fits on a line on one line, the rest below it.
    fn write_as_item(&self, depth: usize, out: &mut String) {
        let (short, long): (Vec<_>, Vec<_>) = self.0.iter().cloned().partition(|(_, fact)| fact.on_a_line().is_some());
        let words = short
            .iter()
            .map(|(name, fact)| format!("{} {}", name.replace('_', " "), fact.on_a_line().unwrap_or_default()));
        let line = words.collect::<Vec<_>>().join(", ");
        let _ = writeln!(out, "{:width$}{line}", "", width = 2 * depth);
        Self(long).write(depth + 1, out);
    }
}

impl Fact {
    fn on_a_line(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::Number(number) => Some(number.to_string()),
            Self::Bytes(bytes) => Some(size(*bytes)),
            Self::Truth(truth) => Some(if *truth { "yes" } else { "no" }.into()),
            Self::Time(time) => Some(utc(*time)),
            Self::Texts(_) | Self::Part(_) | Self::Parts(_) => None,
        }
    }
}

/// Bytes for people, exact where they are few.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut scaled = bytes as f64 / 1024.0;
    let mut unit = 0;
    while scaled >= 1023.95 && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    format!("{scaled:.1} {}", UNITS[unit])
}

/// A time for people.
pub(crate) fn utc(time: WallTime) -> String {
    let text = DateTime::from_millis(time.0).fmt(DateTimeFormat::DateTime);
    // Times that clients made up may lie beyond every calendar.
    text.unwrap_or_else(|_| format!("{} ms since 1970", time.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        let (mut all, mut part, mut one) = (Facts::default(), Facts::default(), Facts::default());
        all.text("cluster", "c\"1");
        all.bytes("bytes", 1536);
        all.time("at", WallTime(1_700_000_000_123));
        all.texts("flaws", vec!["a is missing".into(), "b, too".into()]);
        part.number("stream", 7);
        part.truth("open", true);
        one.count("streams", 1);
        one.parts("stream_list", vec![part]);
        all.part("whole", one);
        all
    }

    #[test]
    fn people_get_lines() {
        assert_eq!(
            facts().lines(),
            "cluster                c\"1\n\
             bytes                  1.5 KiB\n\
             at                     2023-11-14T22:13:20.123Z\n\
             flaws: a is missing\n\
             flaws: b, too\n\
             whole\n  streams                1\n  stream list: 1\n    stream 7, open yes\n"
        );
    }

    #[test]
    fn programs_get_the_same_as_json() {
        assert_eq!(
            facts().json(),
            "{\"cluster\":\"c\\\"1\",\"bytes\":1536,\"at\":1700000000123,\"flaws\":[\"a is missing\",\"b, too\"],\
             \"whole\":{\"streams\":1,\"stream_list\":[{\"stream\":7,\"open\":true}]}}\n"
        );
        assert_eq!(Facts::default().json(), "{}\n");
    }

    #[test]
    fn sizes_are_rounded_into_the_unit_that_fits() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_048_575, "1.0 MiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16384.0 PiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn times_that_no_calendar_has_are_told_as_they_are() {
        assert_eq!(utc(WallTime(i64::MAX)), format!("{} ms since 1970", i64::MAX));
    }
}
