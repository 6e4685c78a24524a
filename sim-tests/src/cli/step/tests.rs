use super::*;
use crate::plan::Profile;
use karst_runtime_sim::seed::Seed;

/// Where a stepper writes while another thread runs it.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panics while writing").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What commands lead to.
fn session(commands: &'static str) -> (String, Report) {
    let paper = Paper::default();
    let mut stepper = Stepper { input: commands.as_bytes(), out: paper.clone(), goal: Goal::Ask };
    stepper.begin();
    let plan = Plan::from_seed(Seed(1), Profile::Calm);
    let options = Options { record: Record::Everything, ..Options::default() };
    let report = world::run_watched(plan, options, move |world, point| stepper.see(world, point));
    let said = String::from_utf8(paper.0.lock().expect("nobody panics while writing").clone()).expect("text");
    (said, report)
}

#[test]
fn commands_move_look_and_stop() {
    let (said, report) = session(
        "s list\nn\n\nto 20\nlane broker-1/wal\ns broker-1/w*\nl 2\nfind Format\nd\ns broker-1/wal:phase\ns broker-1/wal:x\nxyz\nto x\ns\nh\nf a\nf foo=1\nq\n",
    );
    assert!(said.contains("> nothing has happened yet\n"), "{said}");
    let events: Vec<u64> =
        said.lines().filter_map(|line| line.trim_start_matches("> ").split_whitespace().next()?.parse().ok()).collect();
    assert_eq!(events.first(), Some(&1));
    assert!(events.contains(&2) && events.contains(&20), "{said}");
    assert!(said.contains("broker-1/wal: Wal(Ring("), "{said}");
    assert!(said.contains(" the order to begin the log of node epoch "), "{said}");
    assert!(said.contains("Mail(Node(WalFormatted))"), "in detail it is as the code has it: {said}");
    assert!(
        said.contains("broker-1/wal: phase: ") && said.contains("broker-1/wal has no x; there are rules, "),
        "{said}"
    );
    assert!(said.contains("go on to the end") && said.contains("'a' is not KEY=VALUE"), "{said}");
    assert!(said.contains("there is no command 'xyz'; h lists them"), "{said}");
    assert!(said.contains("'x' is no number for to") && said.contains("s needs the name of a machine"), "{said}");
    assert!(said.contains("nothing in this run has a key 'foo'"), "{said}");
    assert!(report.story().starts_with("stopped at event "), "{}", report.story());
    assert!(!report.story().contains("operations answered"), "nobody knows: {}", report.story());
    assert_eq!(report.events, *events.iter().max().expect("there are some"), "the run stopped where it was told to");
}

#[test]
fn looking_changes_nothing() {
    let plan = || Plan::from_seed(Seed(1), Profile::Calm);
    let plain = world::run(plan(), Options::default());
    let (said, stepped) = session("n 3\nc\n");
    assert_eq!((stepped.trace, stepped.events), (plain.trace, plain.events));
    assert!(said.contains(&format!("the run is over, after event {}", plain.events)), "{said}");
    let stopped = world::run(plan(), Options { until: Some(100), ..Options::default() });
    let (_, at_100) = session("to 100\nq\n");
    assert_eq!((at_100.trace, at_100.events), (stopped.trace, 100), "both stop at the same event");
}

#[test]
fn patterns_stand_for_names() {
    for (pattern, name) in [("a/b", "a/b"), ("*", ""), ("broker/*", "broker/wal"), ("b*/*l", "broker-1/wal")] {
        assert!(matches(pattern, name), "{pattern} {name}");
    }
    for (pattern, name) in [("a", "ab"), ("broker/*", "broker-1/wal"), ("*x", "é")] {
        assert!(!matches(pattern, name), "{pattern} {name}");
    }
}

#[test]
fn a_state_that_is_not_there_is_an_error() {
    let shown = |pattern: &str| {
        let options = Options { until: Some(200), ..Options::default() };
        let shown = show_states(Plan::from_seed(Seed(1), Profile::Calm), options, pattern.into());
        shown.map(|report| report.events).map_err(|error| error.0)
    };
    for known in ["broker-1/wal:phase", "world/disk", "world/store:bucket"] {
        assert_eq!(shown(known), Ok(200), "{known}");
    }
    let error = shown("broker-1/shard:nosuch").expect_err("it has no such part");
    assert!(error.starts_with("broker-1/shard has no nosuch; there are "), "{error}");
    let error = shown("nosuch/x").expect_err("there is no such machine");
    assert!(error.contains("no machine is called 'nosuch/x': there are ") && error.contains("broker-1/wal"), "{error}");
}
