use super::chain::failing_entry;
use super::*;
use crate::failure::Failure;
use crate::recording::{Band, Entry, EntryId, EntryKind, Lane, LaneId, Sample, Tag};

/// A recording as it is told, entry by entry.
#[derive(Default)]
struct Teller {
    recording: Recording,
    event: u64,
}

impl Teller {
    /// An entry of a new event, a millisecond after the one before; effects belong to the event before.
    fn tell(&mut self, who: &str, kind: EntryKind, text: &str, cause: Option<EntryId>, tags: &[Tag]) -> EntryId {
        if kind == EntryKind::Input {
            self.event += 1;
        }
        let (process, owner) = who.split_once('/').expect("a process and an owner");
        let lane = Lane { process: process.into(), owner: owner.into() };
        let place = self.recording.lanes.iter().position(|other| *other == lane).unwrap_or_else(|| {
            self.recording.lanes.push(lane);
            self.recording.lanes.len() - 1
        });
        self.recording.entries.push(Entry {
            event: self.event,
            at: SimTime(self.event * 1_000_000),
            lane: LaneId(place as u32),
            kind,
            text: text.into(),
            words: None,
            cause,
            besides: Vec::new(),
            tags: tags.to_vec(),
        });
        EntryId(self.recording.entries.len() as u32 - 1)
    }

    fn fail(mut self, message: &str) -> Recording {
        self.recording.failure = Some(Failure {
            invariant: "lost-write".into(),
            process: String::new(),
            component: "oracle".into(),
            message: message.into(),
            site: None,
            subjects: Vec::new(),
            at: SimTime(self.event * 1_000_000),
            event: self.event,
        });
        self.recording
    }
}

fn about(offset: u64) -> [Tag; 2] {
    [Tag::name("partition", "orders-3"), Tag::number("offset", offset)]
}

/// A write that is acknowledged and lost in a crash, among much that has nothing to do with it.
fn lost_write() -> Recording {
    use EntryKind::{Effect, Fault, Input};
    let mut teller = Teller::default();
    let start = teller.tell("client-1/client", Input, "Start", None, &[]);
    teller.tell("client-1/client", Effect, "Observe(write 17)", Some(start), &about(17));
    let send = teller.tell("client-1/client", Effect, "Send(write 17)", Some(start), &about(17));
    let request = teller.tell("broker-1/session-4", Input, "Received(write 17)", Some(send), &about(17));
    let mail = teller.tell("broker-1/session-4", Effect, "Mail(Append)", Some(request), &about(17));
    for n in 0..50 {
        let noise = teller.tell("client-2/client", Input, "Tick", None, &[]);
        teller.tell("client-2/client", Effect, "Send(noise)", Some(noise), &about(100 + n));
        teller.tell("broker-1/store", Fault, "store.throttle", Some(noise), &[]);
    }
    let append = teller.tell("broker-1/shard", Input, "Mail(Append)", Some(mail), &about(17));
    let write = teller.tell("broker-1/shard", Effect, "Mail(Wal(Write))", Some(append), &about(17));
    teller.tell("broker-1/wal", Input, "Mail(Write)", Some(write), &about(17));
    teller.tell("broker-1/process", Fault, "is killed", None, &[]);
    let fetch = teller.tell("client-0/client", Input, "Tick", None, &[]);
    let ask = teller.tell("client-0/client", Effect, "Send(fetch)", Some(fetch), &[]);
    let asked = teller.tell("broker-2/session-1", Input, "Received(fetch)", Some(ask), &[]);
    let answer = teller.tell("broker-2/session-1", Effect, "Send(nothing)", Some(asked), &[]);
    teller.tell("client-0/client", Input, "Received(nothing)", Some(answer), &[]);
    teller.fail("orders-3: offset 17 was acknowledged, and the log ends at 15")
}

fn told(recording: &Recording) -> Vec<String> {
    chain(recording).iter().map(|step| format!("{} {}", step.who, step.words)).collect()
}

#[test]
fn a_lost_write_is_told_from_its_birth_to_its_loss() {
    assert_eq!(
        told(&lost_write()),
        [
            "client-1 takes Start, wants Observe(write 17), and wants Send(write 17) (orders-3, offset 17)",
            "broker-1's session-4 takes Received(write 17) from client-1, and wants Mail(Append) (orders-3, offset 17)",
            "broker-1's shard takes Mail(Append) from broker-1's session-4, and wants Mail(Wal(Write)) (orders-3, offset 17)",
            "broker-1's wal takes Mail(Write) from broker-1's shard (orders-3, offset 17)",
            "broker-1 is killed",
            "client-0 takes Tick, and wants Send(fetch)",
            "broker-2's session-1 takes Received(fetch) from client-0, and wants Send(nothing)",
            "client-0 takes Received(nothing) from broker-2's session-1",
            "the oracle finds lost-write violated: orders-3: offset 17 was acknowledged, and the log ends at 15",
        ]
    );
}

/// A write whose acknowledgement comes back to its client, with words for some of it.
#[test]
fn the_way_of_what_was_acknowledged_is_told_up_to_its_acknowledgement() {
    use EntryKind::{Effect, Input, Note};
    let mut teller = Teller::default();
    let mut cause = None;
    let mut all = Vec::new();
    for (who, input, effect) in [
        ("client-1/client", "wakes up", "sends a write"),
        ("broker-1/session-4", "receives a write", "sends the shard a write"),
        ("broker-1/shard", "gets a write", "sends session-4 an answer"),
        ("broker-1/session-4", "gets an answer", "sends the client an answer"),
        ("client-1/client", "receives an answer", "counts the write as acknowledged"),
    ] {
        let is_ours = !who.ends_with("session-4");
        let tags = if is_ours { about(14).to_vec() } else { vec![] };
        let taken = teller.tell(who, Input, input, cause, &tags);
        cause = Some(teller.tell(who, Effect, effect, Some(taken), &tags));
        all.push(format!("{input}, and {effect}"));
    }
    let tick = teller.tell("broker-1/controller", Input, "is bored", None, &[]);
    let put = teller.tell("broker-1/controller", Effect, "asks the store to change", Some(tick), &[]);
    teller.tell("client-2/client", Input, "wakes up", None, &[]);
    teller.tell("world/store", Note, "stores a change", Some(put), &[]);
    for entry in &mut teller.recording.entries {
        entry.words = Some(entry.text.clone());
    }
    let mut recording = teller.fail("orders-3: the high watermark is 3, but 15 was known");
    let told = told(&recording);
    for (n, words) in all.iter().enumerate() {
        assert!(told[n].contains(words), "{words} is not in {told:?}");
    }
    let after = ["broker-1's controller is bored, and asks the store to change", "the store stores a change"];
    assert_eq!(told[all.len()..told.len() - 1], after);
    // Somebody else's change is not what led to it.
    recording.entries.last_mut().expect("it is not empty").cause = None;
    let end = failing_entry(&recording, recording.failure.as_ref().expect("it fails")).expect("there is one");
    assert_eq!(recording.entries[end.0 as usize].text, "wakes up");
}

#[test]
fn a_failure_about_nothing_is_told_by_its_causes_and_stays_short() {
    let mut teller = Teller::default();
    let mut cause = None;
    for n in 0..500 {
        cause = Some(teller.tell("broker-1/shard", EntryKind::Input, &format!("step {n}"), cause, &[]));
        teller.tell("broker-1/process", EntryKind::Fault, "is paused", cause, &[]);
    }
    let steps = chain(&teller.fail("nothing happens"));
    assert!((8..=20).contains(&steps.len()), "{steps:?}");
    assert_eq!(steps[0].words, "takes step 0");
    assert!(steps.is_sorted_by_key(|step| step.entry), "in order: {steps:?}");
    assert_eq!(steps.last().expect("it fails").kind, StepKind::Failure);
}

#[test]
fn a_run_that_passes_is_told_by_what_was_done_to_it() {
    let mut teller = Teller::default();
    teller.tell("client-1/client", EntryKind::Input, "Start", None, &[]);
    teller.tell("world/nemesis", EntryKind::Fault, "\"Kill { down: 3ms }\"", None, &[]);
    teller.tell("world/nemesis", EntryKind::Note, "heal", None, &[]);
    teller.tell("broker-1/process", EntryKind::Fault, "is killed", None, &[]);
    teller.tell("broker-1/store", EntryKind::Fault, "store.throttle", None, &[]);
    assert_eq!(told(&teller.recording), ["the nemesis Kill { down: 3ms }", "broker-1 is killed"]);
}

#[test]
fn a_failure_that_no_entry_has_is_told_all_the_same() {
    let mut broken = lost_write();
    broken.failure = broken.failure.map(|failure| Failure { event: 9_999, ..failure });
    assert!(!chain(&broken).is_empty());
    assert!(data::encode(&broken, &Heading::default(), &[], 0).contains("\"back\":["));
    let empty = Recording { failure: broken.failure, ..Recording::default() };
    assert_eq!(chain(&empty).len(), 1);
    assert!(html(&empty, &Heading::default(), &chain(&empty)).contains("lost-write"));
}

#[test]
fn a_recording_is_encoded_in_columns() {
    let mut teller = Teller::default();
    let start = teller.tell("client-1/client", EntryKind::Input, "Start", None, &about(17));
    teller.tell("client-1/client", EntryKind::Effect, "Start", Some(start), &about(17)[..1]);
    teller.tell("world/nemesis", EntryKind::Input, "Kill", None, &[]);
    teller.recording.entries[1].words = Some("begins".into());
    let mut recording = teller.recording;
    recording.samples.push(Sample { subject: "orders-3".into(), curve: "durable", at: SimTime(5), value: u64::MAX });
    recording.bands.push(Band { subject: "orders-3".into(), label: "Kill".into(), from: SimTime(1), to: None });
    let encoded = data::encode(&recording, &Heading { title: "seed 1".into(), ..Heading::default() }, &[], 0);
    for part in [
        r#""lanes":[[0,1],[2,3]]"#,
        r#""event":[1,0,1],"at":[1000000,0,1000000],"lane":[0,0,1],"kind":"010","back":[0,1,0],"besides":[],"tags":[2,1,0]"#,
        r#""text":[4,4,5],"words":[4,6,5],"tag":[0,1,0]"#,
        r#""at":[5],"value":["18446744073709551615"]"#,
        r#""bands":[[7,5,1,null]]"#,
        r#""failure":null"#,
        r#""tags":[[9,7,null,null],[10,null,17,18]]"#,
        r#""strings":["client-1","client","world","nemesis","Start","Kill","begins","orders-3","durable","partition","offset"]"#,
    ] {
        assert!(encoded.contains(part), "{part} is not in {encoded}");
    }
}

#[test]
fn of_a_long_recording_the_end_is_encoded() {
    let recording = lost_write();
    let first = recording.entries.len() - 3;
    let story = chain(&recording);
    let encoded = data::encode(&recording, &Heading::default(), &story, first);
    assert!(encoded.contains(r#""back":[0,1,2,1,1,1,1,1,0,0,1,1,1,1]"#), "{encoded}");
    assert!(encoded.contains(r#""leftOut":150"#), "{encoded}");
    // What the story tells of the rest is there all the same, and nobody else.
    let told = story.iter().filter(|step| step.entry.is_some_and(|entry| (entry.0 as usize) < first)).count();
    assert!(told > 3 && !encoded.contains(r#"{"entry":null"#), "{encoded}");
    assert!(encoded.contains(r#"{"entry":0,"at":1000000,"who":"client-1""#), "{encoded}");
    assert!(
        !encoded.contains("noise") && !encoded.contains("client-2"),
        "lanes without entries are left out: {encoded}"
    );
}

#[test]
fn curves_begin_with_what_they_were_before_the_end() {
    let mut recording = lost_write();
    let mut sample = |at, value| {
        recording.samples.push(Sample { subject: "orders-3".into(), curve: "durable", at: SimTime(at), value });
    };
    sample(1, 5);
    sample(2, 6);
    sample(90_000_000, 7);
    let first = recording.entries.len() - 1;
    let begin = recording.entries[first].at.0;
    let encoded = data::encode(&recording, &Heading::default(), &[], first);
    assert!(encoded.contains(&format!(r#""at":[{begin},{}],"value":[6,7]"#, 90_000_000 - begin)), "{encoded}");
}

#[test]
fn no_text_of_the_run_becomes_markup() {
    const HOSTILE: &str = "</script><script>alert(1)</script><!--<img src=x onerror=alert(2)>";
    let mut teller = Teller::default();
    teller.tell("client-1/client", EntryKind::Input, HOSTILE, None, &[Tag::name("partition", HOSTILE)]);
    let recording = teller.fail(HOSTILE);
    let heading = Heading {
        title: HOSTILE.into(),
        plan: "{{script}} {{data}}".into(),
        command: HOSTILE.into(),
        ..Heading::default()
    };
    let page = html(&recording, &heading, &chain(&recording));
    assert!(!page.contains("<script>alert") && !page.contains("<img"), "the text is in the markup");
    assert_eq!(page.matches("</script>").count(), 2, "of the data and of the scripts");
    assert!(page.contains("{{script}} {{data}}"), "values are not searched for places");
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    let page = html(&lost_write(), &Heading::default(), &[]);
    assert!(page.contains("default-src 'none'"), "the browser refuses everything else");
    for foreign in ["http://", "https://", "@import", "url(", "<link", " src="] {
        assert!(!page.contains(foreign), "{foreign}");
    }
}

#[test]
fn texts_that_are_too_much_for_a_browser_are_cut_and_words_are_not() {
    let mut teller = Teller::default();
    for n in 0..20_000 {
        teller.tell("broker-1/wal", EntryKind::Input, &format!("{n} {}", "é".repeat(900)), None, &[]);
    }
    let mut recording = teller.recording;
    recording.entries[7].words = Some("w".repeat(1_500));
    let page = html(&recording, &Heading::default(), &[]);
    assert!((12 << 20..16 << 20).contains(&page.len()), "{} bytes", page.len());
    assert!(page.contains("é…\"") && page.contains(&"w".repeat(1_500)));
    recording.entries.truncate(9);
    assert!(html(&recording, &Heading::default(), &[]).contains(&"é".repeat(900)), "a short one is whole");
}

/// Two grants of one lock, with the crash between them that made the server forget the first.
fn two_grants() -> Teller {
    use EntryKind::{Effect, Fault, Input};
    let mut teller = Teller::default();
    let lease = |number| [Tag::number("lease", number)];
    for (client, number) in [("client-0", 7), ("client-1", 8)] {
        let asked = teller.tell("server/server", Input, &format!("{client} asks"), None, &[]);
        let lent = teller.tell("server/server", Effect, &format!("lend to {client}"), Some(asked), &lease(number));
        let heard = teller.tell(&format!("{client}/client"), Input, "granted", Some(lent), &lease(number));
        teller.tell(&format!("{client}/client"), Effect, "enter", Some(heard), &lease(number));
        if number == 7 {
            teller.tell("server/process", Fault, "is killed", None, &[]);
        }
    }
    teller
}

#[test]
fn whatever_a_failure_says_it_is_about_is_told_with_what_lies_between() {
    let mut recording = two_grants().fail("two are inside");
    let failure = recording.failure.as_mut().expect("it fails");
    failure.subjects = [7, 8].map(|lease| vec![Tag::number("lease", lease)]).to_vec();
    assert_eq!(
        told(&recording),
        [
            "server takes client-0 asks, and wants lend to client-0 (lease 7)",
            "client-0 takes granted from server, and wants enter (lease 7)",
            "server is killed",
            "server takes client-1 asks, and wants lend to client-1 (lease 8)",
            "client-1 takes granted from server, and wants enter",
            "the oracle finds lost-write violated: two are inside",
        ]
    );
}

#[test]
fn a_crash_right_before_a_story_is_part_of_it() {
    let mut recording = two_grants().fail("two are inside");
    recording.failure.as_mut().expect("it fails").subjects = vec![vec![Tag::number("lease", 8)]];
    assert_eq!(told(&recording)[0], "server is killed");
    // That of somebody else is not.
    let killed = recording.lanes.iter_mut().find(|lane| &*lane.owner == "process").expect("somebody is killed");
    killed.process = "printer".into();
    assert_eq!(told(&recording)[0], "server takes client-1 asks, and wants lend to client-1 (lease 8)");
}

#[test]
fn disturbances_that_are_not_told_are_counted() {
    let mut teller = Teller::default();
    for _ in 0..33 {
        teller.tell("world/nemesis", EntryKind::Fault, "\"again\"", None, &[]);
    }
    let told = told(&teller.recording);
    assert_eq!((told.len(), told[20].contains("13 more disturbances follow")), (21, true), "{told:?}");
}
