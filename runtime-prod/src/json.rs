//! As much of JSON as is written here.

use std::fmt::{Display, Write};

/// An object that grows.
#[derive(Debug, Default)]
pub(crate) struct Object(String);

impl Object {
    /// A text, escaped.
    pub(crate) fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        quote(&mut self.0, value);
    }

    /// A number.
    pub(crate) fn number(&mut self, name: &str, value: impl Into<i128>) {
        let value: i128 = value.into();
        self.put(name, &value);
    }

    /// True or false.
    pub(crate) fn truth(&mut self, name: &str, value: bool) {
        self.put(name, &value);
    }

    /// Another object.
    pub(crate) fn object(&mut self, name: &str, value: Self) {
        self.put(name, &value.end());
    }

    /// A list.
    pub(crate) fn list(&mut self, name: &str, value: List) {
        self.put(name, &value.0);
    }

    /// All of it.
    pub(crate) fn end(self) -> String {
        if self.0.is_empty() { "{}".into() } else { self.0 + "}" }
    }

    fn put(&mut self, name: &str, value: &dyn Display) {
        self.name(name);
        // Writing to a text can't fail.
        let _ = write!(self.0, "{value}");
    }

    fn name(&mut self, name: &str) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        quote(&mut self.0, name);
        self.0.push(':');
    }
}

/// A list, complete.
#[derive(Debug)]
pub(crate) struct List(String);

impl List {
    /// Of objects.
    pub(crate) fn objects(objects: impl Iterator<Item = Object>) -> Self {
        Self(format!("[{}]", objects.map(Object::end).collect::<Vec<_>>().join(",")))
    }

    /// Of texts, escaped.
    pub(crate) fn texts(texts: &[String]) -> Self {
        let quoted = texts.iter().map(|text| {
            let mut out = String::new();
            quote(&mut out, text);
            out
        });
        Self(format!("[{}]", quoted.collect::<Vec<_>>().join(",")))
    }
}

fn quote(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_nest_and_texts_are_escaped() {
        let (mut outer, mut inner) = (Object::default(), Object::default());
        inner.number("n", u64::MAX);
        inner.truth("t", false);
        outer.text("a\"", "\\\t\u{7f}\u{e9}");
        outer.object("o", inner);
        outer.object("e", Object::default());
        assert_eq!(
            outer.end(),
            "{\"a\\\"\":\"\\\\\\u0009\\u007f\u{e9}\",\"o\":{\"n\":18446744073709551615,\"t\":false},\"e\":{}}"
        );
    }
}
