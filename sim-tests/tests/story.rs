//! Whether a run is told in words: sentences for people who have not read the code.

use karst_runtime_sim::page;
use karst_runtime_sim::recording::{Entry, EntryKind, Record, Recording};
use karst_runtime_sim::seed::Seed;
use karst_sim::plan::{Plan, Profile};
use karst_sim::world::{self, Options, Report};

fn recorded(plan: Plan) -> Report {
    world::run(plan, Options { record: Record::Everything, ..Options::default() })
}

fn of_seed(seed: u64, profile: Profile) -> Recording {
    recorded(Plan::from_seed(Seed(seed), profile)).recording.expect("it was asked for")
}

/// What only programmers read: Debug texts, and places that nobody filled.
fn is_code(words: &str) -> bool {
    ["{", "Mail(", "Some(", "⟨", "⟩", "wants "].iter().any(|piece| words.contains(piece))
}

#[test]
fn everything_that_happens_has_words() {
    for (seed, profile) in [(1, Profile::Swarm), (7, Profile::Storm), (3, Profile::Calm)] {
        let recording = of_seed(seed, profile);
        for entry in &recording.entries {
            let words = entry.words.as_deref().unwrap_or_else(|| panic!("no words for {entry:?}"));
            assert!(!is_code(words), "{words}: {entry:?}");
        }
        let bytes: usize = recording.entries.iter().filter_map(|entry| entry.words.as_ref()).map(String::len).sum();
        let each = bytes / recording.entries.len();
        assert!(each < 200, "{each} bytes of words per entry");
    }
}

#[test]
fn sentences_name_who_sent_what_and_what_was_asked_for() {
    let recording = of_seed(1, Profile::Swarm);
    let has = |owner: &str, kind: EntryKind, parts: &[&str]| {
        let is_it = |entry: &&Entry| {
            let lane = &recording.lanes[entry.lane.0 as usize];
            let words = entry.words.as_deref().unwrap_or_default();
            lane.owner.starts_with(owner) && entry.kind == kind && parts.iter().all(|part| words.contains(part))
        };
        assert!(recording.entries.iter().any(|entry| is_it(&entry)), "{owner} never {parts:?}");
    };
    use EntryKind::{Effect, Fault, Input};
    has("client", Effect, &["sends the broker its request ", ", a Produce to t"]);
    has("session", Input, &["receives ", " bytes from client-"]);
    has("shard", Input, &["gets from session-", " request ", " of connection ", " (Produce to t"]);
    has("shard", Effect, &["sends the wal 1 batch to append: t", " offset"]);
    has("wal", Effect, &["asks the disk to write a block of ", " bytes, from LSN ", ": t", " offset"]);
    has("wal", Input, &["hears \"done, and durable\" to its wish to write a block of "]);
    has("shard", Input, &["gets from the wal the news that 1 batch is durable: t", " offset"]);
    has("uploader", Effect, &["asks the store to write object ", ", which must not be there yet: t"]);
    has("controller", Effect, &["asks the store to replace the head of the metadata log, unless somebody else did"]);
    has("controller", Input, &["gets from the node the wish of node 1 to commit cut ", " with t"]);
    has("node", Input, &["wal", " what is known of the log: "]);
    has("client", Effect, &["tells the oracle that write ", " was acknowledged, at offset "]);
    has("process", Fault, &["is killed"]);
    has("nemesis", Fault, &["kill the broker, and to start it again after "]);
}

/// Runs that fail, each at another place: too many events, too little time to read everything back.
fn failures() -> [Report; 2] {
    let plan = |change: &dyn Fn(&mut Plan)| {
        let mut plan = Plan::from_seed(Seed(1), Profile::Swarm);
        change(&mut plan);
        recorded(plan)
    };
    [plan(&|plan| plan.numbers.events = 3_001), plan(&|plan| plan.numbers.liveness = 1)]
}

#[test]
fn the_story_of_a_failing_run_is_told_in_words() {
    for report in failures() {
        let failure = report.failure.expect("it can't end");
        let recording = report.recording.expect("it was asked for");
        let story = page::chain(&recording);
        assert!(story.len() > 3, "{failure:?}: {story:?}");
        for step in &story {
            assert!(!is_code(&step.to_string()), "{step}");
        }
        let last = story.last().expect("there are steps").to_string();
        assert!(last.contains(&format!("finds {} violated: ", failure.invariant)), "{last}");
    }
}
