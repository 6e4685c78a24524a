//! What came of the plants, as a table.

use super::found::Outcome;
use super::patch::Plant;
use super::shrunk::Shrunk;
use std::fmt::Write;
use std::fs;
use std::io;
use std::path::Path;

/// One plant's row.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) plant: Plant,
    pub(super) outcome: Outcome,
    pub(super) shrunk: Option<Shrunk>,
}

/// In a document, the table stands between these.
const BEGIN: &str = "<!-- The table is written by `karst-sim plants --markdown`. -->\n";
const END: &str = "<!-- End of the table. -->\n";

impl Row {
    /// For a terminal.
    pub(super) fn line(&self) -> String {
        let verdict = self.outcome.complaint(&self.plant).unwrap_or("found");
        let (median, worst) = self.outcome.seeds();
        let mut line = format!(
            "{verdict:<11} {:<36} {:>6} {:>6} {:>7}  {}",
            self.plant.name,
            or_dash(median),
            or_dash(worst),
            or_dash(self.outcome.took().map(|took| format!("{:.1}", took.as_secs_f64()))),
            self.outcome.invariants().join(", "),
        );
        if let Some(shrunk) = &self.shrunk {
            let _ = write!(line, "\n            {shrunk}");
        }
        if let Outcome::Broken(why) = &self.outcome {
            let _ = write!(line, "\n{why}");
        }
        line
    }
}

/// The heading of [`Row::line`]s.
pub(super) fn heading() -> String {
    format!("{:<11} {:<36} {:>6} {:>6} {:>7}  invariant", "", "plant", "median", "worst", "seconds")
}

/// Writes the table in Markdown: into its place in a document, or as a file of its own.
pub(super) fn write_markdown(path: &Path, rows: &[Row]) -> io::Result<()> {
    let table = markdown(rows);
    let text = match fs::read_to_string(path) {
        Ok(document) => into_place(&document, &table).unwrap_or(table),
        Err(_) => table,
    };
    fs::write(path, text)
}

fn into_place(document: &str, table: &str) -> Option<String> {
    let (before, rest) = document.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{table}{END}{after}"))
}

fn markdown(rows: &[Row]) -> String {
    let is_shrunk = rows.iter().any(|row| row.shrunk.is_some());
    let more = if is_shrunk { [" shrunk from | to | seconds |", "---|---|---|"] } else { [""; 2] };
    let mut out = format!("| plant | what it breaks | found by | seeds | worst | seconds |{}\n", more[0]);
    let _ = writeln!(out, "|---|---|---|---|---|---|{}", more[1]);
    for Row { plant, outcome, shrunk } in rows {
        let found_by: Vec<String> = outcome.invariants().iter().map(|name| format!("`{name}`")).collect();
        let found_by = if found_by.is_empty() { "–".into() } else { found_by.join(", ") };
        let (median, worst) = outcome.seeds();
        let (median, worst) = (or_dash(median), or_dash(worst));
        let took = or_dash(outcome.took().map(|took| format!("{:.1}", took.as_secs_f64())));
        let _ = write!(out, "| `{}` | {} | {found_by} | {median} | {worst} | {took} |", plant.name, plant.breaks);
        match shrunk {
            Some(Shrunk { before, after, took }) => {
                let _ = write!(out, " {before} | {after} | {:.1} |", took.as_secs_f64());
            }
            None if is_shrunk => out += " – | – | – |",
            None => {}
        }
        out.push('\n');
    }
    out
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or("–".into(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_takes_the_place_of_the_one_before_and_nothing_else() {
        let document = format!("# Plants\n{BEGIN}old\n{END}the end\n");
        assert_eq!(into_place(&document, "new\n"), Some(format!("# Plants\n{BEGIN}new\n{END}the end\n")));
        assert_eq!(into_place("no place for it", "new"), None);
    }
}
