//! `karst status`: one request to a broker's HTTP listener.

use super::Told;
use crate::failure::Failure;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// A broker that says nothing for so long is stuck.
const PATIENCE: Duration = Duration::from_secs(10);

/// No status is longer.
const LARGEST: u64 = 1 << 20;

pub(super) fn ask(http: &str, json: bool) -> Result<Told, Failure> {
    let (_, body) = get(http, if json { "/status" } else { "/status.txt" })?;
    let (ready, _) = get(http, "/readyz")?;
    Ok(if ready == 200 { Told::Well(body) } else { Told::Unwell(body) })
}

/// Asks for a page. Returns its code and its body.
pub(crate) fn get(http: &str, path: &str) -> Result<(u16, String), Failure> {
    let mut stream = connect(http)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {http}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(LARGEST).read_to_string(&mut answer)?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .filter(|(head, _)| head.starts_with("HTTP/1.1 "))
        .ok_or_else(|| Failure::new(format_args!("what answers at {http} is no broker")))?;
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    if code == 404 {
        return Err(Failure::new(format_args!("what answers at {http} knows no {path}: it is no broker")));
    }
    Ok((code, body.into()))
}

fn connect(http: &str) -> Result<TcpStream, Failure> {
    let failed = |error| {
        Failure::new(format_args!(
            "cannot connect to {http}: {error}. Does a broker run there, and is its HTTP listener on (--http)?"
        ))
    };
    let mut last = std::io::ErrorKind::AddrNotAvailable.into();
    for address in http.to_socket_addrs().map_err(failed)? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}
