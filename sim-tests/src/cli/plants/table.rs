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

    fn markdown(&self) -> String {
        let Self { plant, outcome, shrunk } = self;
        let found_by: Vec<String> = outcome.invariants().iter().map(|name| format!("`{name}`")).collect();
        let found_by = if found_by.is_empty() { "–".into() } else { found_by.join(", ") };
        let (median, worst) = outcome.seeds();
        let (median, worst) = (or_dash(median), or_dash(worst));
        let took = or_dash(outcome.took().map(|took| format!("{:.1}", took.as_secs_f64())));
        let shrunk = shrunk.as_ref().map_or("– | – | –".into(), |Shrunk { before, after, took }| {
            format!("{before} | {after} | {:.1}", took.as_secs_f64())
        });
        format!("| `{}` | {} | {found_by} | {median} | {worst} | {took} | {shrunk} |\n", plant.name, plant.breaks)
    }
}

/// The heading of [`Row::line`]s.
pub(super) fn heading() -> String {
    format!("{:<11} {:<36} {:>6} {:>6} {:>7}  invariant", "", "plant", "median", "worst", "seconds")
}

/// Writes the table in Markdown: into its place in a document, or as a file of its own. Rows of other plants stay as they
/// are, as long as there is such a plant.
pub(super) fn write_markdown(path: &Path, rows: &[Row], is_plant: &dyn Fn(&str) -> bool) -> io::Result<()> {
    let text = match fs::read_to_string(path) {
        Ok(document) => match parts(&document) {
            Some((before, table, after)) => {
                format!("{before}{BEGIN}{}{END}{after}", markdown(rows, table, is_plant))
            }
            None => markdown(rows, "", is_plant),
        },
        Err(_) => markdown(rows, "", is_plant),
    };
    fs::write(path, text)
}

/// What is before the table, the table, and what is behind it.
fn parts(document: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = document.split_once(BEGIN)?;
    let (table, after) = rest.split_once(END)?;
    Some((before, table, after))
}

const COLUMNS: usize = 9;

/// The table with these rows, each in the place that it had before, if it had one.
fn markdown(rows: &[Row], before: &str, is_plant: &dyn Fn(&str) -> bool) -> String {
    let mut out = "| plant | what it breaks | found by | seeds | worst | seconds | shrunk from | to | seconds |\n\
                   |---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    let mut left: Vec<&Row> = rows.iter().collect();
    for line in before.lines() {
        let Some(name) = plant_of(line).filter(|name| is_plant(name)) else { continue };
        match left.iter().position(|row| row.plant.name == name) {
            Some(at) => out += &left.remove(at).markdown(),
            None => {
                out += line;
                (line.matches('|').count() - 1..COLUMNS).for_each(|_| out += " – |");
                out.push('\n');
            }
        }
    }
    out.extend(left.iter().map(|row| row.markdown()));
    out
}

/// The plant that a line of the table is of.
fn plant_of(line: &str) -> Option<&str> {
    line.strip_prefix("| `")?.split_once("` |").map(|(name, _)| name)
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or("–".into(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_take_the_places_of_those_before_and_nothing_else_changes() {
        let document =
            format!("# Plants\n{BEGIN}| `a` | x | `y` | 1 | 2 | 3 |\n| `b` | old |\n| `gone` |\n{END}the end\n");
        let path = std::env::temp_dir().join(format!("karst-table-{}", std::process::id()));
        fs::write(&path, document).expect("written");
        let row = |name: &str| Row {
            plant: Plant { name: name.into(), breaks: "It breaks.".into(), ..Plant::default() },
            outcome: Outcome::Tried(vec![None]),
            shrunk: None,
        };
        write_markdown(&path, &[row("new"), row("b")], &|name| name != "gone").expect("written");
        let text = fs::read_to_string(&path).expect("read");
        fs::remove_file(&path).expect("it is there");
        assert!(text.starts_with("# Plants\n") && text.ends_with("the end\n"), "{text}");
        let (_, table, _) = parts(&text).expect("it has its place");
        let rows: Vec<&str> = table.lines().skip(2).collect();
        let expected = [
            "| `a` | x | `y` | 1 | 2 | 3 | – | – | – |",
            "| `b` | It breaks. | – | – | – | – | – | – | – |",
            "| `new` | It breaks. | – | – | – | – | – | – | – |",
        ];
        assert_eq!(rows, expected);
    }
}
