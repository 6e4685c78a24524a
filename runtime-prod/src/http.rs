//! The HTTP listener for those who watch a broker: a few pages, and nothing that changes anything.
//!
//! One request per connection, on a thread of its own with everything bounded: connections, the length of a request's
//! head, the time for it, and the time for the answer. A body is not read. Whatever else a client does ends its connection.

use crate::exit::PanicGuard;
use crate::monitor::{Monitor, Page, page};
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// Connections at once; more wait in the kernel's queue.
const CONNECTIONS: usize = 64;

/// A request's head, its headers included.
const HEAD: usize = 8 << 10;

/// Headers of a request.
const HEADERS: usize = 64;

/// A client has so long to send its request.
const ASKING: Duration = Duration::from_secs(5);

/// A client has so long to read its answer.
const READING: Duration = Duration::from_secs(10);

/// After its answer a client has so long to close, and may send so much that nobody reads.
const LINGER: Duration = Duration::from_secs(1);
const IGNORED: usize = 1 << 20;

/// Out of file descriptors or memory: waiting is all that helps.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// Answers whoever connects, until the process ends.
///
/// # Errors
/// When the operating system refuses what that needs.
pub fn start(listener: TcpListener, monitor: Arc<Monitor>) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("http".into()).spawn(move || {
        let _guard = PanicGuard::new("the HTTP listener");
        runtime.block_on(async {
            match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => accept(listener, monitor).await,
                Err(error) => tracing::error!(%error, "cannot watch the HTTP socket"),
            }
        });
    })?;
    Ok(())
}

async fn accept(listener: tokio::net::TcpListener, monitor: Arc<Monitor>) {
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = free.clone().acquire_owned().await.expect("nobody closes it");
        match listener.accept().await {
            Ok((stream, _)) => {
                let monitor = monitor.clone();
                tokio::spawn(async move {
                    let _guard = PanicGuard::new("an HTTP connection");
                    // A client that goes away is no news.
                    let _ = serve(stream, &monitor).await;
                    drop(place);
                });
            }
            Err(_) => sleep(EXHAUSTED).await,
        }
    }
}

async fn serve(mut stream: TcpStream, monitor: &Monitor) -> io::Result<()> {
    let answer = match timeout(ASKING, ask(&mut stream)).await {
        Ok(asked) => match asked? {
            Asked::Page { path, head } => found(page(monitor, &path).await, head),
            Asked::Nothing => return Ok(()),
            Asked::Refused(code) => Answer { code, allow: code == 405, head: false, page: None },
        },
        Err(_) => Answer { code: 408, allow: false, head: false, page: None },
    };
    let sent = async {
        stream.write_all(&answer.bytes()).await?;
        stream.shutdown().await
    };
    timeout(READING, sent).await.map_err(|_| io::ErrorKind::TimedOut)??;
    linger(&mut stream).await;
    Ok(())
}

/// What came of listening to a client.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Page {
        path: String,
        /// Only how the page would be.
        head: bool,
    },
    /// This is wrong with it.
    Refused(u16),
    /// It went away first.
    Nothing,
}

async fn ask(stream: &mut TcpStream) -> io::Result<Asked> {
    let mut head = Vec::with_capacity(1024);
    loop {
        let room = HEAD + 1 - head.len();
        if (&mut *stream).take(room as u64).read_buf(&mut head).await? == 0 {
            return Ok(Asked::Nothing);
        }
        if let Some(asked) = understand(&head) {
            return Ok(asked);
        }
    }
}

/// What a request's first bytes ask for, once they are enough to tell.
fn understand(head: &[u8]) -> Option<Asked> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return (head.len() > HEAD).then_some(Asked::Refused(431)),
        Err(httparse::Error::TooManyHeaders) => return Some(Asked::Refused(431)),
        Err(_) => return Some(Asked::Refused(400)),
    }
    let (Some(method), Some(path)) = (request.method, request.path) else { return Some(Asked::Refused(400)) };
    if !matches!(method, "GET" | "HEAD") {
        return Some(Asked::Refused(405));
    }
    let path = path.split(['?', '#']).next().unwrap_or_default();
    Some(Asked::Page { path: path.into(), head: method == "HEAD" })
}

/// What is sent to a client.
struct Answer {
    code: u16,
    /// Whether the methods are told that there are.
    allow: bool,
    /// Whether the page itself is left out.
    head: bool,
    page: Option<Page>,
}

fn found(page: Option<Page>, head: bool) -> Answer {
    Answer { code: page.as_ref().map_or(404, |page| page.code), allow: false, head, page }
}

impl Answer {
    fn bytes(self) -> Vec<u8> {
        let reason = reason(self.code);
        let (content_type, body) = match self.page {
            Some(page) => (page.content_type, page.body),
            None => ("text/plain; charset=utf-8", format!("{reason}\n")),
        };
        let allow = if self.allow { "Allow: GET, HEAD\r\n" } else { "" };
        let mut bytes = format!(
            "HTTP/1.1 {} {reason}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
             X-Content-Type-Options: nosniff\r\n{allow}Connection: close\r\n\r\n",
            self.code,
            body.len()
        )
        .into_bytes();
        if !self.head {
            bytes.extend_from_slice(body.as_bytes());
        }
        bytes
    }
}

const fn reason(code: u16) -> &'static str {
    match code {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        431 => "Request Header Fields Too Large",
        _ => "Service Unavailable",
    }
}

/// Lets what was sent arrive: closing a socket with unread input would reset the connection, and the client's kernel may
/// then drop what the client has not read.
async fn linger(stream: &mut TcpStream) {
    let rest = async {
        let mut ignored = [0; 4096];
        let mut left = IGNORED;
        while let Ok(read @ 1..) = stream.read(&mut ignored).await {
            left = left.saturating_sub(read);
            if left == 0 {
                break;
            }
        }
    };
    // That the client is gone, or stays, is all the same now.
    let _ = timeout(LINGER, rest).await;
}

#[cfg(test)]
mod tests;
