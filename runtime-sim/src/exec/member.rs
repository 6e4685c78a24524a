//! What belongs to a process and dies with it.

/// An owner or a task of a process.
pub(super) trait Member {
    /// Its process died: nothing of it happens any more.
    fn die(&self);
    /// Its process goes on after a pause.
    fn resume(&self);
    /// Its deadline has come.
    fn due(&self);
    /// It ended by itself.
    fn is_over(&self) -> bool;
}
