//! Accepts connections and spreads them over the IO threads.

use super::complaint::Complaint;
use super::io_thread::IoMail;
use super::{Gate, Sessions};
use std::io;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tracing::{debug, error};

/// Out of file descriptors or memory: waiting is all that helps.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// Waits for the gate to open, then accepts until it closes for good.
pub(super) async fn accept(
    listener: std::net::TcpListener,
    mut gate: watch::Receiver<Gate>,
    sessions: Sessions,
    limit: usize,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return error!(%error, "cannot watch the listen socket: no client can connect"),
    };
    if gate.wait_for(|gate| *gate != Gate::Closed).await.is_err() {
        return;
    }
    let mut refused = Complaint::new("refused connections: as many as allowed are open");
    let mut exhausted = Complaint::new("cannot accept connections right now");
    loop {
        tokio::select! {
            biased;
            over = gate.wait_for(|gate| *gate == Gate::Over) => {
                drop(over);
                return;
            }
            () = refused.due() => { refused.tell(); }
            () = exhausted.due() => { exhausted.tell(); }
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    if sessions.connections() >= limit {
                        refused.note(&peer);
                    } else if let Err(error) = hand_over(stream, &sessions) {
                        debug!(%peer, %error, "a new connection is gone");
                    }
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    exhausted.note(&error);
                    tokio::time::sleep(EXHAUSTED).await;
                }
            },
        }
    }
}

/// To the thread with the fewest.
fn hand_over(stream: TcpStream, sessions: &Sessions) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let stream = stream.into_std()?;
    if let Some(mailbox) = sessions.0.iter().min_by_key(|mailbox| mailbox.connections()) {
        mailbox.admit();
        mailbox.send(IoMail::Accepted(stream));
    }
    Ok(())
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
