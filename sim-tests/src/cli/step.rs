//! `karst-sim replay --step` and `--state`: a run stopped at an event, and what the machines are like there.
//!
//! ```text
//!   > to 4711                  every command that moves shows the event at which it stops:
//!       4711   0.031245s broker-1/wal         < hears "done, and durable" to its wish to write a block of 512 bytes ...
//!       4711   0.031245s broker-1/wal         > sends the shard 1 durable batch: orders-3 offsets 15 to 19
//!   > d                        the same with all fields, as the code has them
//!   > s broker-1/wal           the machine as this event left it; what it wants done is not done yet
//!   > s broker-1/wal:phase.log a part of it, in more detail
//! ```

use super::args::UsageError;
use super::follow;
use crate::plan::Plan;
use crate::world::{self, Options, Report};
use karst_runtime_sim::debug_text::Tree;
use karst_runtime_sim::exec::{Point, World};
use karst_runtime_sim::follow::line;
use karst_runtime_sim::recording::{Entry, Record, Recording};
use std::io::{self, BufRead, BufReader, Write};
use std::sync::{Arc, Mutex};

const COMMANDS: &str = "\
move on, and see where:
  n [N]        handle the next event, or N of them (so does an empty line)
  to EVENT     go on to that event, such as 'to 4711'
  lane TEXT    go on to the next event of an owner whose name holds TEXT, such as 'lane broker-1/wal'
  find TEXT    go on to the next event that says TEXT, in words or in code: 'find t1-1-0', 'find Appended'
  c            go on to the end, or to the failure
look around:
  l [N]        the last N events, 10 if not said
  d [EVENT]    an event in detail: every field, as the code has it; the last one if not said
  s NAME[:PATH]  the state of a machine, such as 's broker-1/wal' or 's broker-*/shard'; 's list' has their names.
               Of a large one the deepest parts are folded: 's broker-1/shard:image.topics' unfolds that one, and
               's broker-1/shard:all' shows everything
  f KEY=VALUE[,KEY=VALUE]   follow a thing through what happened so far: 'f partition=t1-1-0,offset=3'
  q            stop the run here
";

/// So many lines of a state are shown unless all are asked for.
const LINES: usize = 60;
/// The path that stands for the whole of a state.
const ALL: &str = "all";

/// Runs a plan under commands from standard input.
pub(super) fn run(plan: Plan, options: Options) -> Report {
    let goal = options.until.map_or(Goal::Ask, Goal::Event);
    let options = Options { record: Record::Everything, until: None, ..options };
    let input = BufReader::new(io::stdin());
    let mut stepper = Stepper { input, out: io::stdout(), goal };
    stepper.begin();
    world::run_watched(plan, options, move |world, point| stepper.see(world, point))
}

/// Runs a plan and shows the machines that match, at the event at which it is to stop, or at its end.
pub(super) fn show_states(plan: Plan, options: Options, pattern: String) -> Result<Report, UsageError> {
    let shown: Arc<Mutex<Option<Result<(), String>>>> = Arc::default();
    let mine = shown.clone();
    let report = world::run_watched(plan, options, move |world, point| {
        let is_there = point == Point::End || options.until == Some(world.events());
        let mut shown = mine.lock().expect("nobody panics while holding it");
        if is_there && shown.is_none() {
            let mut out = io::stdout().lock();
            // Whoever reads this may have seen enough.
            let _ = writeln!(out, "after event {}, at {}", world.events(), world.now());
            *shown = Some(print_states(world, &pattern, &mut out));
        }
    });
    let shown = shown.lock().expect("nobody panics while holding it").take();
    shown.unwrap_or(Ok(())).map_err(UsageError).map(|()| report)
}

/// Reads commands and shows what they ask for.
struct Stepper<R, W> {
    input: R,
    out: W,
    goal: Goal,
}

/// Where to stop next.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Goal {
    /// At once.
    Ask,
    /// After so many events more.
    Steps(u64),
    Event(u64),
    Lane(String),
    Text(String),
    End,
    /// Nowhere: nobody asks any more.
    Never,
}

impl<R: BufRead, W: Write> Stepper<R, W> {
    /// Asks before the first event.
    fn begin(&mut self) {
        if self.goal == Goal::Ask {
            self.say("before the first event; h for help");
            self.ask(None);
        }
    }

    fn see(&mut self, world: &World, point: Point) {
        if self.goal == Goal::Never || (point == Point::Handled && !self.is_reached(world)) {
            return;
        }
        match point {
            Point::Handled => self.show_last(world, 1),
            Point::End => self.say(&format!("the run is over, after event {}", world.events())),
        }
        self.ask(Some(world));
    }

    fn is_reached(&mut self, world: &World) -> bool {
        let event = world.events();
        match &mut self.goal {
            Goal::Ask => true,
            Goal::Steps(left) => {
                *left = left.saturating_sub(1);
                *left == 0
            }
            Goal::Event(goal) => event >= *goal,
            Goal::Lane(text) => any_of_event(world, |recording, entry| {
                let lane = &recording.lanes[entry.lane.0 as usize];
                format!("{}/{}", lane.process, lane.owner).contains(text.as_str())
            }),
            Goal::Text(text) => any_of_event(world, |_, entry| {
                entry.text.contains(text.as_str()) || entry.words.as_ref().is_some_and(|words| words.contains(&**text))
            }),
            Goal::End | Goal::Never => false,
        }
    }

    /// Takes commands until one of them moves.
    fn ask(&mut self, world: Option<&World>) {
        loop {
            self.write("> ");
            let mut command = String::new();
            let is_over = !matches!(self.input.read_line(&mut command), Ok(1..));
            let (word, rest) = command.trim().split_once(' ').unwrap_or((command.trim(), ""));
            self.goal = match (word, rest.trim()) {
                ("q", _) | ("", _) if is_over || word == "q" => {
                    if let Some(world) = world {
                        world.stop_here();
                    }
                    Goal::Never
                }
                ("n" | "", "") => Goal::Steps(1),
                ("n", count) if count.parse().is_ok_and(|count: u64| count > 0) => {
                    Goal::Steps(count.parse().unwrap_or(1))
                }
                ("to", event) if event.parse::<u64>().is_ok() => Goal::Event(event.parse().unwrap_or(0)),
                ("lane", text) if !text.is_empty() => Goal::Lane(text.into()),
                ("find", text) if !text.is_empty() => Goal::Text(text.into()),
                ("c", "") => Goal::End,
                (word, rest) => {
                    self.answer(world, word, rest);
                    continue;
                }
            };
            return;
        }
    }

    /// Commands that do not move.
    fn answer(&mut self, world: Option<&World>, word: &str, rest: &str) {
        let Some(world) = world else {
            return self.say(if word == "h" { COMMANDS } else { "nothing has happened yet" });
        };
        match word {
            "s" if rest.is_empty() => self.say("s needs the name of a machine: 's list' has them"),
            "s" => {
                if let Err(error) = print_states(world, rest, &mut self.out) {
                    self.say(&error);
                }
            }
            "l" if rest.is_empty() => self.show_last(world, 10),
            "l" if rest.parse::<u64>().is_ok() => self.show_last(world, rest.parse().unwrap_or(10)),
            "d" if rest.is_empty() => self.show_fields(world, world.events()),
            "d" if rest.parse::<u64>().is_ok() => self.show_fields(world, rest.parse().unwrap_or(0)),
            "f" => match rest.parse() {
                Ok(query) => {
                    let told = world.with_recording(|recording| follow::tell(recording, &query, &mut self.out));
                    if let Err(error) = told.expect("a run is recorded while it is stepped through") {
                        self.say(&error);
                    }
                }
                Err(error) => self.say(&error.to_string()),
            },
            "h" => self.say(COMMANDS),
            "n" | "to" | "l" | "d" => self.say(&format!("'{rest}' is no number for {word}; h explains it")),
            "lane" | "find" => self.say(&format!("{word} needs a text to look for; h explains it")),
            _ => self.say(&format!("there is no command '{word}'; h lists them")),
        }
    }

    /// Shows the last events.
    fn show_last(&mut self, world: &World, events: u64) {
        let first = world.events().saturating_sub(events.saturating_sub(1));
        let lines = world.with_entries_since(first, |recording| {
            recording.entries.iter().map(|entry| line(recording, entry, &entry.tags)).collect::<Vec<_>>()
        });
        lines.into_iter().flatten().for_each(|line| self.say(&line));
    }

    /// Shows an event with all its fields.
    fn show_fields(&mut self, world: &World, event: u64) {
        let told = world.with_entries_since(event, |recording| {
            let entries = recording.entries.iter().take_while(|entry| entry.event == event);
            let told = |entry: &Entry| {
                let tags: Vec<String> = entry.tags.iter().map(ToString::to_string).collect();
                let about = if tags.is_empty() { String::new() } else { format!("\nabout {}", tags.join(" ")) };
                format!("{}\n{}{about}", line(recording, entry, &[]), Tree::parse(&entry.text).whole())
            };
            entries.map(told).collect::<Vec<_>>()
        });
        match told.unwrap_or_default() {
            told if told.is_empty() => self.say(&format!("there was no event {event} yet")),
            told => told.iter().for_each(|told| self.say(told)),
        }
    }

    fn say(&mut self, what: &str) {
        self.write(what.trim_end());
        self.write("\n");
    }

    /// Whoever reads this may have seen enough.
    fn write(&mut self, what: &str) {
        let _ = self.out.write_all(what.as_bytes()).and_then(|()| self.out.flush());
    }
}

/// Whether one of the entries of the last event is such.
fn any_of_event(world: &World, is_such: impl Fn(&Recording, &Entry) -> bool) -> bool {
    let found = world.with_entries_since(world.events(), |recording| {
        recording.entries.iter().any(|entry| is_such(recording, entry))
    });
    found == Some(true)
}

/// Shows the machines that match; if there is none, or none has such a part, the error says so.
fn print_states(world: &World, asked: &str, out: &mut impl Write) -> Result<(), String> {
    let (pattern, path) = asked.split_once(':').unwrap_or((asked, ""));
    let names = world.states();
    let mut found: Vec<&String> = names.iter().filter(|name| pattern == "list" || matches(pattern, name)).collect();
    found.dedup();
    if found.is_empty() {
        let mut names = names.clone();
        names.dedup();
        return Err(format!("no machine is called '{pattern}': there are {}", names.join(", ")));
    }
    // Whoever reads this may have seen enough.
    if pattern == "list" {
        let _ = found.iter().try_for_each(|name| writeln!(out, "{name}"));
        return Ok(());
    }
    let states: Vec<(&String, Result<String, String>)> =
        found.into_iter().map(|name| (name, state(world, name, path))).collect();
    if let (true, Some((name, Err(error)))) = (states.iter().all(|(_, state)| state.is_err()), states.first()) {
        return Err(format!("{name} {error}"));
    }
    let text = |state: &Result<String, String>| state.as_ref().map_or_else(Clone::clone, Clone::clone);
    let _ = states.iter().try_for_each(|(name, state)| writeln!(out, "{name}: {}", text(state)));
    Ok(())
}

/// A machine's state, or the part of it at a path.
fn state(world: &World, name: &str, path: &str) -> Result<String, String> {
    let Some(text) = world.state(name) else { return Err("is gone".into()) };
    let tree = Tree::parse(&text);
    match (path, tree.at(path)) {
        (ALL, None) => Ok(tree.whole()),
        (_, Some(part)) => Ok(part.overview(LINES)),
        (_, None) => Err(format!("has no {path}; there are {}", tree.keys().join(", "))),
    }
}

/// Whether a name is such a pattern's, in which `*` stands for anything.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == name };
    let Some(rest) = name.strip_prefix(head) else { return false };
    (0..=rest.len()).any(|at| rest.is_char_boundary(at) && matches(tail, &rest[at..]))
}

#[cfg(test)]
mod tests;
