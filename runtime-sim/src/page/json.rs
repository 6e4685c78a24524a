//! JSON that may stand inside a page.

use core::fmt::Write;

/// The largest number that JavaScript counts to without gaps.
const EXACT: u64 = (1 << 53) - 1;

/// Appends a string. No `<` is left in it, so that nothing inside can end the element that holds the data.
pub(super) fn string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '<' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Appends a number; as a string, if JavaScript would round it.
pub(super) fn number(out: &mut String, number: u64) {
    let _ = if number <= EXACT { write!(out, "{number}") } else { write!(out, "\"{number}\"") };
}

/// Appends an array, each element by `write`.
pub(super) fn array<T>(out: &mut String, items: impl IntoIterator<Item = T>, mut write: impl FnMut(&mut String, T)) {
    out.push('[');
    for (n, item) in items.into_iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        write(out, item);
    }
    out.push(']');
}

/// Appends an array of numbers.
pub(super) fn numbers(out: &mut String, items: impl IntoIterator<Item = u64>) {
    array(out, items, number);
}

/// A name, and what appends its value.
pub(super) type Field<'a> = (&'a str, &'a mut dyn FnMut(&mut String));

/// Appends an object, field by field.
pub(super) fn object(out: &mut String, fields: &mut [Field<'_>]) {
    out.push('{');
    for (n, (name, write)) in fields.iter_mut().enumerate() {
        if n > 0 {
            out.push(',');
        }
        string(out, name);
        out.push(':');
        write(out);
    }
    out.push('}');
}

/// Text for the page's markup itself.
pub(super) fn markup(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_the_element_or_the_string() {
        let mut out = String::new();
        string(&mut out, "</script><b>\"\\\n\u{2028}é");
        assert_eq!(out, r#""\u003c/script>\u003cb>\"\\\u000a\u2028é""#);
    }

    #[test]
    fn large_numbers_are_strings() {
        let mut out = String::new();
        numbers(&mut out, [0, EXACT, EXACT + 1, u64::MAX]);
        assert_eq!(out, r#"[0,9007199254740991,"9007199254740992","18446744073709551615"]"#);
    }

    #[test]
    fn markup_is_text() {
        assert_eq!(markup("a<b>&c"), "a&lt;b&gt;&amp;c");
    }
}
