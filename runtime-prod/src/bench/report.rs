//! Figures, and the two forms in which they are written.

use std::fmt::Write;

/// What a benchmark found.
#[derive(Debug, Default)]
pub(super) struct Report {
    benchmark: &'static str,
    sections: Vec<Section>,
}

#[derive(Debug)]
struct Section {
    title: String,
    figures: Vec<Figure>,
    notes: Vec<String>,
}

#[derive(Debug)]
struct Figure {
    /// For programs: stable.
    key: String,
    /// For people.
    what: String,
    value: f64,
    unit: Unit,
}

/// What a figure counts.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unit {
    /// Millionths of a second.
    Micros,
    /// Billionths of a second.
    Nanos,
    /// 10^6 bytes a second.
    Megabytes,
    /// Processors kept busy: seconds of processor time per second.
    Processors,
    /// One figure through another.
    Ratio,
    /// How many.
    Count,
}

impl Unit {
    const fn name(self) -> &'static str {
        match self {
            Self::Micros => "us",
            Self::Nanos => "ns",
            Self::Megabytes => "MB/s",
            Self::Processors => "CPUs",
            Self::Ratio | Self::Count => "",
        }
    }

    const fn decimals(self) -> usize {
        match self {
            Self::Micros | Self::Megabytes => 1,
            Self::Nanos | Self::Count => 0,
            Self::Processors | Self::Ratio => 2,
        }
    }
}

impl Report {
    pub(super) const fn new(benchmark: &'static str) -> Self {
        Self { benchmark, sections: Vec::new() }
    }

    /// Begins a section; what is added from now on belongs to it.
    pub(super) fn section(&mut self, title: impl Into<String>) {
        self.sections.push(Section { title: title.into(), figures: Vec::new(), notes: Vec::new() });
    }

    /// Adds a figure.
    pub(super) fn add(&mut self, key: impl Into<String>, what: impl Into<String>, value: f64, unit: Unit) {
        let figure = Figure { key: key.into(), what: what.into(), value, unit };
        self.last().figures.push(figure);
    }

    /// Adds a remark.
    pub(super) fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        self.last().notes.push(note);
    }

    fn last(&mut self) -> &mut Section {
        self.sections.last_mut().expect("figures come after a section's title")
    }

    pub(super) fn table(&self) -> String {
        let figures = || self.sections.iter().flat_map(|section| &section.figures);
        let width = figures().map(|figure| figure.what.chars().count()).max().unwrap_or(0);
        let mut out = String::new();
        for Section { title, figures, notes } in &self.sections {
            let _ = writeln!(out, "{title}");
            for Figure { what, value, unit, .. } in figures {
                let (decimals, unit) = (unit.decimals(), unit.name());
                let line = format!("  {what:<width$}  {value:>12.decimals$} {unit}");
                let _ = writeln!(out, "{}", line.trim_end());
            }
            for note in notes {
                let _ = writeln!(out, "  note: {note}");
            }
            out.push('\n');
        }
        out
    }

    pub(super) fn json(&self) -> String {
        let figures = self.sections.iter().flat_map(|section| &section.figures).map(|figure| {
            let Figure { key, what, value, unit } = figure;
            // JSON has no word for what is not a number.
            let value = if value.is_finite() { format!("{value:.3}") } else { "null".into() };
            let (what, unit) = (quoted(what), unit.name());
            format!("    {{\"key\": \"{key}\", \"value\": {value}, \"unit\": \"{unit}\", \"what\": {what}}}")
        });
        let notes = self.sections.iter().flat_map(|section| &section.notes).map(|note| format!("    {}", quoted(note)));
        format!(
            "{{\n  \"benchmark\": \"{}\",\n  \"figures\": [\n{}\n  ],\n  \"notes\": [\n{}\n  ]\n}}\n",
            self.benchmark,
            figures.collect::<Vec<_>>().join(",\n"),
            notes.collect::<Vec<_>>().join(",\n"),
        )
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Report {
        let mut report = Report::new("disk");
        report.section("one");
        report.add("a", "short", 1.25, Unit::Micros);
        report.add("b", "rather longer", 2.0, Unit::Ratio);
        report.note("a \"remark\"");
        report
    }

    #[test]
    fn columns_are_aligned() {
        let expected = "one\n  short                   1.2 us\n  rather longer          2.00\n  note: a \"remark\"\n\n";
        assert_eq!(sample().table(), expected);
    }

    #[test]
    fn json_has_keys_and_escapes() {
        let json = sample().json();
        assert!(json.contains(r#"{"key": "a", "value": 1.250, "unit": "us", "what": "short"},"#), "{json}");
        assert!(json.contains(r#""a \"remark\"""#), "{json}");
    }
}
