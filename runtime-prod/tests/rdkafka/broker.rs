//! A broker process that may be killed and started again on the same port.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};

static DIRECTORIES: AtomicU64 = AtomicU64::new(0);
static PORTS: AtomicU16 = AtomicU16::new(0);

pub(crate) struct Broker {
    data: PathBuf,
    port: u16,
    child: Child,
}

impl Broker {
    pub(crate) fn start() -> Self {
        let number = DIRECTORIES.fetch_add(1, Ordering::Relaxed);
        let data = std::env::temp_dir().join(format!("karst-rdkafka-{}-{number}", std::process::id()));
        let port = free_port();
        let child = launch(&data, port);
        Self { data, port, child }
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// kill -9, whatever it does, and starts it again.
    pub(crate) fn kill_and_start(&mut self) {
        self.end();
        self.child = launch(&self.data, self.port);
    }

    fn end(&mut self) {
        // It may have ended by itself, which whoever talks to it will notice.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.end();
        let _ = std::fs::remove_dir_all(&self.data);
    }
}

/// Starts it, and waits until it serves.
fn launch(data: &PathBuf, port: u16) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_karst"));
    command.arg("--data-dir").arg(data).arg("--listen").arg(format!("127.0.0.1:{port}"));
    command.args(["--wal-size", "16MiB", "--http", "off", "--check-invariants"]);
    let mut child = command.stderr(Stdio::piped()).spawn().expect("the binary starts");
    let mut log = BufReader::new(child.stderr.take().expect("piped"));
    let (mut line, mut all) = (String::new(), String::new());
    while !line.contains("ready: listening on") {
        line.clear();
        assert!(log.read_line(&mut line).expect("text") > 0, "it ended before it was ready:\n{all}");
        all += &line;
    }
    // Whoever does not read what it says stops it once the pipe is full.
    std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
    child
}

/// A port outside the range from which the kernel takes ports for outgoing connections: a client that tries to reach a
/// broker that is down could otherwise be connected to itself.
fn free_port() -> u16 {
    let first = u16::try_from(std::process::id() % 10_000).expect("small");
    let mut candidates = (0..10_000).map(|_| 20_000 + (first + PORTS.fetch_add(1, Ordering::Relaxed)) % 10_000);
    candidates.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
}
