//! A configuration file: TOML, of which only tables, numbers, texts, `true` and `false` are of use.

use super::UsageError;
use std::path::Path;
use toml::de::{DeTable, DeValue};

/// One key of a file, and its value as it would be written elsewhere.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// With the names of the tables around it, separated by dots.
    pub(super) name: String,
    pub(super) value: Result<String, String>,
    /// From 1.
    pub(super) line: usize,
}

/// All that a file says, in the order of its lines.
pub(super) fn read(path: &Path) -> Result<Vec<Entry>, UsageError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| UsageError(format!("the configuration file {} cannot be read: {error}", path.display())))?;
    parse(&text).map_err(|(line, what)| UsageError(format!("{}, line {line}: {what}", path.display())))
}

/// A mistake comes with its line.
fn parse(text: &str) -> Result<Vec<Entry>, (usize, String)> {
    let line = |at: usize| 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count();
    let table = DeTable::parse(text).map_err(|error| {
        // Only the message: the place that the error would show may hold a secret.
        (line(error.span().map_or(0, |span| span.start)), format!("not TOML: {}", error.message()))
    })?;
    let mut entries = Vec::new();
    flatten("", table.get_ref(), &line, &mut entries);
    entries.sort_by_key(|entry| entry.line);
    Ok(entries)
}

fn flatten(prefix: &str, table: &DeTable<'_>, line: &impl Fn(usize) -> usize, into: &mut Vec<Entry>) {
    for (key, value) in table {
        let name = if prefix.is_empty() { key.get_ref().to_string() } else { format!("{prefix}.{}", key.get_ref()) };
        match value.get_ref() {
            DeValue::Table(inner) => flatten(&name, inner, line, into),
            other => into.push(Entry { name, value: plain(other), line: line(key.span().start) }),
        }
    }
}

fn plain(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Boolean(is) => Ok(is.to_string()),
        DeValue::Integer(number) => {
            let read = i128::from_str_radix(number.as_str(), number.radix());
            read.map(|number| number.to_string()).map_err(|_| "is a number beyond all bounds".into())
        }
        other => Err(format!("is {}: a number, a text in quotes, true or false is wanted", article(other.type_str()))),
    }
}

fn article(kind: &str) -> String {
    format!("{} {kind}", if kind.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, value: &str, line: usize) -> Entry {
        Entry { name: name.into(), value: Ok(value.into()), line }
    }

    #[test]
    fn tables_and_dotted_names_are_the_same() {
        let text = "# a remark\nwal.size = \"1GiB\"\n\"node.id\" = 0x1_0\n[message]\nmax.bytes = 2_000\n[check]\n\ninvariants = true";
        let expected = [
            entry("wal.size", "1GiB", 2),
            entry("node.id", "16", 3),
            entry("message.max.bytes", "2000", 5),
            entry("check.invariants", "true", 8),
        ];
        assert_eq!(parse(text).expect("legal"), expected);
        assert_eq!(parse(""), Ok(vec![]));
    }

    #[test]
    fn mistakes_have_a_line() {
        for (text, line, named) in [
            ("a = 1\nb = [", 2, "not TOML"),
            ("a = 1\n\na = 2", 3, "not TOML: duplicate key"),
            ("s3.secret.access.key = \"hush\nx = 1", 1, "not TOML"),
        ] {
            let (at, what) = parse(text).expect_err(text);
            assert_eq!(at, line, "{text}: {what}");
            assert!(what.contains(named) && !what.contains("hush"), "{text}: {what}");
        }
        for (text, named) in [
            ("a = 1.5", "is a float"),
            ("a = [1]", "is an array"),
            ("a = 1979-05-27", "is a datetime"),
            ("a = 999999999999999999999999999999999999999999", "beyond all bounds"),
        ] {
            let found = parse(text).expect("TOML").remove(0).value.expect_err(text);
            assert!(found.contains(named), "{found}");
        }
    }
}
