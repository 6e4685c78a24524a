//! What ends a run early.

use crate::recording::Tag;
use crate::time::SimTime;
use crate::trace::TraceHasher;
use core::fmt;
use core::hash::{Hash, Hasher};

/// Something that must not happen did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The name of the invariant, or [`Failure::PANIC`].
    pub invariant: String,
    /// Where: the process, such as `n1`; empty for what is about the whole world.
    pub process: String,
    /// Whose: the owner or the checker, such as `shard`.
    pub component: String,
    /// What a person reads.
    pub message: String,
    /// File and line of the assertion, if there is one.
    pub site: Option<String>,
    /// What it is about, each by the tags that entries of a [recording](crate::recording) about it have: the record that
    /// is lost, and the one that lies where it should. Its story begins with them. If nobody says, its message must do.
    pub subjects: Vec<Vec<Tag>>,
    /// When.
    pub at: SimTime,
    /// After how many events.
    pub event: u64,
}

impl Failure {
    /// The invariant of every panic: no machine, shell or scenario panics.
    pub const PANIC: &'static str = "no-panic";

    /// What stays equal when the same defect shows itself in another run: invariant, component and the assertion's
    /// place (or the message, where there is none), all numbers in names and messages set aside. A shrinker keeps it.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let mut hasher = TraceHasher::default();
        self.invariant.hash(&mut hasher);
        without_numbers(&self.component).hash(&mut hasher);
        match &self.site {
            Some(site) => site.hash(&mut hasher),
            None => without_numbers(&self.message).hash(&mut hasher),
        }
        Fingerprint(hasher.finish())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}/{}", self.invariant, self.process, self.component)?;
        write!(f, " at {}, event {}: {}", self.at, self.event, self.message)?;
        self.site.as_ref().map_or(Ok(()), |site| write!(f, " ({site})"))
    }
}

/// Names a defect. See [`Failure::fingerprint`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub u64);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Each number becomes `#`, and so does each hexadecimal word of some length, such as the parts of a UUID.
fn without_numbers(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let is_hex = |c: char| matches!(c, '0'..='9' | 'a'..='f');
        let bare = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        let is_id = bare.len() >= 4 && bare.chars().all(is_hex);
        for c in word.chars() {
            match (c.is_ascii_digit() || is_id && is_hex(c), out.ends_with('#')) {
                (true, true) => {}
                (true, false) => out.push('#'),
                (false, _) => out.push(c),
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(component: &str, message: &str, site: Option<&str>) -> Failure {
        Failure {
            invariant: "acked-is-durable".into(),
            process: "n1".into(),
            component: component.into(),
            message: message.into(),
            site: site.map(Into::into),
            subjects: Vec::new(),
            at: SimTime(5),
            event: 7,
        }
    }

    #[test]
    fn the_same_defect_has_the_same_fingerprint() {
        let one = failure("session-3", "offset 17 of 20 is gone", None);
        let other = Failure { at: SimTime(9), ..failure("session-44", "offset 8 of 9 is gone", None) };
        assert_eq!(one.fingerprint(), other.fingerprint());
        assert_ne!(one.fingerprint(), failure("shard", "offset 17 of 20 is gone", None).fingerprint());
        assert_ne!(one.fingerprint(), failure("session-3", "offset 17 is wrong", None).fingerprint());
    }

    #[test]
    fn the_ids_of_a_run_do_not_matter() {
        let fenced = |run: &str| failure("node", &format!("broker 1 (run {run}) took over"), None).fingerprint();
        let one = fenced("52f56602-b635-4839-baf2-c238fff2247b");
        assert_eq!(one, fenced("043515ae-abcd-48a6-bc6a-df5df14d02f8"));
        assert_ne!(one, fenced("of somebody"));
        assert_eq!(without_numbers("t3-1-0 at 17: a bad face4"), "t#-#-# at #: a bad #");
    }

    #[test]
    fn an_assertions_place_matters_more_than_its_words() {
        let one = failure("wal", "left: a right: b", Some("wal.rs:10"));
        assert_eq!(one.fingerprint(), failure("wal", "left: c right: d", Some("wal.rs:10")).fingerprint());
        assert_ne!(one.fingerprint(), failure("wal", "left: a right: b", Some("wal.rs:11")).fingerprint());
    }
}
