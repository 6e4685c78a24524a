//! `karst bench broker` from end to end, with short measurements.

use std::path::PathBuf;
use std::process::{Command, Output};

#[test]
fn it_measures_a_broker_of_its_own_and_cleans_up() {
    let dir = scratch();
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_karst"))
        .args(["bench", "broker", "--seconds", "1", "--connections", "1", "--json", "--data-dir"])
        .arg(&dir)
        .output()
        .expect("the binary starts");
    let (json, said) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert_eq!(status.code(), Some(0), "{said}");
    for key in [
        "latency.produce.median",
        "latency.disk.median",
        "latency.added",
        "latency.cpu.broker",
        "consume.cache.rate",
        "produce.rate",
        "produce.disk.rate",
        "produce.cpu.client",
        "produce.cpu.broker",
    ] {
        let figure = json.lines().find(|line| line.contains(&format!("\"key\": \"{key}\"")));
        let figure = figure.unwrap_or_else(|| panic!("{key} is missing in\n{json}"));
        let value = figure.split("\"value\": ").nth(1).and_then(|rest| rest.split(',').next());
        assert!(value.is_some_and(|value| value.parse::<f64>().is_ok()), "{figure}");
    }
    let left: Vec<_> = std::fs::read_dir(&dir).expect("readable").collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(!is_running(&dir), "its broker is still there");
    std::fs::remove_dir_all(&dir).expect("ours");
}

#[test]
fn a_benchmark_is_explained_and_its_mistakes_are_named() {
    let say = |arguments: &[&str]| {
        let done = Command::new(env!("CARGO_BIN_EXE_karst")).arg("bench").args(arguments).output().expect("it starts");
        (done.status.code(), String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned())
    };
    let (code, said) = say(&["--help"]);
    assert_eq!(code, Some(0));
    assert!(said.contains("karst bench disk") && said.contains("--record-size"), "{said}");
    let (code, said) = say(&["disk", "--connect", "h:1"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("no option --connect"), "{said}");
    let (code, said) = say(&["disk", "--dir", "/proc/nowhere"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("cannot make /proc/nowhere"), "{said}");
}

fn scratch() -> PathBuf {
    let dir = std::env::temp_dir().join(format!("karst-bench-test-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("the temporary directory can be written");
    dir
}

/// Whether a process has this directory on its command line.
fn is_running(dir: &std::path::Path) -> bool {
    let processes = std::fs::read_dir("/proc").expect("there is a /proc");
    let lines = processes.filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok());
    let name = dir.to_str().expect("ASCII").as_bytes();
    lines.into_iter().any(|line| line.windows(name.len()).any(|part| part == name))
}
