//! The command line, as a shell or a CI job sees it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// A folder of its own for each test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("karst-sim-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_string_lossy().into_owned()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).expect("it was written")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Whether it can be removed is no matter of the test.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn command(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_karst-sim"));
    command.args(words).current_dir(Path::new(env!("CARGO_MANIFEST_DIR")));
    command
}

fn run(words: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, .. } = command(words).output().expect("it can be started");
    (status.code(), String::from_utf8(stdout).expect("it writes text"))
}

/// What it printed, without how long it took.
fn without_speed(text: &str) -> String {
    text.lines().filter(|line| !line.contains("seeds/s")).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_campaign_that_was_interrupted_goes_on_to_the_same_totals() {
    let folder = Folder::new("resume");
    let (state, lines) = (folder.file("state"), folder.file("lines"));
    let words = ["run", "--seeds", "30", "--jobs", "2", "--resume", &state, "--json-lines", &lines];
    let mut child = command(&words).stdout(Stdio::piped()).spawn().expect("it can be started");
    while fs::read_to_string(&lines).map_or(0, |text| text.lines().count()) < 3 {
        sleep(Duration::from_millis(5));
    }
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("there is kill");
    assert!(kill.success());
    assert_eq!(child.wait().expect("it ends").code(), Some(130), "interrupted, and nothing failed");
    let first = folder.read("lines").lines().count();
    assert!((3..30).contains(&first), "{first} seeds before it was interrupted");
    assert!(folder.read("state").contains(&format!("total\tseeds\t{first}\n")));

    let (code, resumed) = run(&words);
    let (_, whole) = run(&["run", "--seeds", "30"]);
    assert_eq!((code, without_speed(&resumed)), (Some(0), without_speed(&whole)));
    assert_eq!(folder.read("lines").lines().count(), 30, "each seed has one line");
    assert_eq!(run(&["run", "--seeds", "31", "--resume", &state]).0, Some(2), "that is another campaign");
}

#[test]
fn shards_run_each_seed_once() {
    let folder = Folder::new("shards");
    let mut seeds = Vec::new();
    for part in ["1/3", "2/3", "3/3"] {
        let lines = folder.file("lines");
        assert_eq!(run(&["run", "--seeds", "40..47", "--shard", part, "--json-lines", &lines]).0, Some(0));
        let text = folder.read("lines");
        seeds.extend(text.lines().filter_map(|line| line.split([':', ',']).nth(1)?.parse::<u64>().ok()));
    }
    seeds.sort_unstable();
    assert_eq!(seeds, (40..47).collect::<Vec<_>>());
}

#[test]
fn a_required_mark_that_no_seed_reached_has_an_exit_code_of_its_own() {
    let folder = Folder::new("marks");
    // Folders that are not there yet are made.
    let (json, junit) = (folder.file("new/json"), folder.file("new/er/junit"));
    let words = ["run", "--seeds", "1", "--profile", "calm", "--require-marks", "--json", &json, "--junit", &junit];
    let (code, text) = run(&words);
    assert_eq!(code, Some(6), "{text}");
    assert!(text.contains("recovery.torn-tail: Recovery ends"), "{text}");
    assert!(folder.read("new/json").contains("\"marks_never_reached\":[\""));
    assert!(folder.read("new/er/junit").contains("<failure type=\"marks\""));
}

#[test]
fn wrong_usage_is_told_from_a_failure() {
    for words in [vec![], vec!["run"], vec!["run", "--seeds", "5", "--shard", "3/2"], vec!["run", "--for", "2x"]] {
        assert_eq!(run(&words).0, Some(2), "{words:?}");
    }
}

#[test]
fn a_plan_that_makes_no_progress_is_a_liveness_failure() {
    let folder = Folder::new("liveness");
    let plan = "karst-plan 1\n# So few events are not enough for anything.\nroot = 1\nphases.events = 500\n";
    fs::write(folder.0.join("short.plan"), plan).expect("written");
    assert_eq!(run(&["corpus", &folder.file("short.plan")]).0, Some(4));
}

#[test]
fn the_corpus_runs_and_each_plan_says_why_it_is_kept() {
    let (code, text) = run(&["corpus"]);
    assert_eq!(code, Some(0), "{text}");
    let folder = Folder::new("corpus");
    fs::write(folder.0.join("silent.plan"), "karst-plan 1\nroot = 1\n").expect("written");
    assert_eq!(run(&["corpus", &folder.file("silent.plan")]).0, Some(2));
}
