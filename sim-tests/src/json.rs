//! As much of JSON (RFC 8259) as is written here.

use std::fmt::{Display, Write};

/// A string.
pub(crate) fn text(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// An object; the values are JSON already.
pub(crate) fn object<K: AsRef<str>, V: Display>(fields: impl IntoIterator<Item = (K, V)>) -> String {
    let fields: Vec<String> =
        fields.into_iter().map(|(name, value)| format!("{}:{value}", text(name.as_ref()))).collect();
    format!("{{{}}}", fields.join(","))
}

/// An array; the values are JSON already.
pub(crate) fn array<V: Display>(values: impl IntoIterator<Item = V>) -> String {
    let values: Vec<String> = values.into_iter().map(|value| value.to_string()).collect();
    format!("[{}]", values.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_and_quotes_are_escaped() {
        assert_eq!(text("a\"b\\c\n\0"), "\"a\\\"b\\\\c\\u000a\\u0000\"");
        assert_eq!(object([("a", array([1, 2])), ("b", text("c"))]), "{\"a\":[1,2],\"b\":\"c\"}");
    }
}
