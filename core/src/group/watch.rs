//! What those see who watch groups from outside. It is what is durable, like all that is heard of a group.

use super::Name;
use super::coordinator::Coordinator;
use super::state::Group;

/// A group, as it is now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watched<'a>(&'a Group);

impl Coordinator {
    /// All groups that are known by now, by id.
    pub(crate) fn watch(&self) -> impl Iterator<Item = Watched<'_>> {
        self.groups.values().map(Watched)
    }
}

impl<'a> Watched<'a> {
    pub(crate) fn id(self) -> &'a Name {
        &self.0.id
    }

    pub(crate) fn state(self) -> &'static str {
        self.0.state_name()
    }

    pub(crate) fn members(self) -> usize {
        self.0.members.len()
    }

    /// The latest that is durable: no crash takes it back.
    pub(crate) fn durable_generation(self) -> i32 {
        self.0.durable_generation
    }

    /// Topic, partition and committed offset.
    pub(crate) fn offsets(self) -> impl Iterator<Item = (&'a Name, i32, i64)> {
        self.0.offsets.all().map(|(topic, partition, held)| (topic, partition, held.value.offset))
    }
}
