//! Draws a [`Recording`] as one page that explains itself: no network, no other files, any browser.
//!
//! ```text
//!   Recording ──► chain  what led to the failure, in some sentences
//!       │           │
//!       └──► data ◄─┘    columns of numbers and a table of strings, as JSON inside the page
//!              │
//!     page.html, page.css and the scripts: decode it, lay out lanes, draw on canvases
//! ```
//! It knows lanes, causes and tags, and nothing of what was simulated. All texts of a run, a client's bytes among them,
//! are data to the page: they are escaped here, and the scripts show them as text only.

mod chain;
mod data;
mod json;
mod milestones;
mod sentence;
mod words;

#[cfg(test)]
mod tests;

pub use chain::{Step, StepKind, chain};

use crate::experiment::{Experiment, Look};
use crate::plan::Plan;
use crate::recording::Recording;
use crate::time::SimTime;

/// What the page says about the run besides what was recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heading {
    /// Which run it is, such as `seed 42`.
    pub title: String,
    /// The run's trace hash.
    pub hash: u64,
    /// Inputs handled.
    pub events: u64,
    /// When the last of them was.
    pub at: SimTime,
    /// The plan, as text.
    pub plan: String,
    /// The command that runs it again.
    pub command: String,
    /// What a reader of the story has to know: owners and terms, each with a sentence.
    pub glossary: Vec<(&'static str, &'static str)>,
}

/// Entries that a page holds at most: those of about 200,000 events. Of a longer run it shows the end, and the story.
pub const MOST_ENTRIES: usize = 400_000;

const FRAME: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");

/// In the order in which they need each other.
const SCRIPTS: [&str; 16] = [
    include_str!("paint.js"),
    include_str!("model.js"),
    include_str!("view.js"),
    include_str!("layout.js"),
    include_str!("marks.js"),
    include_str!("highlights.js"),
    include_str!("picture.js"),
    include_str!("curves.js"),
    include_str!("overview.js"),
    include_str!("search.js"),
    include_str!("pretty.js"),
    include_str!("panel.js"),
    include_str!("header.js"),
    include_str!("pointers.js"),
    include_str!("selftest.js"),
    include_str!("main.js"),
];

/// The page. `story` is told beside the picture and numbered in it, see [`chain`].
#[must_use]
pub fn html(recording: &Recording, heading: &Heading, story: &[Step]) -> String {
    let first = recording.entries.len().saturating_sub(MOST_ENTRIES);
    let data = data::encode(recording, heading, story, first);
    let scripts = SCRIPTS.join("\n");
    fill(FRAME, &[("title", &json::markup(&heading.title)), ("style", STYLE), ("data", &data), ("script", &scripts)])
}

/// Runs a plan with everything recorded, and draws it.
#[must_use]
pub fn explain(experiment: &dyn Experiment, plan: &Plan, title: &str) -> String {
    let run = experiment.run(plan, &Look::EVERYTHING);
    let recording = run.recording.unwrap_or_default();
    let plan = experiment.vocabulary().to_annotated_text(plan, title);
    let (title, command) = (title.to_owned(), String::new());
    let heading = Heading { title, hash: run.hash, events: run.events, at: run.at, plan, command, glossary: vec![] };
    html(&recording, &heading, &chain(&recording))
}

/// Puts each value in its place. The places are looked for in the frame only, never in a value.
fn fill(frame: &str, values: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(frame.len() + values.iter().map(|(_, value)| value.len()).sum::<usize>());
    let mut rest = frame;
    for (name, value) in values {
        let (before, after) = rest.split_once(&format!("{{{{{name}}}}}")).expect("the frame has each place, in order");
        out.push_str(before);
        out.push_str(value);
        rest = after;
    }
    out.push_str(rest);
    out
}
