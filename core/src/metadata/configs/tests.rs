use super::{CleanupPolicy, ConfigName, ConfigNames, ConfigPatch, Millis, TopicConfigs};
use alloc::string::String;

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
        for other in ConfigName::ALL {
            assert_eq!(configs.text(other).as_deref(), (other == name).then_some(told));
        }
        let mut cleared = configs;
        cleared.clear(name);
        assert_eq!(cleared, TopicConfigs::default());
    }
}

#[test]
fn names_are_found_and_defaults_are_legal() {
    for name in ConfigName::ALL {
        assert_eq!(ConfigName::parse(name.name()), Some(name));
        assert!(set(name, &TopicConfigs::default_text(name, 1_048_588)).is_ok(), "{name:?}");
    }
    assert_eq!(ConfigName::parse("segment.bytes"), None);
    assert_eq!(ConfigName::parse("Retention.ms"), None);
    assert!(ConfigName::ALL.iter().map(|name| name.name()).is_sorted());
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
    let told = ConfigName::ALL.map(|name| TopicConfigs::default_text(name, 7));
    let never = "9223372036854775807";
    assert_eq!(told, ["delete", "producer", "7", "3600000", never, "CreateTime", "1", "-1", "604800000"]);
}
