//! The broker as an operator meets it: a process with a command line, signals, exit codes and messages.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

static NEXT: AtomicU64 = AtomicU64::new(0);

/// A directory that is removed afterwards.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("karst-process-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the temporary directory can be written");
        Self(path)
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn karst(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_karst"));
    command.arg("--data-dir").arg(data).args([
        "--listen",
        "127.0.0.1:0",
        "--wal-size",
        "16MiB",
        "--check-invariants",
        "--http",
        "off",
    ]);
    command
}

/// Runs one that can't start; its exit code and what it said.
fn refused(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = command.output().expect("the binary starts");
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

/// A broker that is ready.
struct Running {
    child: Child,
    log: Option<BufReader<std::process::ChildStderr>>,
    ready: String,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the binary starts");
        let mut log = BufReader::new(child.stderr.take().expect("piped"));
        let mut running = Self { child, log: None, ready: String::new() };
        let mut all = String::new();
        while !running.ready.contains("ready: listening on") {
            running.ready.clear();
            let more = log.read_line(&mut running.ready).expect("text");
            assert!(more > 0, "it ended before it was ready: {:?}\n{all}", running.child.wait());
            all += &running.ready;
        }
        running.log = Some(log);
        running
    }

    fn after(&self, words: &str) -> String {
        let from = self.ready.find(words).expect("the line tells it") + words.len();
        self.ready[from..].split([',', ' ']).next().unwrap_or_default().into()
    }

    fn cluster(&self) -> String {
        self.after("cluster ")
    }

    fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(self.after("listening on ")).expect("listening");
        client.set_read_timeout(Some(Duration::from_secs(10))).expect("not zero");
        client
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().expect("there is a kill").success());
    }

    /// Its exit code, and what it said since it was ready.
    fn end(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        self.log.take().expect("piped").read_to_string(&mut said).expect("text");
        (self.child.wait().expect("ours").code(), said)
    }

    /// From `/proc/PID/status`, in kB.
    fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("every process has some");
        line.split_whitespace().nth(1).and_then(|kb| kb.parse().ok()).expect("a number")
    }

    /// Times that its threads went to sleep so far: what an idle process must not do often.
    fn wakeups(&self) -> u64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it runs");
        let switches = |task: PathBuf| {
            let status = std::fs::read_to_string(task.join("status")).unwrap_or_default();
            let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).unwrap_or_default();
            line.split_whitespace().nth(1).and_then(|count| count.parse::<u64>().ok()).unwrap_or_default()
        };
        tasks.map(|task| switches(task.expect("readable").path())).sum()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_stops_in_order_and_comes_back_as_the_same_cluster() {
    let dir = Scratch::new();
    let first = Running::start(&mut karst(&dir.join("data")));
    let cluster = first.cluster();
    first.signal("-TERM");
    let (code, said) = first.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("the WAL is clean"), "{said}");

    let second = Running::start(&mut karst(&dir.join("data")));
    assert_eq!(second.cluster(), cluster);
    second.signal("-KILL");
    assert_eq!(second.end().0, None);

    let third = Running::start(&mut karst(&dir.join("data")));
    assert_eq!(third.cluster(), cluster);
    third.signal("-INT");
    assert_eq!(third.end().0, Some(0));
}

#[test]
fn a_client_is_answered() {
    let dir = Scratch::new();
    let broker = Running::start(&mut karst(&dir.join("data")));
    let mut client = broker.connect();
    // ApiVersions (18) version 0, correlation 7, no client id.
    client.write_all(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff]).expect("open");
    let mut head = [0; 10];
    client.read_exact(&mut head).expect("an answer");
    assert_eq!(head[4..], [0, 0, 0, 7, 0, 0], "correlation, then no error");
    // What is no request closes this connection, and no other.
    let mut garbled = broker.connect();
    garbled.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("open");
    assert!(matches!(garbled.read(&mut head), Ok(0)));
    let mut other = broker.connect();
    other.write_all(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 8, 0xff, 0xff]).expect("open");
    other.read_exact(&mut head).expect("an answer");
    assert_eq!(head[4..8], [0, 0, 0, 8]);
}

#[test]
fn a_second_signal_does_not_wait() {
    let dir = Scratch::new();
    let broker = Running::start(&mut karst(&dir.join("data")));
    broker.signal("-STOP");
    broker.signal("-TERM");
    broker.signal("-INT");
    broker.signal("-CONT");
    assert_eq!(broker.end().0, Some(130));
}

#[test]
fn what_is_taken_is_refused_by_name() {
    let dir = Scratch::new();
    let broker = Running::start(&mut karst(&dir.join("data")));
    let (code, said) = refused(&mut karst(&dir.join("data")));
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains(&format!("in use by another broker (process {})", broker.child.id())), "{said}");

    let mut other = Command::new(env!("CARGO_BIN_EXE_karst"));
    other.arg("--data-dir").arg(dir.join("other")).args(["--listen", &broker.after("listening on "), "--http", "off"]);
    let (code, said) = refused(&mut other);
    assert_eq!(code, Some(65), "{said}");
    assert!(said.contains("the --listen address") && said.contains("is in use"), "{said}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let (code, said) = refused(karst(&dir.join("other")).args(["--http", &address]));
    assert_eq!(code, Some(65), "{said}");
    assert!(said.contains("the --http address") && said.contains("choose another --http"), "{said}");
    assert!(!dir.join("other/wal").exists(), "the conflict is found before the WAL is made");
}

#[test]
fn a_command_line_is_checked_and_explained() {
    let say = |arguments: &[&str]| {
        let done = Command::new(env!("CARGO_BIN_EXE_karst")).args(arguments).output().expect("the binary starts");
        (
            done.status.code(),
            String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr),
        )
    };
    let (code, said) = say(&["--wal-sise", "1"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("no option --wal-sise") && said.contains("--help"), "{said}");
    let (code, said) = say(&["--help"]);
    assert_eq!(code, Some(0));
    assert!(said.contains("--data-dir DIR") && said.contains("Exit codes"), "{said}");
    let (code, said) = say(&["--version"]);
    assert_eq!((code, said), (Some(0), format!("karst {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn a_wal_that_is_not_one_is_refused() {
    let dir = Scratch::new();
    std::fs::create_dir_all(dir.join("data")).expect("writable");
    std::fs::write(dir.join("data/wal"), vec![b'x'; 16 << 20]).expect("writable");
    let (code, said) = refused(&mut karst(&dir.join("data")));
    assert_eq!(code, Some(66), "{said}");
    assert!(said.contains("the WAL is refused"), "{said}");
    assert!(std::fs::read(dir.join("data/wal")).expect("there").iter().all(|byte| *byte == b'x'), "left alone");
}

#[test]
fn a_wal_that_is_too_small_is_refused_before_it_is_made() {
    let dir = Scratch::new();
    let mut small = Command::new(env!("CARGO_BIN_EXE_karst"));
    small.arg("--data-dir").arg(dir.join("data")).args([
        "--listen",
        "127.0.0.1:0",
        "--http",
        "off",
        "--wal-size",
        "64KiB",
    ]);
    let (code, said) = refused(&mut small);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("enlarge the WAL"), "{said}");
    Running::start(&mut karst(&dir.join("data")));
}

#[test]
fn a_bucket_that_is_not_one_is_refused_also_when_it_goes_away() {
    let dir = Scratch::new();
    std::fs::create_dir_all(dir.join("data")).expect("writable");
    std::fs::write(dir.join("data/objects"), "a file").expect("writable");
    let (code, said) = refused(&mut karst(&dir.join("data")));
    assert_eq!(code, Some(68), "{said}");
    assert!(said.contains("the object directory"), "{said}");

    let broker = Running::start(&mut karst(&dir.join("later")));
    std::fs::remove_dir_all(dir.join("later/objects")).expect("ours");
    broker.signal("-TERM");
    let (code, said) = broker.end();
    assert_eq!(code, Some(68), "{said}");
    assert!(said.contains("the object store is unusable"), "{said}");
}

#[test]
fn a_broker_that_lost_its_bucket_makes_no_new_cluster() {
    for signal in ["-TERM", "-KILL"] {
        let dir = Scratch::new();
        let (objects, kept) = (dir.join("data/objects"), dir.join("kept"));
        let broker = Running::start(&mut karst(&dir.join("data")));
        let cluster = broker.cluster();
        broker.signal(signal);
        broker.end();
        std::fs::rename(&objects, &kept).expect("ours");
        let wal = std::fs::read(dir.join("data/wal")).expect("there");

        let (code, said) = refused(&mut karst(&dir.join("data")));
        assert_eq!(code, Some(68), "{said}");
        assert!(said.contains("the bucket is empty") && said.contains(&cluster), "{said}");
        assert!(!said.contains("initialising"), "{said}");
        assert!(!objects.join("meta").exists(), "something was created in the bucket");
        assert!(std::fs::read(dir.join("data/wal")).expect("there") == wal, "the WAL was changed");

        std::fs::remove_dir_all(&objects).expect("ours");
        std::fs::rename(&kept, &objects).expect("ours");
        assert_eq!(Running::start(&mut karst(&dir.join("data"))).cluster(), cluster);
    }
}

#[test]
fn the_bucket_of_another_cluster_is_left_alone() {
    let dir = Scratch::new();
    for data in ["one", "other"] {
        let broker = Running::start(&mut karst(&dir.join(data)));
        broker.signal("-TERM");
        assert_eq!(broker.end().0, Some(0));
    }
    std::fs::remove_dir_all(dir.join("one/objects")).expect("ours");
    std::fs::rename(dir.join("other/objects"), dir.join("one/objects")).expect("ours");
    let head = std::fs::read(dir.join("one/objects/meta/head")).expect("there");
    let (code, said) = refused(&mut karst(&dir.join("one")));
    assert_eq!(code, Some(66), "{said}");
    assert!(said.contains("belong together"), "{said}");
    assert!(std::fs::read(dir.join("one/objects/meta/head")).expect("there") == head, "the head was changed");
}

#[test]
fn a_stop_while_the_wal_is_made_leaves_nothing() {
    let dir = Scratch::new();
    let mut slow = karst(&dir.join("data"));
    slow.args(["--wal-size", "2GiB"]);
    let mut child = slow.stderr(Stdio::piped()).spawn().expect("the binary starts");
    let creating = dir.join("data/wal.creating");
    while !creating.exists() {
        assert!(child.try_wait().expect("ours").is_none(), "it ended before it made a WAL");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("there is a kill").success());
    let ended = child.wait_with_output().expect("ours");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(71), "{said}");
    assert!(said.contains("stopped before the WAL was made"), "{said}");
    assert!(!creating.exists() && !dir.join("data/wal").exists());
    Running::start(&mut karst(&dir.join("data")));
}

#[test]
fn a_hangup_and_a_log_that_nobody_reads_end_nothing() {
    let dir = Scratch::new();
    let mut broker = Running::start(&mut karst(&dir.join("data")));
    broker.signal("-HUP");
    let mut said = String::new();
    broker.log.as_mut().expect("piped").read_line(&mut said).expect("text");
    assert!(said.contains("nothing to reload"), "{said}");

    // Now nobody reads: what it logs from here on meets a broken pipe.
    broker.log = None;
    broker.signal("-HUP");
    let mut client = broker.connect();
    client.write_all(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff]).expect("open");
    client.read_exact(&mut [0; 10]).expect("an answer");
    drop(client);
    broker.signal("-TERM");
    assert_eq!(broker.child.wait().expect("ours").code(), Some(0));
}

#[test]
fn a_data_directory_inside_another_brokers_is_refused() {
    let dir = Scratch::new();
    let broker = Running::start(&mut karst(&dir.join("data")));
    for inside in ["data/second", "data/objects", "data/objects/second"] {
        let (code, said) = refused(&mut karst(&dir.join(inside)));
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("another broker's"), "{said}");
    }
    assert!(!dir.join("data/second").exists() && !dir.join("data/objects/wal").exists());
    drop(broker);
}

#[test]
fn an_address_that_is_not_ours_is_refused_with_advice() {
    let dir = Scratch::new();
    let (code, said) = refused(karst(&dir.join("data")).args(["--listen", "192.0.2.1:9092"]));
    assert_eq!(code, Some(65), "{said}");
    assert!(said.contains("no network interface here") && said.contains("--advertise"), "{said}");
}

#[test]
fn an_idle_broker_is_small_and_asleep() {
    let dir = Scratch::new();
    let broker = Running::start(&mut karst(&dir.join("data")));
    let clients: Vec<TcpStream> = (0..50).map(|_| broker.connect()).collect();
    std::thread::sleep(Duration::from_millis(300));
    let (before, begun) = (broker.wakeups(), Instant::now());
    std::thread::sleep(Duration::from_secs(1));
    let rate = (broker.wakeups() - before) as f64 / begun.elapsed().as_secs_f64();
    assert!(rate < 50.0, "{rate} wake-ups a second");
    assert!(broker.resident() < 50 << 10, "{} kB", broker.resident());
    drop(clients);
}
