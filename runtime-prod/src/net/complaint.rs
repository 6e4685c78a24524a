//! Complaints about what clients can cause: whoever opens connections must not be able to fill a disk with log lines.

use std::fmt::Display;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use tracing::warn;

/// A complaint gets one line in so long.
const PAUSE: Duration = Duration::from_secs(1);

/// One kind of complaint. The first is due at once; those that come within a pause share the next line.
#[derive(Debug)]
pub(super) struct Complaint {
    what: &'static str,
    /// Not told yet.
    count: u64,
    latest: String,
    told: Option<Instant>,
}

impl Complaint {
    pub(super) const fn new(what: &'static str) -> Self {
        Self { what, count: 0, latest: String::new(), told: None }
    }

    /// One more, about that.
    pub(super) fn note(&mut self, about: &impl Display) {
        self.count += 1;
        self.latest = about.to_string();
    }

    /// Waits until there is something to [`Complaint::tell`].
    pub(super) async fn due(&self) {
        if self.count == 0 {
            std::future::pending::<()>().await;
        }
        if let Some(told) = self.told {
            sleep_until(told + PAUSE).await;
        }
    }

    /// Writes the line. Returns how many it stands for.
    pub(super) fn tell(&mut self) -> u64 {
        let count = std::mem::take(&mut self.count);
        self.told = Some(Instant::now());
        warn!(count, latest = self.latest, "{}", self.what);
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    fn is_due(complaint: &Complaint) -> bool {
        pin!(complaint.due()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn many_share_a_line() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let mut complaint = Complaint::new("planted");
            assert!(!is_due(&complaint), "there is nothing to tell");
            complaint.note(&1);
            assert!(is_due(&complaint), "the first is told at once");
            assert_eq!(complaint.tell(), 1);
            (2..1000).for_each(|about| complaint.note(&about));
            assert!(!is_due(&complaint), "a second line at once");
            let begun = Instant::now();
            complaint.due().await;
            assert!(begun.elapsed() >= PAUSE - Duration::from_millis(50));
            assert_eq!((complaint.tell(), complaint.latest.as_str()), (998, "999"));
            assert!(!is_due(&complaint));
        });
    }
}
