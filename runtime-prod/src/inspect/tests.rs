use super::*;

fn read(line: &str) -> Result<Inspect, String> {
    let flags = Flags::new(line.split_whitespace().map(OsString::from));
    parse(flags, Layers::new([])).map_err(|error| error.to_string())
}

#[test]
fn subjects_are_understood() {
    for (line, expected) in [
        ("wal", Subject::Wal(None)),
        ("wal /dev/sdb", Subject::Wal(Some("/dev/sdb".into()))),
        ("metadata", Subject::Metadata),
        ("object 3 data/5c/0000000000000001", Subject::Objects(vec!["3".into(), "data/5c/0000000000000001".into()])),
        ("bucket", Subject::Bucket(Depth::Names)),
        ("bucket --deep", Subject::Bucket(Depth::Bytes)),
    ] {
        for (more, as_json) in [("", false), ("--json --data-dir elsewhere", true)] {
            match read(&format!("{line} {more}")).expect(line) {
                Inspect::Subject { subject, json, config } => {
                    assert_eq!((subject, json), (expected.clone(), as_json), "{line} {more}");
                    assert_eq!(config.data_dir, PathBuf::from(if as_json { "elsewhere" } else { "karst-data" }));
                }
                Inspect::Help => panic!("{line} is a question"),
            }
        }
    }
    assert!(matches!(read(""), Ok(Inspect::Help)));
    assert!(matches!(read("wal --help"), Ok(Inspect::Help)));
}

#[test]
fn mistakes_are_named() {
    for (line, named) in [
        ("wal a b", "names one file"),
        ("metadata a", "takes no names"),
        ("bucket a", "takes no names"),
        ("object", "which object?"),
        ("metadata --deep", "takes no --deep"),
        ("head", "there are wal, metadata, object and bucket"),
        ("wal --depp", "no option --depp"),
        ("wal --object-store http://x", "s3://"),
    ] {
        let error = read(line).expect_err(line);
        assert!(error.contains(named), "{line}: {error}");
    }
}
