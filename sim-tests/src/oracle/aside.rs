//! What is said to people beside what is judged.

use core::hash::{Hash, Hasher};

/// Something that recordings tell and that decides nothing: it is no part of a trace's hash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aside<T>(pub T);

impl<T> Hash for Aside<T> {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}
