//! Object ids and producer ids are leased; objects are forgotten when they are gone from the bucket.

use crate::controller::NodeCommand;
use crate::id::ObjectId;
use crate::metadata::{Answer, Image, ObjectImage, ObjectState, Refusal, bounds};
use crate::producers::ProducerId;

impl Image {
    /// The next ids, each for one content only. They can be committed as long as the sender's epoch is not fenced.
    pub(super) fn lease_objects(&mut self, by: &NodeCommand, count: u32) -> Result<Answer, Refusal> {
        if !(1..=bounds::LEASE).contains(&count) {
            return Err(Refusal::Invalid);
        }
        let first = self.next_object;
        self.next_object = ObjectId(first.0 + u64::from(count));
        let object = ObjectImage { state: ObjectState::Leased(by.node, by.epoch), size: 0, since: self.at };
        self.objects.extend((first.0..self.next_object.0).map(|id| (ObjectId(id), object)));
        Ok(Answer::Leased { first, count })
    }

    /// The next producer ids: each is issued once for ever, so nothing needs to be remembered of the lease.
    pub(super) fn lease_producers(&mut self, count: u32) -> Result<Answer, Refusal> {
        if !(1..=bounds::LEASE).contains(&count) {
            return Err(Refusal::Invalid);
        }
        let first = self.next_producer;
        self.next_producer = ProducerId(first.0 + u64::from(count));
        Ok(Answer::LeasedProducers { first, count })
    }

    /// What was leased is destroyed: it may be in the bucket, and is deleted like anything that nobody needs.
    pub(super) fn abandon_objects(&mut self, by: &NodeCommand, ids: &[ObjectId]) -> Result<Answer, Refusal> {
        let leased = ObjectState::Leased(by.node, by.epoch);
        let is_leased = |id: &&ObjectId| self.objects.get(*id).is_some_and(|object| object.state == leased);
        if let Some(id) = ids.iter().find(|id| !is_leased(id)) {
            return Err(Refusal::NotLeased { id: *id });
        }
        for id in ids {
            let object = ObjectImage { state: ObjectState::Destroyed(self.at), size: 0, since: self.at };
            self.objects.insert(*id, object);
        }
        Ok(Answer::Done)
    }

    /// Destroyed objects are gone from the bucket. One that is unknown was forgotten before.
    pub(super) fn forget_objects(&mut self, ids: &[ObjectId]) -> Result<Answer, Refusal> {
        let destroyed = |object: &ObjectImage| matches!(object.state, ObjectState::Destroyed(_));
        if !ids.iter().all(|id| self.objects.get(id).is_none_or(destroyed)) {
            return Err(Refusal::Invalid);
        }
        for id in ids {
            self.objects.remove(id);
        }
        Ok(Answer::Done)
    }

    /// Streams gave a range or a state block of each of these up. An object that has none left is destroyed.
    pub(super) fn release(&mut self, objects: impl IntoIterator<Item = ObjectId>) {
        for id in objects {
            let Some(object) = self.objects.get_mut(&id) else { continue };
            object.state = match object.state {
                ObjectState::Live(1) => ObjectState::Destroyed(self.at),
                ObjectState::Live(ranges) => ObjectState::Live(ranges.saturating_sub(1)),
                other => other,
            };
        }
    }
}
