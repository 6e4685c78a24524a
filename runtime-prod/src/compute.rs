//! A thread for the jobs of one owner, one after the other: nobody waits for it but who asked.

use crate::exit::PanicGuard;
use karst_core::machine::{Job, OpId, Outcome};
use std::sync::mpsc::{Sender, channel};

/// Where an owner's jobs go. The thread ends with the last of these.
#[derive(Clone, Debug)]
pub(crate) struct Computer(Sender<(OpId, Job)>);

impl Computer {
    /// Starts the thread. `done` takes each job's outcome, on that thread.
    ///
    /// # Panics
    /// When the operating system has no thread left.
    pub(crate) fn start(name: &'static str, done: impl Fn(OpId, Outcome) + Send + 'static) -> Self {
        let (jobs, asked) = channel();
        let work = move || {
            let _guard = PanicGuard::new(name);
            while let Ok((op, job)) = asked.recv() {
                let job: Job = job;
                done(op, job.run());
            }
        };
        let thread = std::thread::Builder::new().name(name.into()).spawn(work);
        drop(thread.expect("without a thread for its jobs there is no broker"));
        Self(jobs)
    }

    /// Has a job computed.
    pub(crate) fn submit(&self, op: OpId, job: Job) {
        // Nobody takes it only when the process ends already.
        let _ = self.0.send((op, job));
    }
}
