//! Why things happen, and who may look.

use super::*;
use crate::recording::{Entry, EntryId, EntryKind, Record, Tag};

fn recorded(seed: u64) -> RunReport<u64> {
    run(Options { record: Record::Everything, ..options(seed) }, move |world| async move {
        let owners = pairs(&world, 1, 5);
        world.sleep(20 * MILLI).await;
        owners.iter().map(|owner| owner.machine().caught).sum()
    })
}

#[test]
fn every_entry_knows_why_it_happened() {
    let report = recorded(1);
    let recording = report.recording.expect("it was asked for");
    let cause = |entry: &Entry| entry.cause.map(|cause| &recording.entries[cause.0 as usize]);
    let ball = |entry: &Entry| entry.tags.first().map(|tag| tag.value.clone());
    let mut checked = 0;
    for (at, entry) in recording.entries.iter().enumerate().filter(|(_, entry)| !entry.tags.is_empty()) {
        let Some(cause) = cause(entry) else {
            assert!(entry.text == "Ball(0)", "only the first balls have no cause: {entry:?}");
            continue;
        };
        assert!(entry.cause.is_some_and(|cause| (cause.0 as usize) < at), "causes come before");
        let expected = match entry.kind {
            // An effect's cause is its event's input.
            EntryKind::Effect => cause.event == entry.event && cause.kind == EntryKind::Input,
            // What was written is what this owner wanted written; a ball was thrown by the other one.
            _ if entry.text.starts_with("Written") => cause.lane == entry.lane && ball(cause) == ball(entry),
            _ => cause.lane != entry.lane && ball(cause) == ball(entry) && cause.text.starts_with("Throw"),
        };
        assert!(expected, "{entry:?} because of {cause:?}");
        checked += 1;
    }
    assert!(checked > 1000, "{checked} entries");
    assert_eq!(recording.lanes.iter().filter(|lane| &*lane.owner != "process").count(), 2);
}

#[test]
fn recording_changes_nothing_and_is_equal_for_equal_runs() {
    let plain = run(options(1), move |world| async move {
        let owners = pairs(&world, 1, 5);
        world.sleep(20 * MILLI).await;
        owners.iter().map(|owner| owner.machine().caught).sum::<u64>()
    });
    let one = recorded(1);
    assert_eq!((one.hash, one.events), (plain.hash, plain.events));
    assert_eq!(plain.recording, None);
    assert_eq!(one.recording, recorded(1).recording);
}

#[test]
fn disturbances_are_causes_and_so_are_kills() {
    let report = run(Options { record: Record::Everything, ..options(1) }, |world| async move {
        let (victim, _, client, here) = echo(&world);
        let ears = client.spawn_owner("ears", Player::default(), |_| ());
        let address = ears.address().clone();
        let connection = here.connect(Host(1), move |event| {
            if event.closed().is_some() {
                address.send(Input::Ball(99));
            }
        });
        world.sleep(MILLI).await;
        world.disturbance("nemesis", &"kill it");
        victim.kill();
        world.sleep(10 * MILLI).await;
        drop(connection);
    });
    let recording = report.recording.expect("it was asked for");
    let heard = recording.entries.iter().find(|entry| entry.text == "Ball(99)").expect("the other end hears");
    let killed = &recording.entries[heard.cause.expect("because of the kill").0 as usize];
    assert_eq!((killed.kind, killed.text.as_str()), (EntryKind::Fault, "is killed"));
    let nemesis = &recording.entries[killed.cause.expect("because of the nemesis").0 as usize];
    assert_eq!((nemesis.kind, nemesis.text.as_str()), (EntryKind::Fault, "\"kill it\""));
    assert_eq!(nemesis.cause, None);
}

#[test]
fn a_watcher_sees_every_event_and_every_machine() {
    let seen = Arc::new(std::sync::Mutex::new((0, String::new())));
    let noted = seen.clone();
    let report = run(options(1), move |world| {
        world.watch(move |world, point| {
            let mut noted = noted.lock().expect("nobody panics here");
            match point {
                Point::Handled => noted.0 += 1,
                Point::End => noted.1 = world.state("n1/here").expect("it worked"),
            }
        });
        async move {
            let owners = pairs(&world, 1, 1);
            world.sleep(20 * MILLI).await;
            owners.len()
        }
    });
    let seen = seen.lock().expect("nobody panics here");
    assert_eq!(seen.0, report.events);
    assert!(seen.1.contains("caught: "), "{}", seen.1);
}

#[test]
fn a_run_stops_exactly_where_it_is_told_to() {
    for until in 1..40 {
        let limits = Limits { until: Some(until), ..Limits::default() };
        let report = run(Options { limits, ..options(1) }, |world| async move {
            let _owners = pairs(&world, 1, 5);
            world.sleep(MILLI * 100).await;
        });
        assert_eq!((report.events, report.end), (until, End::Stopped(Stop::Until)));
    }
    // Not even a deadline that is due in the same turn comes any more.
    let limits = Limits { until: Some(1), ..Limits::default() };
    let report = run(Options { limits, ..options(1) }, |world| async move {
        let owner = process(&world, "n1").spawn_owner("late", Player::default(), |_| ());
        owner.address().send(Input::Deadline(Instant(0)));
        world.sleep(MILLI * 100).await;
    });
    assert_eq!(report.events, 1);
}

/// Sends that arrive while the other end does not read are read at once.
#[test]
fn bytes_that_come_at_once_are_there_because_of_every_send() {
    let report = run(Options { record: Record::Everything, ..options(1) }, |world| async move {
        let net = Net::new(&world, SimNet::new(NetKnobs::CALM, Rng::new(1)));
        let (server, client) = (process(&world, "server"), process(&world, "client"));
        let (at_server, at_client) = (net.attach(&server, Host(1)), net.attach(&client, Host(2)));
        let ears = server.spawn_owner("ears", Player::default(), |_| ());
        let kept: Rc<RefCell<Option<Connection>>> = Rc::default();
        let (address, theirs) = (ears.address().clone(), kept.clone());
        at_server.listen(move |connection| {
            connection.pause();
            connection.call_it(Tag::name("connection", "server/1"));
            *theirs.borrow_mut() = Some(connection);
            let address = address.clone();
            Box::new(move |event| {
                if let NetEvent::Received(bytes) = event {
                    address.send(Input::Ball(bytes.len() as u64));
                }
            })
        });
        let connection = at_client.connect(Host(1), |_| ());
        world.sleep(10 * MILLI).await;
        assert_eq!(connection.name(), Some(Tag::name("connection", "server/1")), "both ends know it");
        let (sends, mut length) = (Rc::new(RefCell::new(connection)), 0);
        let again = sends.clone();
        let mouth = client.spawn_owner("mouth", Player::default(), move |_| {
            length += 1;
            again.borrow().send(SendTag(length), Rope::from(vec![7; 10]));
        });
        for ball in [21, 22, 23] {
            mouth.address().send(Input::Ball(ball));
        }
        world.sleep(10 * MILLI).await;
        kept.borrow().iter().for_each(Connection::resume);
        world.sleep(10 * MILLI).await;
        drop((sends, kept));
    });
    let recording = report.recording.expect("it was asked for");
    let place = |text: &str| recording.entries.iter().position(|entry| entry.text == text).map(|at| EntryId(at as u32));
    let read = place("Ball(30)").expect("all of it was read at once");
    let entry = &recording.entries[read.0 as usize];
    let sent: Vec<EntryId> = [21, 22, 23].iter().filter_map(|ball| place(&format!("Write({ball})"))).collect();
    assert_eq!(entry.causes().collect::<Vec<_>>(), sent, "oldest first");
    assert_eq!(entry.cause, sent.last().copied());
    let about: Vec<String> = entry.tags.iter().map(ToString::to_string).collect();
    assert_eq!(about, ["ball=30", "ball=21", "ball=22", "ball=23"], "it is about what was sent");
}
