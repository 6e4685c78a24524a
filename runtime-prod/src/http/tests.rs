use super::*;
use crate::monitor::Phase;
use karst_core::id::NodeId;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

fn start() -> (SocketAddr, Arc<Monitor>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let monitor = Arc::new(Monitor::new(NodeId(7)));
    super::start(listener, monitor.clone()).expect("a thread");
    (address, monitor)
}

fn say(to: SocketAddr, what: &[u8]) -> String {
    let mut client = TcpStream::connect(to).expect("listening");
    client.set_read_timeout(Some(Duration::from_secs(20))).expect("not zero");
    // What it does not want to hear it may refuse.
    let _ = client.write_all(what);
    let mut answer = Vec::new();
    let _ = client.read_to_end(&mut answer);
    String::from_utf8(answer).expect("UTF-8")
}

#[test]
fn pages_are_found_and_others_not() {
    let (address, monitor) = start();
    let get = |path: &str| say(address, format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
    assert!(get("/metrics?x=y").starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4"));
    assert!(get("/status").contains("\"phase\":\"starting\",\"phase_text\":\"starting\",\"ready\":false"));
    assert!(get("/status.txt").contains("\r\n\r\nphase         starting\n"));
    assert!(get("/").contains("/readyz"));
    assert!(get("/healthz").starts_with("HTTP/1.1 200"));
    assert!(get("/readyz").starts_with("HTTP/1.1 503 Service Unavailable"));
    monitor.enter(Phase::Serving);
    assert!(get("/readyz").starts_with("HTTP/1.1 200"));
    for path in ["/x", "//", "/metrics/", "/../etc/passwd", "*"] {
        assert!(get(path).starts_with("HTTP/1.1 404 Not Found"), "{path}");
    }
    let head = say(address, b"HEAD /readyz HTTP/1.0\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("Content-Length: 8\r\n"), "{head}");
    assert!(head.ends_with("\r\n\r\n"), "{head}");
}

#[test]
fn what_is_no_request_is_refused() {
    let (address, _) = start();
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(2 * HEAD));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(HEADERS + 1));
    for (what, code) in [
        ("POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 405),
        ("DELETE / HTTP/1.1\r\n\r\n", 405),
        ("\x16\x03\x01\x02\x00", 400),
        ("GET /\r\n\r\n", 400),
        ("GET / HTTP/2.0\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (&long, 431),
        (&many, 431),
    ] {
        let answer = say(address, what.as_bytes());
        let shown = &what[..what.len().min(40)];
        assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")), "{shown:?}: {answer}");
        assert_eq!(answer.contains("Allow: GET, HEAD"), code == 405, "{shown:?}");
    }
    assert!(say(address, b"GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 200"), "it goes on");
}

#[test]
fn who_says_nothing_is_asked_to_leave_and_others_are_served_meanwhile() {
    let (address, _) = start();
    let slow: Vec<TcpStream> = (0..CONNECTIONS / 2).map(|_| TcpStream::connect(address).expect("listening")).collect();
    let mut half = &slow[0];
    half.write_all(b"GET / HT").expect("open");
    let begun = std::time::Instant::now();
    assert!(say(address, b"GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 200"));
    assert!(begun.elapsed() < ASKING, "{:?}", begun.elapsed());
    let mut answer = String::new();
    half.set_read_timeout(Some(4 * ASKING)).expect("not zero");
    half.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    // Gone without a word.
    TcpStream::connect(address).expect("listening").shutdown(Shutdown::Both).expect("open");
    assert!(say(address, b"GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 200"));
}

#[test]
fn a_request_in_pieces_is_understood() {
    assert_eq!(understand(b"GE"), None);
    assert_eq!(understand(b"GET /metrics HTTP/1.1\r\nHost"), None);
    let page = |path: &str, head| Some(Asked::Page { path: path.into(), head });
    assert_eq!(understand(b"GET /a?b#c HTTP/1.1\r\n\r\n"), page("/a", false));
    assert_eq!(understand(b"HEAD /a HTTP/1.1\r\n\r\n"), page("/a", true));
}
