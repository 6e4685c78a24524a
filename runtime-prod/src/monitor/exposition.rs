//! Prometheus's text format, version 0.0.4.

use std::fmt::{Display, Write};

/// The content type of what is written here.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What sort of number a family has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Only grows, but for a restart.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Buckets, sum and count.
    Histogram,
}

/// Families with their samples.
#[derive(Debug, Default)]
pub(crate) struct Text(String);

impl Text {
    /// Begins a family. Its samples follow.
    pub(crate) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        debug_assert!(!help.contains(['\n', '\\']), "help is one plain line");
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// A sample of the family that was begun last.
    pub(crate) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            self.0.push(if at == 0 { '{' } else { ',' });
            let _ = write!(self.0, "{label}=\"");
            for c in text.chars() {
                match c {
                    '"' | '\\' => self.0.extend(['\\', c]),
                    '\n' => self.0.push_str("\\n"),
                    c => self.0.push(c),
                }
            }
            self.0.push('"');
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    /// A family with one sample.
    pub(crate) fn single(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    /// All of it.
    pub(crate) fn end(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut text = Text::default();
        text.single("a", Kind::Gauge, "Of what.", 1);
        text.family("b_total", Kind::Counter, "Of something else.");
        text.sample("b_total", &[("x", "a\"\\\n"), ("y", "")], 2);
        let expected = "# HELP a Of what.\n# TYPE a gauge\na 1\n# HELP b_total Of something else.\n\
                        # TYPE b_total counter\nb_total{x=\"a\\\"\\\\\\n\",y=\"\"} 2\n";
        assert_eq!(text.end(), expected);
    }
}
