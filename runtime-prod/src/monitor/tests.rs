use super::histogram::Histogram;
use super::metrics::{Asker, Operation};
use super::*;
use karst_core::limits::Limits;
use karst_core::machine::Rng;
use karst_core::shard::Shard;
use karst_core::store::{StoreDone, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use tracing_subscriber::layer::SubscriberExt;

fn body(monitor: &Monitor, path: &str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(page(monitor, path)).expect("a page").body
}

/// Of a broker whose shard takes a turn whenever it is woken.
fn monitor() -> Monitor {
    let monitor = Monitor::new(NodeId(1));
    let shard = Shard::new(&Limits::default(), Rng::new(1));
    let looked = Arc::new(OnceLock::new());
    let wake = looked.clone();
    let (look, side) = Look::new(move || {
        let (side, shard): &(view::Looked, Shard) = wake.get().expect("set before anybody asks");
        side.at(shard);
    });
    assert!(looked.set((side, shard)).is_ok());
    monitor.started(Owners { sessions: Sessions::new(2), shard: look });
    monitor
}

/// Name, labels and value of a sample.
fn sample(line: &str) -> (&str, &str, f64) {
    let (series, value) = line.rsplit_once(' ').expect("a value");
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    (name, labels, value.parse().expect("a number"))
}

#[test]
fn every_family_is_told_once_and_every_sample_belongs_to_the_family_before_it() {
    let monitor = monitor();
    monitor.metrics.store.ended(Asker::Node, Operation::Get, 0, Duration::from_millis(3), &Err(StoreError::Denied));
    let text = body(&monitor, "/metrics");
    let (mut families, mut series) = (BTreeMap::new(), BTreeSet::new());
    let mut current = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            current = rest.split(' ').next().expect("a name");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a kind");
            assert_eq!(name, current, "type follows help");
            assert!(families.insert(name, kind).is_none(), "{name} is told twice");
            assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
        } else {
            let (name, labels, _) = sample(line);
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
            let family = family.filter(|family| families.get(family) == Some(&"histogram")).unwrap_or(name);
            assert_eq!(family, current, "{line}");
            assert!(series.insert((name, labels)), "{line} is told twice");
        }
    }
    for name in [
        "karst_request_duration_seconds",
        "karst_produced_bytes_total",
        "karst_wal_used_bytes",
        "karst_cache_bytes",
        "karst_block_cache_bytes",
        "karst_read_ahead_bytes_total",
        "karst_uploads_waiting",
        "karst_store_requests_total",
        "karst_credit_free_bytes",
        "karst_partitions",
        "process_resident_memory_bytes",
    ] {
        assert!(families.contains_key(name), "{name}");
    }
    let denied = "karst_store_requests_total{asker=\"node\",operation=\"get\",outcome=\"denied\"} 1\n";
    assert!(text.contains(denied), "{text}");
}

#[test]
fn a_status_tells_phase_progress_and_failures() {
    let monitor = monitor();
    monitor.enter(Phase::Recovering(Progress { done: 0, of: 1000 }));
    monitor.progress(Progress { done: 250, of: 1000 });
    monitor.metrics.store.ended(Asker::Uploader, Operation::Put, 7, Duration::ZERO, &Err(StoreError::Corrupt));
    let json = body(&monitor, "/status");
    for part in [
        "\"phase\":\"recovering\"",
        "recovering the WAL: 250 of at most 1000 bytes (25 %)",
        "\"ready\":false",
        "\"progress\":{\"done_bytes\":250,\"of_bytes\":1000,\"percent\":25}",
        "\"latest_failure\":{\"seconds_ago\":0,\"asker\":\"uploader\",\"operation\":\"put\"",
        "\"topics\":0",
    ] {
        assert!(json.contains(part), "{part} in {json}");
    }
    monitor.enter(Phase::Serving);
    monitor.progress(Progress { done: 1000, of: 1000 });
    let json = body(&monitor, "/status");
    assert!(json.contains("\"phase\":\"serving\"") && json.contains("\"ready\":true"), "late progress: {json}");
    assert!(!json.contains("progress"), "{json}");
    assert!(body(&monitor, "/status.txt").contains("ago, a put: "), "for people");
}

/// What is logged by this thread meanwhile.
fn logged(meanwhile: impl Future<Output = ()>) -> String {
    #[derive(Clone, Default)]
    struct Shelf(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Shelf {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("one thread").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let shelf = Shelf::default();
    let writer = shelf.clone();
    let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || writer.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || runtime.block_on(meanwhile));
    let bytes = shelf.0.lock().expect("one thread").clone();
    String::from_utf8(bytes).expect("UTF-8")
}

#[test]
fn what_takes_long_is_told_now_and_then_until_it_serves() {
    let monitor = monitor();
    let tell = |length| {
        logged(async {
            tokio::select! {
                () = monitor.tell(Duration::from_millis(20)) => {}
                () = tokio::time::sleep(Duration::from_millis(length)) => {}
            }
        })
    };
    monitor.enter(Phase::Recovering(Progress { done: 1, of: 4 }));
    assert_eq!(tell(5), "", "not at once");
    let told = tell(200);
    let lines = told.lines().count();
    assert!((2..=10).contains(&lines), "{lines} lines: {told}");
    assert!(told.contains("recovering the WAL: 1 of at most 4 bytes (25 %)"), "{told}");
    monitor.enter(Phase::Serving);
    assert_eq!(tell(100), "");
}

#[test]
fn an_owner_that_hangs_is_noticed() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (look, _side) = Look::new(|| {});
    assert!(runtime.block_on(look.now(Detail::Brief, Duration::from_millis(20))).is_none());
    let healthy = |monitor: &Monitor| runtime.block_on(page(monitor, "/healthz")).expect("a page").code;
    assert_eq!(healthy(&Monitor::new(NodeId(1))), 200, "it starts");
    assert_eq!(healthy(&monitor()), 200);
}

#[test]
fn a_store_that_takes_and_gives_is_counted_in_bytes() {
    let monitor = Monitor::new(NodeId(1));
    let store = &monitor.metrics.store;
    let etag = karst_core::store::ETag("x".into());
    store.ended(Asker::Node, Operation::Put, 7, Duration::ZERO, &Ok(StoreDone::Put { etag: etag.clone() }));
    let got = StoreDone::Got { body: vec![0; 5].into(), etag, total: 9 };
    store.ended(Asker::Node, Operation::Get, 0, Duration::ZERO, &Ok(got));
    assert_eq!((store.sent.get(), store.received.get()), (7, 5));
    assert_eq!(Histogram::sum(store.answered.iter()).count(), 2);
}

#[test]
fn groups_are_told_as_far_as_there_is_room() {
    use karst_core::shard::{WatchedGroup, WatchedGroups, WatchedOffset};
    let offset = |lag| WatchedOffset { topic: "t".into(), partition: 3, committed: 7, lag };
    let group = |id: &str, lag| WatchedGroup {
        id: id.into(),
        state: "Stable",
        members: 2,
        generation: 4,
        lag: 5,
        offsets: vec![offset(lag)],
    };
    let states = BTreeMap::from([("Empty", 1), ("Stable", 2)]);
    let told = vec![group("a\"b", Some(5)), group("closed", None)];
    let view = WatchedGroups { states, groups: told, groups_left_out: 1, offsets_left_out: 9 };
    let mut text = exposition::Text::default();
    groups::families(&mut text, &view);
    let text = text.end();
    for line in [
        "karst_groups{state=\"Stable\"} 2\n",
        "karst_groups_left_out 1\n",
        "karst_group_offsets_left_out 9\n",
        "karst_group_info{group=\"a\\\"b\",state=\"Stable\"} 1\n",
        "karst_group_members{group=\"closed\"} 2\n",
        "karst_group_generation{group=\"closed\"} 4\n",
        "karst_group_committed_offset{group=\"closed\",topic=\"t\",partition=\"3\"} 7\n",
        "karst_group_lag{group=\"a\\\"b\",topic=\"t\",partition=\"3\"} 5\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert!(!text.contains("karst_group_lag{group=\"closed\""), "a lag that nobody knows: {text}");
    let json = groups::json(&view).end();
    let each = "\"a\\\"b\":{\"state\":\"Stable\",\"members\":2,\"generation\":4,\"lag\":5}";
    assert!(json.starts_with("{\"count\":3,\"states\":{\"Empty\":1,\"Stable\":2},\"left_out\":1,"), "{json}");
    assert!(json.contains(each), "{json}");
    assert_eq!(groups::line(&view).as_deref(), Some("1 Empty, 2 Stable; most behind: \"closed\" by 5 records"));
    assert_eq!(groups::line(&WatchedGroups::default()), None);
}

#[test]
fn who_asks_for_groups_gets_them_whoever_asks_for_less_at_the_same_time() {
    let monitor = monitor();
    let look = &monitor.owners.get().expect("started").shard;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let patience = Duration::from_secs(10);
    let (brief, whole) =
        runtime.block_on(async { tokio::join!(look.now(Detail::Brief, patience), look.now(Detail::Groups, patience)) });
    assert!(brief.is_some());
    assert!(whole.expect("in time").groups.is_some());
}
