//! Watches the bucket: each version of the metadata head follows from the one before it, and nothing that a head needs
//! is ever deleted, nor what a WAL in the bucket has and nobody else, nor its seal.

use karst_core::controller::Audit;
use karst_core::data_object;
use karst_core::id::{Incarnation, ObjectId};
use karst_core::metadata::{Image, ObjectState};
use karst_core::store::Key;
use karst_core::wal::object::format::{self as wal_object, Content};
use karst_runtime_sim::exec::{Store, World};
use karst_runtime_sim::recording::Tag;
use karst_runtime_sim::store::{Applied, Caller, Change};
use std::cell::{Ref, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// What the bucket says, as of now. A clone is the same ledger.
#[derive(Clone, Default)]
pub(super) struct Ledger(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    /// The metadata log's objects.
    objects: BTreeMap<Key, bytes::Bytes>,
    head: Option<Audit>,
    /// How often a head was put by each.
    heads: BTreeMap<Caller, u64>,
    /// Ends of WALs.
    seals: BTreeSet<Key>,
}

/// A violated invariant, and what was seen.
struct Wrong {
    invariant: &'static str,
    message: String,
    /// The object that it is about, if that has a number.
    object: Option<ObjectId>,
}

impl Ledger {
    /// Begins with an empty bucket.
    pub(super) fn watch(world: &World, store: &Store) -> Self {
        let ledger = Self::default();
        let (world, watching) = (world.clone(), ledger.clone());
        store.watch(move |applied| {
            if matches!(&applied.change, Change::Put { key, .. } if data_object::parse_key(key).is_some()) {
                world.count("objects.uploaded");
            }
            if let Err(wrong) = watching.0.borrow_mut().applied(applied) {
                let about = wrong.object.map(|ObjectId(id)| vec![Tag::number("object", id)]);
                world.fail_about(wrong.invariant, "bucket", wrong.message, about.into_iter().collect());
            }
        });
        ledger
    }

    /// What the head folds to; `None` before there is one.
    pub(super) fn image(&self) -> Option<Ref<'_, Image>> {
        Ref::filter_map(self.0.borrow(), |state| state.head.as_ref().map(Audit::image)).ok()
    }

    /// Which run wrote the head.
    pub(super) fn leader(&self) -> Option<Incarnation> {
        self.0.borrow().head.as_ref().map(|head| head.writer().1)
    }

    /// How many heads anybody else than `caller` put.
    pub(super) fn heads_of_others(&self, caller: Caller) -> u64 {
        self.0.borrow().heads.iter().filter(|(from, _)| **from != caller).map(|(_, count)| count).sum()
    }
}

impl State {
    fn applied(&mut self, applied: &Applied) -> Result<(), Wrong> {
        match &applied.change {
            Change::Put { key, body, .. } if key.0 == Audit::HEAD => {
                *self.heads.entry(applied.from).or_default() += 1;
                let get = |key: &Key| self.objects.get(key).cloned();
                let head = match &self.head {
                    None => Audit::read(body, get),
                    Some(before) => before.replaced_by(body, get),
                };
                self.head = Some(head.map_err(|why| Wrong::new("metadata-log-grows", why))?);
            }
            Change::Put { key, body, .. } if key.0.starts_with("meta/") => {
                self.objects.insert(key.clone(), body.clone());
            }
            Change::Put { key, body, .. } => {
                if matches!(wal_object::read(body), Ok((.., Content::Seal(_)))) {
                    self.seals.insert(key.clone());
                }
            }
            Change::Deleted { key } => {
                self.objects.remove(key);
                self.deleted(key)?;
            }
        }
        Ok(())
    }

    fn deleted(&self, key: &Key) -> Result<(), Wrong> {
        let Some(head) = &self.head else { return Ok(()) };
        if key.0 == Audit::HEAD || head.refers_to(key) {
            return Err(Wrong::new("metadata-is-kept", format!("{key} was deleted, and the metadata is a fold of it")));
        }
        if self.seals.contains(key) {
            let message = format!("{key} was deleted, and is all that keeps an old writer out");
            return Err(Wrong::new("seal-is-kept", message));
        }
        let id = data_object::parse_any_key(key);
        let state = id.and_then(|id| head.image().objects.get(&id)).map(|object| object.state);
        if let Some(ObjectState::Live(_)) = state {
            let wrong = Wrong::new("live-object-deleted", format!("{key} is live and was deleted"));
            return Err(Wrong { object: id, ..wrong });
        }
        if let Some((node, epoch, seq)) = wal_object::parse_key(key) {
            let life = head.image().nodes.get(&node).and_then(|node| node.epochs.get(&epoch));
            return match life.filter(|life| seq >= life.trim) {
                Some(_) => {
                    let message = format!("{key} was deleted, and nothing else has what it holds");
                    Err(Wrong::new("wal-is-kept", message))
                }
                None => Ok(()),
            };
        }
        Ok(())
    }
}

impl Wrong {
    fn new(invariant: &'static str, message: String) -> Self {
        Self { invariant, message, object: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    /// A bucket with the small metadata log of the fixtures.
    fn bucket() -> State {
        let head = Bytes::from_static(include_bytes!("../../../fixtures/metadata/v1/head.bin"));
        let segment = Bytes::from_static(include_bytes!("../../../fixtures/metadata/v1/segment.bin"));
        let snapshot = Bytes::from_static(include_bytes!("../../../fixtures/metadata/v1/snapshot.bin"));
        let mut objects = BTreeMap::new();
        let audit = Audit::read(&head, |key| {
            let body = if key.0.contains("snapshot") { snapshot.clone() } else { segment.clone() };
            objects.insert(key.clone(), body.clone());
            Some(body)
        });
        State { objects, head: Some(audit.expect("it is sound")), heads: BTreeMap::new(), seals: BTreeSet::new() }
    }

    #[test]
    fn what_the_metadata_is_a_fold_of_may_not_be_deleted() {
        let state = bucket();
        assert_eq!(state.objects.len(), 2, "a snapshot and a segment");
        for key in state.objects.keys().chain([&Key(Audit::HEAD.into())]) {
            assert_eq!(state.deleted(key).map_err(|wrong| wrong.invariant), Err("metadata-is-kept"), "{key}");
        }
        assert!(state.deleted(&Key("meta/segment/of-nobody".into())).is_ok());
    }

    #[test]
    fn live_objects_may_not_be_deleted_and_others_may() {
        let state = bucket();
        let image = state.head.as_ref().expect("there is one").image();
        let mut verdicts = Vec::new();
        for (id, object) in &image.objects {
            let is_live = matches!(object.state, ObjectState::Live(_));
            let deleted = state.deleted(&data_object::key(*id));
            assert_eq!(deleted.err().and_then(|wrong| wrong.object), Some(*id).filter(|_| is_live), "{id}");
            verdicts.push(is_live);
        }
        assert!(verdicts.contains(&true) && verdicts.contains(&false), "both kinds were seen");
        let forgotten = data_object::key(karst_core::id::ObjectId(2));
        assert!(state.deleted(&forgotten).is_ok(), "the metadata has forgotten it");
    }
}
