use super::*;

static WORDS: Vocabulary = Vocabulary {
    numbers: &[
        Number::knob("clients", 3).means(" Who asks.").bounds(1, 1_000).simplest(1).role(Role::Count),
        Number::knob("store.timeout", 0).fault(),
        Number::knob("store.page", 5).bounds(1, 1_000),
    ],
    kinds: &[
        Kind {
            name: "kill",
            arguments: &[Argument { name: "down", least: 0, most: 9_999_999, simplest: 1, role: Role::Time }],
        },
        Kind {
            name: "jump",
            arguments: &[
                Argument { name: "by-ms", least: -1_000, most: 1_000, simplest: 0, role: Role::Knob },
                Argument { name: "clock", least: 0, most: 9, simplest: 0, role: Role::Knob },
            ],
        },
    ],
    retired: &[Retired { name: "store.pages", why: "it is called store.page" }],
    actors: "client-",
};

const FULL: &str = "\
karst-plan 2
# why it is kept
root = 1234
clients = 7
store.timeout = 12
at 5 jump by-ms=-3 clock=2
at 166637 kill down=18297
only client-0 none
only client-2 3,7,9-12
only store.timeout 3
";

fn error(text: &str) -> String {
    WORDS.from_text(text).expect_err("this is no plan").to_string()
}

#[test]
fn a_plan_survives_its_text() {
    let plan = WORDS.from_text(FULL).expect("this is a plan");
    assert_eq!((plan.root, plan.schedule.len(), plan.only.len()), (1234, 2, 3));
    assert_eq!(WORDS.to_text(&plan, "why it is kept"), FULL);
    let annotated = WORDS.to_annotated_text(&plan, "why it is kept");
    assert!(
        annotated.contains("\nclients = 7                              # Who asks.\nstore.timeout = 12\n"),
        "{annotated}"
    );
    assert_eq!(WORDS.from_text(&annotated), Ok(plan));
}

#[test]
fn what_is_not_said_has_its_default_and_defaults_are_not_written() {
    let plan = WORDS.from_text("karst-plan 2\nclients = 3\n").expect("this is a plan");
    assert_eq!(plan, Plan::default());
    assert_eq!(WORDS.value(&plan, WORDS.number("clients").expect("it is there")), 3);
    assert_eq!(WORDS.to_text(&plan, ""), "karst-plan 2\nroot = 1\n");
}

#[test]
fn the_schedule_is_sorted_and_moments_stay_in_their_order() {
    let text = "karst-plan 2\nat 9 kill down=1\nat 5 kill down=2\nat 5 kill down=3\n";
    let plan = WORDS.from_text(text).expect("this is a plan");
    let downs: Vec<i64> = plan.schedule.iter().map(|one| one.arguments["down"]).collect();
    assert_eq!(downs, [2, 3, 1]);
}

#[test]
fn the_first_version_still_loads_and_has_no_only() {
    let plan = WORDS.from_text("karst-plan 1\nclients = 7\nat 3 kill down=4\n").expect("this is a plan");
    assert_eq!(plan.numbers["clients"], 7);
    assert_eq!(error("karst-plan 1\nonly client-1 3\n"), "line 2: 'karst-plan 1' has no 'only'");
}

#[test]
fn a_number_that_is_gone_is_no_error_and_one_that_never_was_is() {
    let plan = WORDS.from_text("karst-plan 1\nstore.pages = 4\n").expect("this is a plan");
    assert_eq!(plan, Plan::default());
    assert_eq!(error("karst-plan 2\n\nclints = 3\n"), "line 3: there is no number 'clints'");
}

#[test]
fn an_error_names_line_and_reason() {
    assert_eq!(error(""), "line 1: the plan is empty");
    assert_eq!(error("karst-plan 9\n"), "line 1: 'karst-plan 9' is not 'karst-plan 2'");
    for (line, why) in [
        ("clients = many", "'many' is not a number"),
        ("clients", "'clients' names no number"),
        ("clients = 0", "clients must lie between 1 and 1000"),
        ("store.timeout = 1000001", "store.timeout must lie between 0 and 1000000"),
        ("root = 99999999999999999999", "'99999999999999999999' is not a number"),
        ("at noon kill down=3", "'noon' is not a number"),
        ("at 3", "a moment, and nothing to do"),
        ("at 86400000001 kill down=1", "nothing is later than 86400000000 microseconds"),
        ("at 3 kick down=3", "there is no disturbance 'kick'"),
        ("at 3 kill", "kill needs the argument 'down'"),
        ("at 3 kill down=1 down=2", "'down' is said twice"),
        ("at 3 kill up=1", "kill has no argument 'up'"),
        ("at 3 kill down", "'down' is no argument"),
        ("at 3 kill down=-1", "down must lie between 0 and 9999999"),
        ("only client-1", "'only client-1' names no occurrences"),
        ("only client-1 3-", "'' is no ordinal"),
    ] {
        assert_eq!(error(&format!("karst-plan 2\n{line}\n")), format!("line 2: {why}"));
    }
    assert_eq!(error("karst-plan 2\nclients = 1\nclients = 2\n"), "line 3: 'clients' is said twice");
    assert_eq!(error("karst-plan 2\nonly a 1\nonly a 2\n"), "line 3: 'only a' is said twice");
}

#[test]
fn any_bytes_give_a_plan_or_an_error() {
    let mut rng = karst_core::machine::Rng::new(1);
    for _ in 0..20_000 {
        let mut text = FULL.as_bytes().to_vec();
        for _ in 0..rng.between(1, 4) {
            let at = rng.below(text.len() as u64) as usize;
            text[at] = rng.between(9, 126) as u8;
        }
        let text = String::from_utf8(text).expect("it is ASCII");
        if let Ok(plan) = WORDS.from_text(&text) {
            assert_eq!(WORDS.from_text(&WORDS.to_text(&plan, "")), Ok(plan), "{text}");
        }
    }
}
