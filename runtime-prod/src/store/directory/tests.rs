use super::*;
use crate::scratch::Scratch;
use karst_core::machine::Rng;
use karst_core::store::Found;
use std::collections::BTreeMap;
use std::sync::Barrier;

fn open(dir: &Scratch) -> Directory {
    Directory::open(dir.path()).expect("a directory of its own")
}

fn create(store: &Directory, key: &str, body: &[u8]) -> StoreResult {
    put(store, key, body, Precondition::Absent)
}

fn put(store: &Directory, key: &str, body: &[u8], only_if: Precondition) -> StoreResult {
    store.perform(&StoreOp::Put { key: key.into(), body: Bytes::copy_from_slice(body).into(), only_if })
}

fn get(store: &Directory, key: &str, span: Span) -> Result<(Vec<u8>, ETag, u64), StoreError> {
    match store.perform(&StoreOp::Get { key: key.into(), span })? {
        StoreDone::Got { body, etag, total } => Ok((body.to_vec(), etag, total)),
        other => panic!("not what a get answers: {other:?}"),
    }
}

fn whole(store: &Directory, key: &str) -> Vec<u8> {
    get(store, key, Span::Whole).expect("there").0
}

fn etag(result: StoreResult) -> ETag {
    match result {
        Ok(StoreDone::Put { etag }) => etag,
        other => panic!("not put: {other:?}"),
    }
}

fn list(store: &Directory, prefix: &str, after: Option<&str>, max: usize) -> (Vec<String>, bool) {
    let op = StoreOp::List { prefix: prefix.into(), after: after.map(Key::from), max };
    match store.perform(&op) {
        Ok(StoreDone::Listed { found, more }) => (found.into_iter().map(|found| found.key.0).collect(), more),
        other => panic!("not listed: {other:?}"),
    }
}

#[test]
fn a_name_is_created_once() {
    let dir = Scratch::new("create");
    let store = open(&dir);
    let first = etag(create(&store, "a/b/c", b"one"));
    assert_eq!(create(&store, "a/b/c", b"two"), Err(StoreError::Exists));
    assert_eq!(get(&store, "a/b/c", Span::Whole), Ok((b"one".to_vec(), first, 3)));
    assert_eq!(std::fs::read(dir.path().join("a/b/c")).expect("there"), b"one");
    assert_eq!(std::fs::read_dir(dir.path().join(".tmp")).expect("there").count(), 0);
}

#[test]
fn a_swap_replaces_only_the_version_that_it_names() {
    let dir = Scratch::new("swap");
    let store = open(&dir);
    assert_eq!(put(&store, "head", b"x", Precondition::Is(ETag("0".into()))), Err(StoreError::Missing));
    let first = etag(create(&store, "head", b"one"));
    let second = etag(put(&store, "head", b"two", Precondition::Is(first.clone())));
    assert_eq!(put(&store, "head", b"three", Precondition::Is(first)), Err(StoreError::Exists));
    assert_eq!(get(&store, "head", Span::Whole), Ok((b"two".to_vec(), second, 3)));
    let part = get(&store, "head", Span::Last { len: 1 }).expect("there").1;
    assert_eq!(put(&store, "head", b"four", Precondition::Is(part)), Err(StoreError::Exists));
}

#[test]
fn of_many_creators_one_wins_and_the_losers_see_it() {
    let dir = Scratch::new("race-create");
    let store = open(&dir);
    for round in 0..20 {
        let key = format!("deep/{round}/name");
        let wins = race(|racer| {
            let body = vec![racer; 1000];
            match create(&store, &key, &body) {
                Ok(_) => true,
                Err(StoreError::Exists) => {
                    assert_eq!(whole(&store, &key).len(), 1000);
                    false
                }
                Err(error) => panic!("{error}"),
            }
        });
        assert_eq!(wins.iter().filter(|won| **won).count(), 1);
        let winner = wins.iter().position(|won| *won).expect("one");
        assert_eq!(whole(&store, &key), vec![winner as u8; 1000]);
    }
}

#[test]
fn of_many_swaps_from_one_version_one_wins() {
    let dir = Scratch::new("race-swap");
    let store = open(&dir);
    let mut version = etag(create(&store, "head", b"first"));
    for round in 0..20_u8 {
        let wins = race(|racer| match put(&store, "head", &[round, racer], Precondition::Is(version.clone())) {
            Ok(_) => true,
            Err(StoreError::Exists) => false,
            Err(error) => panic!("{error}"),
        });
        assert_eq!(wins.iter().filter(|won| **won).count(), 1);
        let (body, etag, _) = get(&store, "head", Span::Whole).expect("there");
        assert_eq!(body, [round, wins.iter().position(|won| *won).expect("one") as u8]);
        version = etag;
    }
}

/// Runs 16 at once, and tells who won.
fn race(run: impl Fn(u8) -> bool + Sync) -> Vec<bool> {
    let start = Barrier::new(16);
    std::thread::scope(|scope| {
        let (start, run) = (&start, &run);
        let racers: Vec<_> = (0..16)
            .map(|racer| {
                scope.spawn(move || {
                    start.wait();
                    run(racer)
                })
            })
            .collect();
        racers.into_iter().map(|racer| racer.join().expect("racers don't fail")).collect()
    })
}

#[test]
fn counting_by_swaps_loses_no_step() {
    const EACH: u64 = 25;
    let dir = Scratch::new("count");
    let store = open(&dir);
    create(&store, "count", &0_u64.to_le_bytes()).expect("new");
    race(|_| {
        let mut done = 0;
        while done < EACH {
            let (body, etag, _) = get(&store, "count", Span::Whole).expect("there");
            let next = u64::from_le_bytes(body.try_into().expect("eight bytes")) + 1;
            match put(&store, "count", &next.to_le_bytes(), Precondition::Is(etag)) {
                Ok(_) => done += 1,
                Err(StoreError::Exists) => {}
                Err(error) => panic!("{error}"),
            }
        }
        true
    });
    assert_eq!(whole(&store, "count"), (16 * EACH).to_le_bytes());
}

#[test]
fn parts_of_an_object() {
    let dir = Scratch::new("spans");
    let store = open(&dir);
    let version = etag(create(&store, "digits", b"0123456789"));
    let read = |span| get(&store, "digits", span).map(|(body, _, total)| (body, total));
    let range = |at, len| read(Span::Range { at, len });
    assert_eq!(read(Span::Whole), Ok((b"0123456789".to_vec(), 10)));
    assert_eq!(range(2, 3), Ok((b"234".to_vec(), 10)));
    assert_eq!(range(8, 9), Ok((b"89".to_vec(), 10)));
    assert_eq!(range(10, 1), Ok((vec![], 10)));
    assert_eq!(range(u64::MAX, u64::MAX), Ok((vec![], 10)));
    assert_eq!(read(Span::Last { len: 4 }), Ok((b"6789".to_vec(), 10)));
    assert_eq!(read(Span::Last { len: 99 }), Ok((b"0123456789".to_vec(), 10)));
    assert_eq!(get(&store, "digits", Span::Last { len: 10 }).expect("there").1, version);
    assert_eq!(get(&store, "none", Span::Whole), Err(StoreError::Missing));
    assert_eq!(get(&store, "digits/none", Span::Whole), Err(StoreError::Missing));
    create(&store, "empty", b"").expect("new");
    assert_eq!(get(&store, "empty", Span::Last { len: 4 }).map(|read| read.2), Ok(0));
}

#[test]
fn what_is_deleted_is_gone_and_may_be_made_again() {
    let dir = Scratch::new("delete");
    let store = open(&dir);
    create(&store, "a/b", b"1").expect("new");
    let delete = |key: &str| store.perform(&StoreOp::Delete { key: key.into() });
    assert_eq!(delete("a/b"), Ok(StoreDone::Deleted));
    assert_eq!(delete("a/b"), Ok(StoreDone::Deleted));
    assert_eq!(delete("never/was"), Ok(StoreDone::Deleted));
    assert_eq!(get(&store, "a/b", Span::Whole), Err(StoreError::Missing));
    create(&store, "a/b", b"2").expect("free again");
}

#[test]
fn listings_agree_with_an_ordered_map() {
    let dir = Scratch::new("list");
    let store = open(&dir);
    let mut rng = Rng::new(3);
    let mut model = BTreeMap::new();
    // Around the slash in byte order, so that trees and strings sort differently.
    let alphabet = ["a", "b", "a-", "a.b", "a0", "ab", "-", "~"];
    while model.len() < 120 {
        let depth = rng.between(1, 4);
        let parts: Vec<&str> = (0..depth).map(|_| *rng.pick(&alphabet).expect("not empty")).collect();
        let key = parts.join("/");
        match create(&store, &key, key.as_bytes()) {
            Ok(_) => assert!(model.insert(key.clone(), key.len() as u64).is_none()),
            Err(StoreError::Exists) => assert!(model.contains_key(&key)),
            // Unlike a bucket, a directory has no room for both `a` and `a/b`.
            Err(StoreError::Fatal(Fatal::BadRequest)) => assert!(!model.contains_key(&key)),
            Err(error) => panic!("{key}: {error}"),
        }
    }
    let mut prefixes: Vec<String> = model.keys().flat_map(|key| [key.clone(), key[..key.len() / 2].into()]).collect();
    prefixes.extend(["".into(), "a/".into(), "zz".into()]);
    for prefix in prefixes {
        for max in [1, 2, 7, 1000] {
            let mut after: Option<String> = None;
            loop {
                let (found, more) = list(&store, &prefix, after.as_deref(), max);
                let rest = |key: &&String| key.starts_with(&prefix) && after.as_ref().is_none_or(|after| *key > after);
                let expected: Vec<&String> = model.keys().filter(rest).collect();
                assert_eq!(found.iter().collect::<Vec<_>>(), expected[..max.min(expected.len())]);
                assert_eq!(more, expected.len() > max, "prefix {prefix:?}, after {after:?}, max {max}");
                after = found.last().cloned();
                if !more {
                    break;
                }
            }
        }
    }
    let Ok(StoreDone::Listed { found, .. }) =
        store.perform(&StoreOp::List { prefix: "".into(), after: None, max: 9999 })
    else {
        panic!("not listed")
    };
    let expected: Vec<Found> = model.into_iter().map(|(key, len)| Found { key: key.into(), len }).collect();
    assert_eq!(found, expected);
}

#[test]
fn half_written_bodies_of_a_crash_vanish_and_never_had_a_name() {
    let dir = Scratch::new("crash");
    let before = etag(create(&open(&dir), "a/b", b"kept"));
    // A process that died while it wrote, and one that died between its link and the removal of the body aside.
    std::fs::write(dir.path().join(".tmp/0"), b"ha").expect("writable");
    std::fs::hard_link(dir.path().join("a/b"), dir.path().join(".tmp/7")).expect("one file system");
    let store = open(&dir);
    assert_eq!(std::fs::read_dir(dir.path().join(".tmp")).expect("there").count(), 0);
    assert_eq!(list(&store, "", None, 10), (vec!["a/b".into()], false));
    assert_eq!(get(&store, "a/b", Span::Whole), Ok((b"kept".to_vec(), before, 4)));
}

#[test]
fn a_directory_has_one_owner() {
    let dir = Scratch::new("held");
    let held = open(&dir);
    match Directory::open(dir.path()) {
        Err(OpenError::Held(what)) => assert!(what.contains(&std::process::id().to_string()), "{what}"),
        other => panic!("granted twice: {other:?}"),
    }
    drop(held);
    open(&dir);
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let dir = Scratch::new("names");
    let store = open(&dir);
    let bad = Err(StoreError::Fatal(Fatal::BadRequest));
    for key in ["", "/etc/passwd", "../x", "a/../b", ".tmp/0", ".lock", "a//b", "a/"] {
        assert_eq!(create(&store, key, b""), bad, "{key:?}");
    }
    create(&store, "a/b", b"").expect("new");
    assert_eq!(create(&store, "a", b""), bad);
    assert_eq!(create(&store, "a/b/c", b""), bad);
}

#[test]
fn a_directory_that_was_taken_away_is_no_bucket() {
    let dir = Scratch::new("gone");
    let store = open(&dir);
    std::fs::remove_dir_all(dir.path()).expect("ours");
    let gone = StoreError::Fatal(Fatal::NoBucket);
    assert_eq!(create(&store, "a", b""), Err(gone));
    assert_eq!(get(&store, "a", Span::Whole), Err(gone));
    assert_eq!(store.perform(&StoreOp::Delete { key: "a".into() }), Err(gone));
    assert_eq!(store.perform(&StoreOp::List { prefix: "".into(), after: None, max: 1 }), Err(gone));
}

#[test]
fn the_worlds_errors_have_names() {
    let dir = Scratch::new("errors");
    let store = open(&dir);
    let named = |code| store.refused("put", &"a".into(), &io::Error::from_raw_os_error(code));
    use rustix::io::Errno;
    assert_eq!(named(Errno::NOSPC.raw_os_error()), StoreError::Fatal(Fatal::NoSpace));
    assert_eq!(named(Errno::DQUOT.raw_os_error()), StoreError::Fatal(Fatal::NoSpace));
    assert_eq!(named(Errno::ROFS.raw_os_error()), StoreError::Fatal(Fatal::ReadOnly));
    assert_eq!(named(Errno::ACCESS.raw_os_error()), StoreError::Denied);
    assert_eq!(named(Errno::PERM.raw_os_error()), StoreError::Denied);
    assert_eq!(named(Errno::IO.raw_os_error()), StoreError::Ambiguous(Cause::Server));
}

#[test]
fn an_etag_is_a_hash_of_the_content_however_that_is_cut() {
    let etag = |pieces: &[&'static [u8]]| etag_of(&pieces.iter().copied().map(Bytes::from_static).collect::<Vec<_>>());
    assert_eq!(etag(&[]).0, "99aa06d3014798d86001c324468d497f", "as published for no bytes");
    assert_eq!(etag(&[b"hello"]), etag(&[b"", b"he", b"llo"]));
    assert_ne!(etag(&[b"hello"]), etag(&[b"hellp"]));
}
