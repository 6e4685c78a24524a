use super::{CleanupPolicy, ConfigKind, ConfigName, ConfigNames, ConfigPatch, InertName, Millis, TopicConfigs};
use alloc::string::String;
use alloc::vec::Vec;

fn set(name: ConfigName, value: &str) -> Result<TopicConfigs, String> {
    let mut configs = TopicConfigs::default();
    configs.set(name, value).map(|()| configs)
}

/// A value that each config takes, as it is told back.
const VALUES: [(ConfigName, &str, &str); 19] = [
    (ConfigName::CleanupPolicy, "compact", "compact"),
    (ConfigName::CleanupPolicy, "delete, compact", "compact,delete"),
    (ConfigName::CleanupPolicy, "delete", "delete"),
    (ConfigName::CleanupPolicy, "", ""),
    (ConfigName::CompressionType, "producer", "producer"),
    (ConfigName::CompressionType, "uncompressed", "uncompressed"),
    (ConfigName::CompressionType, "gzip", "gzip"),
    (ConfigName::CompressionType, "snappy", "snappy"),
    (ConfigName::CompressionType, "lz4", "lz4"),
    (ConfigName::CompressionType, " zstd", "zstd"),
    (ConfigName::MaxMessageBytes, "0", "0"),
    (ConfigName::TimestampAfterMax, "9223372036854775807", "9223372036854775807"),
    (ConfigName::TimestampBeforeMax, " 7 ", "7"),
    (ConfigName::TimestampType, "LogAppendTime", "LogAppendTime"),
    (ConfigName::TimestampType, "CreateTime", "CreateTime"),
    (ConfigName::MinInsyncReplicas, "3", "3"),
    (ConfigName::RetentionBytes, "-7", "-7"),
    (ConfigName::RetentionTime, "-1", "-1"),
    (ConfigName::RetentionTime, "0", "0"),
];

#[test]
fn what_is_set_is_told_and_nothing_else() {
    for (name, value, told) in VALUES {
        let configs = set(name, value).expect("legal");
        for other in ConfigName::all() {
            assert_eq!(configs.text(other).as_deref(), (other == name).then_some(told));
        }
        let mut cleared = configs;
        cleared.clear(name);
        assert_eq!(cleared, TopicConfigs::default());
    }
}

#[test]
fn names_are_found_and_defaults_are_legal() {
    let all = ConfigName::all();
    assert_eq!(all.len(), ConfigName::COUNT);
    for name in &all {
        assert_eq!(ConfigName::parse(name.name()), Some(*name));
        let default = TopicConfigs::default_text(*name, 1_048_588);
        let configs = set(*name, &default).expect("a default is legal");
        assert_eq!(configs.text(*name).as_deref(), Some(&*default), "{name:?}");
    }
    for unknown in ["segment.size", "Retention.ms", "message.format.version", ""] {
        assert_eq!(ConfigName::parse(unknown), None);
    }
    assert!(all.iter().map(|name| name.name()).is_sorted());
    let numbers: alloc::collections::BTreeSet<u32> = all.iter().map(|name| name.number()).collect();
    assert!(numbers.len() == all.len() && numbers.last() < Some(&u64::BITS), "each has a bit of its own");
    for inert in InertName::ALL {
        assert_eq!(InertName::of_number(*inert as u8), Some(*inert));
        assert!(inert.documentation().starts_with("No effect in Karst: ") && inert.documentation().ends_with('.'));
    }
}

#[test]
fn what_can_not_be_is_refused_with_what_could() {
    let refused = |name, value| set(name, value).expect_err("illegal");
    assert_eq!(
        refused(ConfigName::RetentionTime, "-2"),
        "Invalid value -2 for configuration retention.ms: Value must be at least -1"
    );
    assert_eq!(
        refused(ConfigName::RetentionBytes, "9223372036854775808"),
        "Invalid value 9223372036854775808 for configuration retention.bytes: Not a number of type LONG"
    );
    assert_eq!(
        refused(ConfigName::MaxMessageBytes, "2147483648"),
        "Invalid value 2147483648 for configuration max.message.bytes: Not a number of type INT"
    );
    assert_eq!(
        refused(ConfigName::CleanupPolicy, "delete,Compact"),
        "Invalid value Compact for configuration cleanup.policy: String must be one of: compact, delete"
    );
    let known = ": String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer";
    for value in ["brotli", "none", "ZSTD", ""] {
        assert!(refused(ConfigName::CompressionType, value).ends_with(known));
    }
    for (name, value) in [
        (ConfigName::MinInsyncReplicas, "0"),
        (ConfigName::TimestampAfterMax, "-1"),
        (ConfigName::TimestampBeforeMax, "1.5"),
        (ConfigName::TimestampType, "logappendtime"),
        (ConfigName::CleanupPolicy, "delete,"),
    ] {
        let _ = refused(name, value);
    }
    assert!(refused(ConfigName::RetentionTime, &"9".repeat(100_000)).len() < 300, "a long value is cut");
}

#[test]
fn a_patch_clears_sets_appends_and_subtracts_in_this_order() {
    let before = set(ConfigName::RetentionTime, "5").expect("legal");
    let mut patch = ConfigPatch { clear: ConfigNames::ALL, ..ConfigPatch::default() };
    assert_eq!(before.patched(&patch), TopicConfigs::default());
    patch.set.retention_time = Some(Millis(9));
    assert_eq!(before.patched(&patch).retention_time(), Some(Millis(9)));
    let one = ConfigPatch { clear: ConfigNames::NONE.with(ConfigName::RetentionBytes), ..ConfigPatch::default() };
    assert_eq!(before.patched(&one), before);

    let compact = set(ConfigName::CleanupPolicy, "compact").expect("legal").cleanup_policy();
    let append = ConfigPatch { append: compact, ..ConfigPatch::default() };
    let both = before.patched(&append);
    assert_eq!(both.text(ConfigName::CleanupPolicy).as_deref(), Some("compact,delete"), "to the default");
    let subtract = ConfigPatch { subtract: CleanupPolicy::DELETE, ..ConfigPatch::default() };
    assert_eq!(both.patched(&subtract).cleanup_policy(), compact);
    assert_eq!(before.patched(&subtract).cleanup_policy(), CleanupPolicy::NONE);
    assert_eq!(before.patched(&ConfigPatch::default()), before);
}

#[test]
fn defaults_are_kafkas() {
    let none = TopicConfigs::default();
    assert_eq!(none.retention_time(), Some(Millis(604_800_000)));
    assert_eq!((none.retention_bytes(), none.timestamp_after_max()), (None, Millis(3_600_000)));
    assert_eq!(none.timestamp_before_max(), Millis(i64::MAX));
    let told = ConfigName::HONOURED.map(|name| TopicConfigs::default_text(name, 7));
    let never = "9223372036854775807";
    assert_eq!(told, ["delete", "producer", "7", "3600000", never, "CreateTime", "1", "-1", "604800000"]);
}

#[test]
fn what_has_no_effect_is_taken_as_kafka_takes_it() {
    use InertName as Name;
    let legal = [
        (Name::SegmentBytes, "52428800", "52428800"),
        (Name::Preallocate, "TRUE", "true"),
        (Name::UncleanElection, " false ", "false"),
        (Name::DirtyRatio, "1", "1.0"),
        (Name::DirtyRatio, "0.01", "0.01"),
        (Name::GzipLevel, "-1", "-1"),
        (Name::ZstdLevel, "-131072", "-131072"),
        (Name::RemoteStorage, "false", "false"),
        (Name::LocalRetentionTime, "-2", "-2"),
        (Name::LeaderThrottle, "*", "*"),
        (Name::FollowerThrottle, "0:1,11:2", "0:1,11:2"),
        (Name::FollowerThrottle, "", ""),
    ];
    for (name, value, told) in legal {
        let configs = set(ConfigName::Inert(name), value).expect("legal");
        assert_eq!(configs.inert.into_iter().collect::<Vec<_>>(), [(name, told.into())]);
    }
    let long = "1:2,".repeat(64);
    let illegal = [
        (Name::SegmentBytes, "13", "Value must be at least 14"),
        (Name::SegmentBytes, "2147483648", "Not a number of type INT"),
        (Name::SegmentTime, "0", "Value must be at least 1"),
        (Name::FlushTime, "-1", "Value must be at least 0"),
        (Name::Preallocate, "yes", "Expected value to be either true or false"),
        (Name::DirtyRatio, "1.1", "Value must be from 0 to 1"),
        (Name::DirtyRatio, "NaN", "Value must be from 0 to 1"),
        (Name::DirtyRatio, "half", "Not a number of type DOUBLE"),
        (Name::GzipLevel, "0", "Value must be between 1 and 9 or equal to -1"),
        (Name::Lz4Level, "18", "Value must be from 1 to 17"),
        (Name::ZstdLevel, "23", "Value must be from -131072 to 22"),
        (Name::RemoteStorage, "true", "Tiered Storage functionality is disabled in the broker"),
        (Name::LeaderThrottle, "0", "must be the literal '*' or a list"),
        (Name::LeaderThrottle, "0:1,", "must be the literal '*' or a list"),
        (Name::LeaderThrottle, &long[..long.len() - 1], ""),
        (Name::LeaderThrottle, &"1:22,".repeat(64)[..319], "no more than 255 bytes"),
    ];
    for (name, value, why) in illegal {
        if why.is_empty() {
            assert!(set(ConfigName::Inert(name), value).is_ok(), "255 bytes are not too many");
            continue;
        }
        let said = set(ConfigName::Inert(name), value).expect_err("illegal");
        assert!(said.contains(why), "{name:?} {value}: {said}");
    }
    assert_eq!(ConfigName::Inert(Name::DirtyRatio).kind(), ConfigKind::Double);
    assert_eq!(ConfigName::Inert(Name::LeaderThrottle).broker_name(), None);
}

#[test]
fn what_has_no_effect_is_patched_and_must_go_together() {
    let (least, most) =
        (ConfigName::Inert(InertName::MinCompactionLag), ConfigName::Inert(InertName::MaxCompactionLag));
    let before = set(least, "10").expect("legal");
    let to = |value| ConfigPatch { set: set(most, value).expect("legal"), ..ConfigPatch::default() };
    assert_eq!(before.patched(&to("10")).check(), Ok(()));
    let wrong = before.patched(&to("9"));
    let why = "conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (9)";
    assert_eq!(wrong.check(), Err(why.into()));
    let clear = ConfigPatch { clear: ConfigNames::NONE.with(least), ..ConfigPatch::default() };
    assert_eq!(wrong.patched(&clear).inert.len(), 1);
    assert_eq!(wrong.patched(&clear).check(), Ok(()));
    assert_eq!(wrong.patched(&ConfigPatch { clear: ConfigNames::ALL, ..clear }), TopicConfigs::default());
}
