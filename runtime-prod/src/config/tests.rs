//! Every key, from every place where it can be given, to where it belongs.

use super::keys::{KEYS, Key};
use super::*;
use crate::scratch::Scratch;
use std::collections::BTreeSet;
use std::ffi::OsString;

/// A legal value that is not the default.
fn other(key: &Key) -> &'static str {
    match key.name {
        "data.dir" => "/somewhere/else",
        "listen" | "http" => "[::1]:7",
        "advertise" => "h:8",
        "wal.device" => "block:/dev/other",
        "object.store" => "s3://abc?endpoint=http://h:9",
        "s3.access.key.id" => "AKIA7",
        "s3.secret.access.key" | "s3.session.token" => "hush",
        "log.level" => "warn,karst=debug",
        "log.format" => "json",
        "check.invariants" => "true",
        "auto.create.topics.enable" => "false",
        "node.id" | "num.network.threads" | "num.store.threads" | "upload.concurrency" | "read.concurrency" => "7",
        "max.connections" | "num.partitions" | "topic.max.partitions" | "producer.max.per.partition" => "777",
        "wal.depth" => "9",
        "wal.block.bytes" => "64KiB",
        // Within what other limits allow at their defaults.
        "credit.idle.bytes" | "message.max.bytes" => "2000",
        "large.request.bytes" => "2MiB",
        "upload.block.bytes" | "read.request.bytes" => "7MiB",
        "store.delay.ms" => "700ms",
        "control.request.max.bytes" => "3MiB",
        "producer.id.expiration.ms" => "7h",
        "group.max.size" | "wal.objects.max" | "offsets.topic.num.partitions" | "compaction.fan.in" => "77",
        "offset.metadata.max.bytes" => "7KiB",
        name if name.ends_with(".ms") => "77s",
        _ => "77MiB",
    }
}

/// What a value needs beside itself to be legal.
fn companions(key: &Key) -> &'static [&'static str] {
    match key.name {
        "s3.access.key.id" => &["object.store", "s3.secret.access.key"],
        "s3.secret.access.key" => &["object.store", "s3.access.key.id"],
        "s3.session.token" => &["object.store", "s3.access.key.id", "s3.secret.access.key"],
        _ => &[],
    }
}

fn variables<'a>(given: impl IntoIterator<Item = (&'a str, &'a str)>) -> Layers {
    Layers::new(given.into_iter().map(|(name, value)| (OsString::from(name), OsString::from(value))))
}

fn file(scratch: &Scratch, text: &str) -> PathBuf {
    let path = scratch.path().join("karst.toml");
    std::fs::write(&path, text).expect("writable");
    path
}

fn from_file(text: &str) -> Result<Loaded, String> {
    let scratch = Scratch::new("config");
    let mut layers = Layers::default();
    layers.file(file(&scratch, text));
    layers.load().map_err(|error| error.to_string().replace(&*scratch.path().to_string_lossy(), "DIR"))
}

/// With a key and its companions in a file, in the environment, and on the command line as far as that may be.
fn each_way(key: &'static Key) -> Vec<Loaded> {
    let all: Vec<&'static Key> =
        companions(key).iter().map(|name| Key::named(name).expect("a key")).chain([key]).collect();
    let text: String = all.iter().map(|key| format!("{} = \"{}\"\n", key.name, other(key))).collect();
    let mut loaded = vec![from_file(&text).expect(key.name)];
    let named: Vec<String> = all.iter().map(|key| key.variable()).collect();
    let given: Vec<(&str, &str)> = named.iter().map(String::as_str).zip(all.iter().map(|key| other(key))).collect();
    loaded.push(variables(given.iter().copied()).load().expect(key.name));
    if !key.is_secret() {
        let mut layers = variables(given[..given.len() - 1].iter().copied());
        layers.flag(key, other(key).into());
        loaded.push(layers.load().expect(key.name));
    }
    loaded
}

#[test]
fn every_key_arrives_from_every_place_and_nowhere_else() {
    let default = format!("{:?}", Config::default());
    let mut seen = BTreeSet::from([default.clone()]);
    for key in KEYS {
        let ways = each_way(key);
        let texts: BTreeSet<String> = ways.iter().map(|loaded| format!("{:?}", loaded.config)).collect();
        assert_eq!(texts.len(), 1, "{}: the same from everywhere: {texts:?}", key.name);
        // Each key changes something, and no two change the same: secrets aside, which look alike.
        assert!(key.is_secret() || seen.insert(texts.into_iter().next().expect("one")), "{} changes nothing", key.name);
        for loaded in &ways {
            assert!(loaded.origins.contains_key(key.name));
            match key.show(&loaded.config) {
                None => assert!(key.is_secret()),
                Some(shown) => {
                    let mut again = Config::default();
                    key.set(&mut again, &shown).expect("what is shown can be given");
                    assert_eq!(key.show(&again), Some(shown), "{}", key.name);
                    assert_ne!(key.show(&Config::default()), key.show(&again), "{}", key.name);
                }
            }
        }
    }
}

#[test]
fn the_first_rebalance_waits_as_kafkas_does_in_a_bucket_and_as_long_as_is_said_anywhere() {
    let bucket = ("KARST_OBJECT_STORE", "s3://abc");
    let said = ("KARST_GROUP_INITIAL_REBALANCE_DELAY_MS", "3s");
    for (given, seconds) in [(vec![], 0), (vec![bucket], 3), (vec![said], 3), (vec![bucket, said], 3)] {
        let loaded = variables(given.clone()).load().expect("legal");
        let delay = loaded.config.limits.group_initial_rebalance_delay;
        assert_eq!(delay, Duration::from_secs(seconds), "{given:?}");
    }
    let none = variables([bucket, (said.0, "0")]).load().expect("legal");
    assert_eq!(none.config.limits.group_initial_rebalance_delay, Duration::ZERO);
}

/// Each field of the limits can be set, or is one of ours.
#[test]
fn every_limit_has_a_key_or_is_internal() {
    // What nobody outside can have an opinion on: when a broker does its own work in another way.
    const INTERNAL: [&str; 9] = [
        "compute_inline",
        "copied_records",
        "lease",
        "producer_lease",
        "producer_states",
        "head_inline",
        "segments",
        "group_backlog",
        "group_log_garbage",
    ];
    let fields = |limits: &Limits| -> Vec<String> {
        let text = format!("{limits:#?}");
        let outer = |line: &&str| line.starts_with("    ") && !line.starts_with("     ") && line.contains(": ");
        text.lines().filter(outer).map(|line| line.trim().trim_end_matches(',').to_owned()).collect()
    };
    let default = fields(&Config::default().limits);
    let mut settable = BTreeSet::new();
    for key in KEYS.iter().filter(|key| !key.is_secret()) {
        let set = fields(&each_way(key)[0].config.limits);
        let changed: Vec<&String> = set.iter().zip(&default).filter(|(a, b)| a != b).map(|(a, _)| a).collect();
        assert!(changed.len() <= 1, "{} changes {changed:?}", key.name);
        settable.extend(changed.iter().filter_map(|field| field.split(':').next()).map(str::to_owned));
    }
    for field in default.iter().filter_map(|field| field.split(':').next()) {
        assert!(settable.contains(field) != INTERNAL.contains(&field), "{field}: needs a key, or is internal");
    }
}

/// A batch must fit twice into the WAL: where it does not, what holds instead is told.
#[test]
fn the_largest_batch_is_shown_as_it_holds() {
    let shown = |given: &[(&str, &str)]| {
        let scratch = Scratch::new("largest");
        let data = scratch.path().to_str().expect("UTF-8").to_owned();
        let given = given.iter().copied().chain([("KARST_DATA_DIR", &*data)]);
        let text = effective(&variables(given).load().expect("legal"));
        text.lines().find(|line| line.starts_with("record.batch.max.bytes")).expect("a line").to_owned()
    };
    assert_eq!(shown(&[]), "record.batch.max.bytes = \"128MiB\"");
    let small = shown(&[("KARST_WAL_SIZE", "64MiB")]);
    assert!(small.contains("128MiB") && small.contains("# here 32821297, for the write-ahead log"), "{small}");
    let fits = shown(&[("KARST_WAL_SIZE", "64MiB"), ("KARST_RECORD_BATCH_MAX_BYTES", "32821297")]);
    assert_eq!(fits, "record.batch.max.bytes = 32821297  # KARST_RECORD_BATCH_MAX_BYTES");
    let request = shown(&[("KARST_SOCKET_REQUEST_MAX_BYTES", "10MiB")]);
    assert!(request.contains("# here 10485760,"), "{request}");
}

#[test]
fn later_layers_override_earlier_ones() {
    let scratch = Scratch::new("layers");
    let path = file(&scratch, "node.id = 1\nwal.size = \"1GiB\"\nmax.connections = 5\n");
    let path_text = path.to_str().expect("UTF-8");
    let mut layers = variables([("KARST_CONFIG", path_text), ("KARST_NODE_ID", "2"), ("KARST_WAL_SIZE", "2GiB")]);
    layers.flag(Key::named("node.id").expect("a key"), "3".into());
    let loaded = layers.load().expect("legal");
    let Config { node, wal_size, limits, .. } = &loaded.config;
    assert_eq!((*node, *wal_size, limits.connections), (NodeId(3), Some(2 << 30), 5));
    let text = effective(&loaded);
    for line in [
        "node.id = 3  # --node-id".into(),
        "wal.size = \"2GiB\"  # KARST_WAL_SIZE".into(),
        format!("max.connections = 5  # {path_text}, line 3"),
    ] {
        assert!(text.contains(&line), "{line} in {text}");
    }
    let mut layers = variables([("KARST_CONFIG", "/nowhere")]);
    layers.file(path);
    assert_eq!(layers.load().expect("the flag names another file").config.node, NodeId(1));
}

#[test]
fn mistakes_in_a_file_have_a_line_and_a_hint() {
    for (text, expected) in [
        ("\nwal.sise = 1", "DIR/karst.toml, line 2: there is no key \"wal.sise\": did you mean wal.size?"),
        ("message.max.byte = 1", "did you mean message.max.bytes?"),
        ("[wal]\nsize.x = 1", "line 2: there is no key \"wal.size.x\""),
        ("zzz = 1", "there is no key \"zzz\": 'karst config' lists all"),
        ("\n\nnode.id = -1", "line 3: node.id \"-1\" is not a number"),
        ("num.network.threads = 65", "num.network.threads \"65\" is out of range: from 1 to 64"),
        ("wal.block.bytes = \"3KiB\"", "is out of range: from 4096 to"),
        ("wal.block.bytes = 5000", "must be a multiple of 4096"),
        ("listen = 9092", "listen \"9092\" is not HOST:PORT"),
        ("listen = \"\"", "line 1: listen needs a value"),
        ("listen = [1]", "line 1: listen is an array"),
        ("node.id = 1\n\"node.id\" = 2", "line 2: node.id is given in line 1 already"),
        ("listen = ", "line 1: not TOML"),
        ("s3.secret.access.key = \"hush\"", "belong together"),
        ("s3.access.key.id = \"a\"\ns3.secret.access.key = \"hush\"", "no object.store to use them for"),
        ("s3.secret.access.key = \"hush hush\"", "line 1: s3.secret.access.key is empty, or has spaces"),
        ("object.store = \"s3://key:hush@abc\"", "line 1: object.store has an '@'"),
    ] {
        let error = from_file(text).expect_err(text);
        assert!(error.contains(expected) && !error.contains("hush"), "{text}: {error}");
    }
}

#[test]
fn mistakes_in_the_environment_are_named_and_what_others_put_there_is_left_alone() {
    for (name, value, expected) in [
        ("KARST_WAL_SISE", "1", "there is no variable KARST_WAL_SISE: did you mean KARST_WAL_SIZE?"),
        ("KARST_NODE_ID", "x", "KARST_NODE_ID \"x\" is not a number"),
        ("KARST_NODE_ID", "", "KARST_NODE_ID needs a value"),
        ("KARST_S3_SECRET_ACCESS_KEY", "hush hush", "KARST_S3_SECRET_ACCESS_KEY is empty, or has spaces"),
    ] {
        let error = variables([(name, value)]).load().expect_err(name).to_string();
        assert!(error.contains(expected) && !error.contains("hush"), "{name}: {error}");
    }
    let others = [
        ("KARST", "x"),
        ("HOME", "x"),
        ("KARST_SERVICE_HOST", "10.0.0.1"),
        ("KARST_SERVICE_PORT_KAFKA", "9092"),
        ("KARST_PORT", "tcp://10.0.0.1:9092"),
        ("KARST_PORT_9092_TCP_ADDR", "10.0.0.1"),
        ("KARST_0_SERVICE_PORT", "9092"),
    ];
    variables(others).load().expect("none of them is meant for a broker");
    for key in KEYS {
        assert!(!others.iter().any(|(name, _)| *name == key.variable()), "{}", key.name);
    }
}

#[test]
fn secrets_are_nowhere_to_be_seen() {
    let text = "object.store = \"s3://abc\"\ns3.access.key.id = \"AKIA7\"\ns3.secret.access.key = \"hush\"\n\
                s3.session.token = \"hush\"\n";
    let loaded = from_file(text).expect("legal");
    let Credentials { access_key, secret_key, token } = &loaded.config.credentials;
    assert_eq!(access_key.as_deref(), Some("AKIA7"), "it names a key, and opens nothing");
    for secret in [secret_key, token] {
        assert_eq!(secret.as_ref().map(Secret::reveal), Some("hush"), "they arrive");
    }
    let seen = format!("{loaded:?}{:#?}{}", loaded.config, effective(&loaded));
    assert!(!seen.contains("hush") && seen.contains("(set, and not shown)"), "{seen}");
    assert!(Key::named("s3.secret.access.key").expect("a key").show(&loaded.config).is_none());
}

#[test]
fn the_reference_is_a_file_that_changes_nothing() {
    let text = reference();
    for key in KEYS {
        for told in [format!("\n#{} = ", key.name), key.variable(), key.domain()] {
            let words = text.replace("\n# ", " ");
            assert!(text.contains(&told) || words.contains(&told), "{told}");
        }
    }
    assert_eq!(format!("{:?}", from_file(&text).expect("remarks").config), format!("{:?}", Config::default()));
    // With the remarks taken away, but of keys that have no default, it says the same aloud.
    let aloud: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .filter(|line| line.contains(" = ") && !line.starts_with(' ') && !line.ends_with("\"\""))
        .collect();
    assert_eq!(aloud.len() + 6, KEYS.len());
    let mut config = from_file(&aloud.join("\n")).expect("legal").config;
    assert_eq!(config.wal_size.take(), Some(WAL_SIZE));
    assert_eq!(format!("{config:?}"), format!("{:?}", Config::default()));
}

#[test]
fn names_do_not_collide() {
    for (at, key) in KEYS.iter().enumerate() {
        for (other_at, other) in KEYS.iter().enumerate().filter(|(other, _)| *other != at) {
            assert_ne!(key.variable(), other.variable());
            assert!(!other.name.starts_with(&format!("{}.", key.name)), "{at}, {other_at}: TOML can't say both");
        }
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.';
        assert!(key.name.chars().all(legal), "{}", key.name);
        assert!(key.about.ends_with('.'), "{}", key.name);
        // A range's ends can be given.
        for end in [u64::from(u32::MAX) + 1, u64::MAX] {
            let _ = key.set(&mut Config::default(), &end.to_string());
        }
    }
}

#[test]
fn what_is_not_empty_by_default_is_legal() {
    assert!(Config::default().check().is_ok());
    assert!(value::reachable(&Config::default().listen).is_ok());
}
