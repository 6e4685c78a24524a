//! A bucket of S3's, or of a server that speaks as S3 does.
//!
//! ```text
//!   machine ──Effect::Store(op, call)──► S3::submit ──► thread "s3": a task per call ──► the SDK, one attempt
//!                                                          └── at the call's deadline: Ambiguous(Timeout), the task is
//!                                                              dropped, and its connection is closed
//! ```
//! Nothing is decided here: an operation is one request, its errors become those of the contract (see `verdict`), and
//! machines ask again. ETags are what S3 says, never looked into.
//!
//! Every object goes out in one put: cuts are bounded by the limits (64 MiB and a batch, or half of the WAL where the
//! bucket is slow), far below the 5 GiB that one put may have, and a put is atomic together with its condition.

mod body;
mod complaints;
mod connect;
mod location;
mod profile;
mod requests;
mod verdict;

pub use location::Location;

use super::{Completion, Submit};
use crate::config::Credentials;
use crate::exit::PanicGuard;
use complaints::Complaints;
use karst_core::store::StoreCall;
use requests::Requests;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// A bucket. Its thread ends when it is dropped and everything submitted is done.
#[derive(Debug)]
pub struct S3 {
    asked: UnboundedSender<Asked>,
    complaints: Arc<Complaints>,
}

enum Asked {
    Call(StoreCall, Completion),
    LookAtVersioning,
}

impl S3 {
    /// Prepares to make requests. None is made yet, but the region may be looked up.
    ///
    /// # Errors
    /// Says what must be known and is not.
    ///
    /// # Panics
    /// When the operating system has no thread left.
    pub fn open(location: &Location, credentials: &Credentials) -> Result<Self, String> {
        let (asked, calls) = unbounded_channel();
        let (tell, opened) = channel();
        let complaints = Arc::new(Complaints::default());
        let (location, credentials, noted) = (location.clone(), credentials.clone(), complaints.clone());
        let serve = move || {
            let _guard = PanicGuard::new("the S3 client");
            serve((&location, &credentials), noted, calls, &tell);
        };
        std::thread::Builder::new().name("s3".into()).spawn(serve).expect("without its thread there is no store");
        opened.recv().expect("the thread answers, or its guard ends the process")?;
        Ok(Self { asked, complaints })
    }

    /// Has a warning logged, soon, if the bucket keeps what is deleted.
    pub fn look_at_versioning(&self) {
        self.ask(Asked::LookAtVersioning);
    }

    /// What failed last, if anything did, in the store's own words.
    #[must_use]
    pub fn latest_failure(&self) -> Option<String> {
        self.complaints.latest()
    }

    fn ask(&self, asked: Asked) {
        // Its thread lives as long as this does, or the process ends.
        let _ = self.asked.send(asked);
    }
}

impl Submit for S3 {
    fn submit(&self, call: StoreCall, done: Completion) {
        self.ask(Asked::Call(call, done));
    }
}

fn serve(
    (location, credentials): (&Location, &Credentials),
    complaints: Arc<Complaints>,
    calls: UnboundedReceiver<Asked>,
    opened: &Sender<Result<(), String>>,
) {
    let tell = |result| {
        // Nobody waits for it only when the process ends.
        let _ = opened.send(result);
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return tell(Err(format!("no runtime for the object store: {error}"))),
    };
    runtime.block_on(async {
        match connect::connect(location, credentials).await {
            Ok(client) => {
                tell(Ok(()));
                make_requests(Requests { client, bucket: location.bucket.clone(), complaints }, calls).await;
            }
            Err(error) => tell(Err(error)),
        }
    });
}

async fn make_requests(requests: Requests, mut calls: UnboundedReceiver<Asked>) {
    let mut tasks = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            biased;
            asked = calls.recv() => match asked {
                Some(asked) => { tasks.spawn(answer(requests.clone(), asked)); }
                None => break,
            },
            Some(_) = tasks.join_next() => {}
        }
    }
    while tasks.join_next().await.is_some() {}
}

async fn answer(requests: Requests, asked: Asked) {
    let _guard = PanicGuard::new("a request to the object store");
    match asked {
        Asked::Call(call, done) => done(requests.perform(call).await),
        Asked::LookAtVersioning => requests.look_at_versioning().await,
    }
}

#[cfg(test)]
mod tests;
