//! What a recording of a real run tells.

use karst_runtime_sim::follow::{Followed, Query, follow};
use karst_runtime_sim::recording::{EntryKind, Record, Recording, Tag, TagValue};
use karst_runtime_sim::seed::Seed;
use karst_sim::plan::{Plan, Profile};
use karst_sim::world::{self, Options, Report};

fn recorded(seed: u64, profile: Profile) -> Report {
    world::run(Plan::from_seed(Seed(seed), profile), Options { record: Record::Everything, ..Options::default() })
}

/// The acknowledged writes: partition and first offset.
fn acknowledged(recording: &Recording) -> Vec<(String, u64)> {
    let number = |tags: &[Tag], key: &str| tags.iter().find(|tag| tag.key == key).map(|tag| tag.value.clone());
    let of = |tags: &[Tag]| match (number(tags, "partition")?, number(tags, "base")?) {
        (TagValue::Name(partition), TagValue::Range(base, _)) => Some((partition.to_string(), base)),
        _ => None,
    };
    recording.entries.iter().filter_map(|entry| of(&entry.tags)).collect()
}

fn followed(recording: &Recording, query: &str) -> Followed {
    follow(recording, &query.parse::<Query>().expect("a query"))
}

#[test]
fn recording_changes_nothing() {
    for (seed, profile) in [(1, Profile::Swarm), (2, Profile::Storm), (3, Profile::Calm)] {
        let plain = world::run(Plan::from_seed(Seed(seed), profile), Options::default());
        let recorded = recorded(seed, profile);
        assert_eq!((plain.trace, plain.events), (recorded.trace, recorded.events), "seed {seed}");
        assert!(plain.recording.is_none() && recorded.recording.is_some());
    }
}

#[test]
fn every_acknowledged_record_is_followed_from_its_client_to_disk_and_back() {
    let report = recorded(1, Profile::Swarm);
    assert_eq!(report.failure, None);
    let recording = report.recording.expect("it was asked for");
    let writes = acknowledged(&recording);
    assert!(writes.len() > 20, "{} writes were acknowledged", writes.len());
    for (partition, offset) in writes.iter().step_by(writes.len() / 8) {
        let followed = followed(&recording, &format!("partition={partition},offset={offset}"));
        let story = followed.lines(&recording).join("\n");
        let parts = [
            ("/client > tells the oracle that it is about to send write ", "its birth"),
            ("/client > sends the broker its request ", "its way out"),
            ("session-", "its connection"),
            ("/shard > sends the wal ", "its offset"),
            ("/wal > asks the disk to write a block", "its block"),
            (" LSN ", "its LSN"),
            ("/wal < hears \"done, and durable\"", "its durability"),
            ("/shard > sends session-", "its answer"),
            // At once, or again to a producer that asked again.
            (" was acknowledged", "its acknowledgement"),
        ];
        // Names are padded to one width.
        let plain = story.split_whitespace().collect::<Vec<_>>().join(" ");
        for (part, what) in parts {
            assert!(plain.contains(part), "{what} is missing of {partition} {offset}:\n{story}");
        }
        assert!(!story.contains("Mail("), "a person reads it: {story}");
        assert!(followed.fate.iter().any(|fate| fate.starts_with(partition)), "{:?}", followed.fate);
    }
}

#[test]
fn a_story_has_nothing_of_other_partitions() {
    let recording = recorded(1, Profile::Swarm).recording.expect("it was asked for");
    let (partition, offset) = acknowledged(&recording).into_iter().nth(30).expect("there are more");
    let followed = followed(&recording, &format!("partition={partition},offset={offset}"));
    let mine = TagValue::Name(partition.as_str().into());
    for (id, tags) in &followed.entries {
        let foreign = tags.iter().find(|tag| tag.key == "partition" && tag.value != mine);
        assert_eq!(foreign, None, "{:?}", recording.entries[id.0 as usize]);
    }
    let share = recording.entries.len() / followed.entries.len();
    assert!(share > 50, "one of {share} entries is about one record");
}

#[test]
fn objects_and_connections_are_followed_too() {
    let recording = recorded(1, Profile::Swarm).recording.expect("it was asked for");
    let object = followed(&recording, "object=1").lines(&recording).join("\n");
    for part in ["asks the store to write object 1,", "stores object 1", "commit cut "] {
        assert!(object.contains(part), "{part}: {object}");
    }
    let session = recording.lanes.iter().find(|lane| &*lane.owner == "session-1").expect("somebody connects");
    let query = format!("process={},connection=1", session.process);
    let connection = followed(&recording, &query).lines(&recording).join("\n");
    let connection = connection.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in ["/session-1 < receives ", "/shard < gets from client-", "the news that connection 1 is open"] {
        assert!(connection.contains(part), "{part}: {connection}");
    }
}

#[test]
fn faults_and_curves_are_in_it() {
    let recording = recorded(7, Profile::Storm).recording.expect("it was asked for");
    let faults = recording.entries.iter().filter(|entry| entry.kind == EntryKind::Fault);
    let lanes: Vec<&str> = faults.map(|entry| &*recording.lanes[entry.lane.0 as usize].owner).collect();
    assert!(lanes.contains(&"store") && lanes.contains(&"process") && lanes.contains(&"nemesis"), "{lanes:?}");
    let curves = ["appended", "durable", "uploaded", "trimmed", "applied", "head", "trim"];
    assert!(curves.iter().all(|curve| recording.samples.iter().any(|sample| sample.curve == *curve)));
    let durable =
        recording.samples.iter().filter(|sample| sample.curve == "durable" && &*sample.subject == "broker-1/wal");
    assert!(durable.map(|sample| sample.value).is_sorted());
    for label in ["safety", "liveness", "up", "term ", "node epoch "] {
        assert!(recording.bands.iter().any(|band| band.label.starts_with(label)), "{label}");
    }
}
