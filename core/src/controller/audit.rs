//! The metadata log as a bucket holds it, read by somebody who has no part in it: a checker, a tool.

use super::log::{self, Head, Name, Segment, Snapshot, fold};
use crate::envelope::DecodeError;
use crate::id::{Incarnation, NodeId, Term};
use crate::metadata::{Entry, Image};
use crate::store::Key;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;

/// One version of `meta/head`, with what it and all that it refers to folds to.
#[derive(Clone, Debug)]
pub struct Audit {
    head: Head,
    image: Image,
}

impl Audit {
    /// The key of the head.
    pub const HEAD: &'static str = log::HEAD;

    /// Reads a version of the head; `get` reads the objects that it refers to.
    ///
    /// # Errors
    /// Which object is missing or can't be read.
    pub fn read(head: &Bytes, get: impl FnMut(&Key) -> Option<Bytes>) -> Result<Self, String> {
        let head = Head::decode(head).map_err(|error| unreadable(Self::HEAD, error))?;
        let image = fold_all(&head, get)?;
        Ok(Self { head, image })
    }

    /// The version that replaced this one.
    ///
    /// # Errors
    /// What can't be read, and what a head may never do: lose or change an entry, leave one out, go back to an earlier
    /// term, or be written by two leaders in one term.
    pub fn replaced_by(&self, head: &Bytes, get: impl FnMut(&Key) -> Option<Bytes>) -> Result<Self, String> {
        let head = Head::decode(head).map_err(|error| unreadable(Self::HEAD, error))?;
        self.check_leader(&head)?;
        let news: Vec<Entry> = head.inline.iter().filter(|entry| entry.seq > self.head.last).cloned().collect();
        let mut image = self.image.clone();
        let complete = fold(&mut image, &news).is_ok() && image.seq == head.last;
        if !complete {
            return Err(format!(
                "a head up to entry {} of term {} was replaced by one up to entry {} of term {}, which has not all that \
                 came after",
                self.head.last, self.head.term, head.last, head.term
            ));
        }
        let differs = |entry: &Entry| self.head.inline.iter().any(|known| known.seq == entry.seq && known != entry);
        if let Some(changed) = head.inline.iter().find(|entry| differs(entry)) {
            return Err(format!("entry {} is another one than before", changed.seq));
        }
        // Only where entries moved does the whole fold say more than the new entries.
        let same_objects = head.references().eq(self.head.references());
        if !(same_objects && head.inline.starts_with(&self.head.inline)) && fold_all(&head, get)? != image {
            return Err(format!("the head up to entry {} folds to something else than the one before it", head.last));
        }
        Ok(Self { head, image })
    }

    /// What the log folds to.
    #[must_use]
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// The leadership that wrote it.
    #[must_use]
    pub fn term(&self) -> Term {
        self.head.term
    }

    /// The broker, and which run of it, that wrote it.
    #[must_use]
    pub fn writer(&self) -> (NodeId, Incarnation) {
        (self.head.writer.node, self.head.writer.incarnation)
    }

    /// Whether the head needs this object.
    #[must_use]
    pub fn refers_to(&self, key: &Key) -> bool {
        key.0.starts_with(log::META) && self.head.references().any(|referred| referred == *key)
    }

    fn check_leader(&self, next: &Head) -> Result<(), String> {
        let (before, after) = (self.head.term, next.term);
        if next.cluster != self.head.cluster {
            return Err(format!("cluster {} took the place of cluster {}", next.cluster, self.head.cluster));
        }
        if after != before && after.0 != before.0 + 1 {
            return Err(format!("term {after} follows term {before}"));
        }
        if after == before && next.writer.incarnation != self.head.writer.incarnation {
            return Err(format!(
                "two runs, {} and {}, lead in term {before}",
                self.writer().1,
                next.writer.incarnation
            ));
        }
        Ok(())
    }
}

fn fold_all(head: &Head, mut get: impl FnMut(&Key) -> Option<Bytes>) -> Result<Image, String> {
    let mut read = |key: &Key| get(key).ok_or_else(|| format!("{key} is missing, and the head refers to it"));
    let mut image = Image::new(head.cluster, head.feature_level);
    if let Some(name) = head.snapshot {
        let key = name.snapshot();
        image = Snapshot::decode(&read(&key)?, head.cluster, name).map_err(|error| unreadable(&key.0, error))?;
    }
    for name in &head.segments {
        let key = Name::segment(*name);
        let segment = Segment::decode(&read(&key)?, head.cluster, *name);
        let folded = segment.and_then(|segment| fold(&mut image, &segment.entries));
        folded.map_err(|error| unreadable(&key.0, error))?;
    }
    fold(&mut image, &head.inline).map_err(|error| unreadable(Audit::HEAD, error))?;
    Ok(image)
}

fn unreadable(key: &str, error: DecodeError) -> String {
    format!("{key} {error}")
}

#[cfg(test)]
mod tests {
    use super::super::log::tests::{head, image, name, segment};
    use super::*;
    use crate::id::Seq;

    /// All that `head` and its predecessors refer to.
    fn get(key: &Key) -> Option<Bytes> {
        let snapshot = (name(1, 6).snapshot(), Snapshot::encode(name(1, 6), &image(6)));
        let later = (name(3, 25).snapshot(), Snapshot::encode(name(3, 25), &image(25)));
        let wrong = (name(3, 18).snapshot(), Snapshot::encode(name(3, 18), &Image { seq: Seq(18), ..image(17) }));
        let all = [snapshot, later, wrong, (name(2, 12).segment(), segment().encode())];
        all.into_iter().find(|(known, _)| known == key).map(|(_, body)| body)
    }

    /// The head when its last `count` entries were not there yet.
    fn before(count: usize) -> Head {
        let mut head = head();
        head.inline.truncate(head.inline.len() - count);
        head.last = Seq(25 - count as u64);
        head
    }

    fn replaced(before: &Head, after: &Head) -> Result<Audit, String> {
        Audit::read(&before.encode(), get)?.replaced_by(&after.encode(), get)
    }

    #[test]
    fn a_head_may_grow_and_shed_what_is_in_objects() {
        let grown = replaced(&before(3), &head()).expect("it grew");
        assert_eq!((grown.image(), grown.term()), (&image(25), Term(3)));
        assert!(grown.refers_to(&name(2, 12).segment()) && !grown.refers_to(&name(3, 25).snapshot()));
        let spilled = Head { snapshot: Some(name(3, 25)), segments: Vec::new(), inline: Vec::new(), ..head() };
        assert_eq!(replaced(&head(), &spilled).expect("the same in less").image(), &image(25));
        let claimed = Head { term: Term(4), ..head() };
        assert_eq!(replaced(&head(), &claimed).expect("a new leader").term(), Term(4));
    }

    #[test]
    fn a_head_that_loses_or_invents_is_noticed() {
        let mut changed = head();
        changed.inline[1].at.0 += 1;
        let mut stranger = head();
        stranger.writer.incarnation = Incarnation([9; 16]);
        let wrong = Head { snapshot: Some(name(3, 18)), segments: Vec::new(), ..head() };
        let wrong = Head { inline: wrong.inline[6..].to_vec(), ..wrong };
        let unknown = Head { snapshot: Some(name(1, 7)), ..head() };
        for (why, from, to) in [
            ("has not all", head(), before(2)),
            ("has not all", before(1), Head { term: Term(4), ..before(2) }),
            ("follows", head(), Head { term: Term(5), ..head() }),
            ("two runs", head(), stranger),
            ("something else", head(), wrong),
            ("is missing", head(), unknown),
            ("another one", head(), changed),
        ] {
            let error = replaced(&from, &to).expect_err(why);
            assert!(error.contains(why), "{error}");
        }
    }
}
