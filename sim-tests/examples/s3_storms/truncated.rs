//! A body that breaks off.

use hyper::body::{Body, Bytes, Frame};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Half of what was announced, and then an error, which breaks the connection.
#[derive(Debug)]
pub(crate) struct Truncated(Option<Bytes>);

impl Truncated {
    /// Of that.
    pub(crate) fn new(whole: Bytes) -> Self {
        Self(Some(whole.slice(..whole.len() / 2)))
    }
}

impl Body for Truncated {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(Some(match self.0.take() {
            Some(half) => Ok(Frame::data(half)),
            None => Err(io::ErrorKind::ConnectionReset.into()),
        }))
    }
}
