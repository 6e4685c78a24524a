//! Against a server that says what a test wants, whatever it is asked.

use super::requests::Requests;
use super::{Complaints, Location, connect};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use karst_core::machine::Rope;
use karst_core::store::{
    Cause, ETag, Fatal, Found, Precondition, Span, StoreCall, StoreDone, StoreError, StoreOp, StoreResult,
};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// One connection per answer; the whole request, head and body, is handed to the test. Without an answer it says
/// nothing and keeps the connection.
fn server(answers: Vec<Option<String>>) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = format!("http://{}", listener.local_addr().expect("bound"));
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for answer in answers {
            let Ok((mut connection, _)) = listener.accept() else { return };
            if tell.send(request(&mut connection)).is_err() {
                return;
            }
            match answer {
                Some(answer) => {
                    let _ = connection.write_all(answer.as_bytes());
                    let _ = connection.shutdown(Shutdown::Write);
                }
                None => kept.push(connection),
            }
        }
        // Until the test has its answer.
        std::thread::sleep(Duration::from_secs(5));
    });
    (address, told)
}

fn request(connection: &mut TcpStream) -> String {
    let mut read = Vec::new();
    let mut chunk = [0; 65536];
    while let Ok(len @ 1..) = connection.read(&mut chunk) {
        read.extend_from_slice(&chunk[..len]);
        let text = String::from_utf8_lossy(&read).to_lowercase();
        let Some((head, _)) = text.split_once("\r\n\r\n") else { continue };
        let len = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        if read.len() >= head.len() + 4 + len.unwrap_or_default() {
            break;
        }
    }
    String::from_utf8_lossy(&read).into_owned()
}

fn answer(head: &str, body: &str) -> Option<String> {
    Some(format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()))
}

fn refusal(status: &str, code: &str) -> Option<String> {
    answer(status, &format!("<Error><Code>{code}</Code><Message>planted</Message></Error>"))
}

fn requests(address: &str) -> Requests {
    let location = Location {
        bucket: "abc".into(),
        region: Some("us-east-1".into()),
        endpoint: Some(address.into()),
        path_style: true,
    };
    let keys = Credentials::new("id", "secret", None, None, "a test");
    let shared = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(address)
        .credentials_provider(SharedCredentialsProvider::new(keys))
        .http_client(connect::http())
        .build();
    let complaints = Arc::new(Complaints::default());
    Requests { client: connect::client(&shared, &location), bucket: location.bucket, complaints }
}

fn perform_at(address: &str, op: StoreOp, within: Duration) -> StoreResult {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(requests(address).perform(StoreCall { op, within }))
}

fn perform(op: StoreOp, answers: Vec<Option<String>>) -> (StoreResult, Vec<String>) {
    let (address, told) = server(answers);
    let result = perform_at(&address, op, Duration::from_secs(30));
    (result, told.try_iter().collect())
}

fn put(only_if: Precondition, body: Rope) -> StoreOp {
    StoreOp::Put { key: "meta/head".into(), body, only_if }
}

fn get(span: Span) -> StoreOp {
    StoreOp::Get { key: "data/1".into(), span }
}

fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    request.lines().find_map(|line| {
        let (found, value) = line.split_once(": ")?;
        found.eq_ignore_ascii_case(name).then_some(value)
    })
}

#[test]
fn a_put_carries_its_condition_and_a_checksum_and_no_trailer() {
    let large = {
        let mut rope = Rope::from(vec![b'x'; 100_000]);
        rope.push(vec![b'y'; 5]);
        rope
    };
    for (only_if, name, value, body) in [
        (Precondition::Absent, "if-none-match", "*", Rope::from(&b"small"[..])),
        (Precondition::Is(ETag("\"v-1\"".into())), "if-match", "\"v-1\"", large),
    ] {
        let (result, asked) = perform(put(only_if, body.clone()), vec![answer("200 OK\r\nETag: \"v2\"", "")]);
        assert_eq!(result, Ok(StoreDone::Put { etag: ETag("\"v2\"".into()) }));
        let [asked] = &asked[..] else { panic!("{} requests", asked.len()) };
        assert!(asked.starts_with("PUT /abc/meta/head"), "{asked}");
        assert_eq!(header(asked, name), Some(value));
        assert_eq!(header(asked, "content-length"), Some(body.len().to_string().as_str()));
        assert_eq!(header(asked, "x-amz-checksum-crc32c"), Some(super::body::checksum(&body).as_str()));
        assert_eq!(header(asked, "x-amz-trailer"), None);
        assert_eq!(header(asked, "transfer-encoding"), None);
        assert!(asked.as_bytes().ends_with(&body.to_bytes()), "the body is as it was");
    }
}

#[test]
fn errors_are_asked_once_and_mapped() {
    for (answer, expected) in [
        (refusal("412 Precondition Failed", "PreconditionFailed"), StoreError::Exists),
        (refusal("409 Conflict", "ConditionalRequestConflict"), StoreError::Conflict),
        (refusal("503 Slow Down", "SlowDown"), StoreError::Ambiguous(Cause::Throttled)),
        (refusal("500 Internal Server Error", "InternalError"), StoreError::Ambiguous(Cause::Server)),
        (refusal("403 Forbidden", "AccessDenied"), StoreError::Denied),
        (refusal("404 Not Found", "NoSuchBucket"), StoreError::Fatal(Fatal::NoBucket)),
        (answer("502 Bad Gateway", "<html>no xml at all"), StoreError::Ambiguous(Cause::Server)),
        (answer("200 OK", ""), StoreError::Ambiguous(Cause::Server)),
        (Some(String::new()), StoreError::Ambiguous(Cause::CutOff)),
        (Some("HTTP/1.1 200 OK\r\nETag: \"x".into()), StoreError::Ambiguous(Cause::CutOff)),
    ] {
        let (result, asked) = perform(put(Precondition::Absent, Rope::from(&b"b"[..])), vec![answer.clone(), None]);
        assert_eq!(result, Err(expected), "{answer:?}");
        assert_eq!(asked.len(), 1, "{answer:?} must not be tried again below the machines");
    }
}

#[test]
fn reads_give_the_part_its_version_and_the_length_of_all() {
    let (result, asked) = perform(get(Span::Whole), vec![answer("200 OK\r\nETag: \"v\"", "hello")]);
    assert_eq!(result, Ok(StoreDone::Got { body: b"hello".to_vec().into(), etag: ETag("\"v\"".into()), total: 5 }));
    assert_eq!(header(&asked[0], "range"), None);
    let part = answer("206 Partial Content\r\nETag: \"v\"\r\nContent-Range: bytes 5-9/100", "hello");
    let (result, asked) = perform(get(Span::Range { at: 5, len: 5 }), vec![part]);
    assert_eq!(result, Ok(StoreDone::Got { body: b"hello".to_vec().into(), etag: ETag("\"v\"".into()), total: 100 }));
    assert_eq!(header(&asked[0], "range"), Some("bytes=5-9"));
}

#[test]
fn reads_that_are_not_what_was_asked_for_are_corrupt() {
    let whole = answer("200 OK\r\nETag: \"v\"", "hello, world");
    assert_eq!(perform(get(Span::Range { at: 0, len: 5 }), vec![whole]).0, Err(StoreError::Corrupt));
    let other = answer("206 Partial Content\r\nETag: \"v\"\r\nContent-Range: bytes 6-10/100", "hello");
    assert_eq!(perform(get(Span::Range { at: 5, len: 5 }), vec![other]).0, Err(StoreError::Corrupt));
    let nameless = answer("200 OK", "hello");
    assert_eq!(perform(get(Span::Whole), vec![nameless]).0, Err(StoreError::Corrupt));
    let short = Some("HTTP/1.1 200 OK\r\nETag: \"v\"\r\nContent-Length: 10\r\n\r\nhello".to_owned());
    assert_eq!(perform(get(Span::Whole), vec![short]).0, Err(StoreError::Ambiguous(Cause::CutOff)));
    assert_eq!(perform(get(Span::Whole), vec![refusal("503 x", "SlowDown")]).0, Err(StoreError::Throttled));
    assert_eq!(perform(get(Span::Whole), vec![refusal("404 x", "NoSuchKey")]).0, Err(StoreError::Missing));
}

#[test]
fn a_part_past_the_end_is_empty_and_has_the_length_of_all() {
    let head = answer("200 OK\r\nETag: \"v\"", "").map(|head| head.replace("Content-Length: 0", "Content-Length: 100"));
    let past = refusal("416 Requested Range Not Satisfiable", "InvalidRange");
    let (result, asked) = perform(get(Span::Range { at: 100, len: 5 }), vec![past.clone(), head.clone()]);
    assert_eq!(result, Ok(StoreDone::Got { body: Vec::new().into(), etag: ETag("\"v\"".into()), total: 100 }));
    assert!(asked[1].starts_with("HEAD "), "{}", asked[1]);
    let (result, _) = perform(get(Span::Range { at: 50, len: 5 }), vec![past, head]);
    assert_eq!(result, Err(StoreError::Corrupt), "it has that part");
}

#[test]
fn deleting_what_is_not_there_is_a_success() {
    let delete = || StoreOp::Delete { key: "data/1".into() };
    assert_eq!(perform(delete(), vec![answer("204 No Content", "")]).0, Ok(StoreDone::Deleted));
    assert_eq!(perform(delete(), vec![refusal("404 x", "NoSuchKey")]).0, Ok(StoreDone::Deleted));
    assert_eq!(perform(delete(), vec![refusal("404 x", "NoSuchBucket")]).0, Err(StoreError::Fatal(Fatal::NoBucket)));
}

#[test]
fn a_page_of_names_is_passed_on_in_its_order() {
    let list = || StoreOp::List { prefix: "data/".into(), after: Some("data/1".into()), max: 5000 };
    let page = "<ListBucketResult><IsTruncated>true</IsTruncated>\
        <Contents><Key>data/2</Key><Size>7</Size></Contents>\
        <Contents><Key>data/1.5</Key><Size>0</Size></Contents></ListBucketResult>";
    let (result, asked) = perform(list(), vec![answer("200 OK", page)]);
    let found = vec![Found { key: "data/2".into(), len: 7 }, Found { key: "data/1.5".into(), len: 0 }];
    assert_eq!(result, Ok(StoreDone::Listed { found, more: true }));
    for part in ["list-type=2", "prefix=data%2F", "start-after=data%2F1", "max-keys=1000"] {
        assert!(asked[0].contains(part), "{part}: {}", asked[0]);
    }
    let (result, _) = perform(list(), vec![answer("404 Not Found", "")]);
    assert_eq!(result, Err(StoreError::Fatal(Fatal::NoBucket)));
}

#[test]
fn at_its_deadline_an_attempt_is_dropped() {
    let (address, told) = server(vec![None]);
    let begun = Instant::now();
    let result = perform_at(&address, put(Precondition::Absent, Rope::from(&b"b"[..])), Duration::from_millis(300));
    assert_eq!(result, Err(StoreError::Ambiguous(Cause::Timeout)));
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(4), "{took:?}");
    assert_eq!(told.try_iter().count(), 1);
}

#[test]
fn a_server_that_is_down_cuts_off() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound");
    let result = perform_at(&format!("http://{free}"), get(Span::Whole), Duration::from_secs(30));
    assert_eq!(result, Err(StoreError::Ambiguous(Cause::CutOff)));
}
