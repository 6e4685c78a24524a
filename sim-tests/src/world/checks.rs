//! White-box invariants: what must be true of the bucket and of the machines, besides what clients see.

use karst_core::controller::Controller;
use karst_core::data_object;
use karst_core::metadata::{Image, ObjectState};
use karst_runtime_sim::broker::Broker;
use karst_runtime_sim::exec::{Store, World};
use karst_runtime_sim::store::{Applied, Change};
use std::cell::RefCell;
use std::rc::Rc;

/// The controller of the broker that is up.
pub(super) type Watched = Rc<RefCell<Option<Rc<RefCell<Controller>>>>>;

/// No object that the metadata calls live is ever deleted.
pub(super) fn watch_bucket(world: &World, store: &Store, watched: &Watched) {
    let (world, watched) = (world.clone(), watched.clone());
    store.watch(move |applied: &Applied| match &applied.change {
        Change::Put { key, .. } if data_object::parse_key(key).is_some() => world.count("objects.uploaded"),
        Change::Put { .. } => {}
        Change::Deleted { key } => {
            let Some(id) = data_object::parse_key(key) else { return };
            let controller = watched.borrow().clone();
            let Some(controller) = controller else { return };
            let Ok(controller) = controller.try_borrow() else { return };
            let state = controller.image().and_then(|image| image.objects.get(&id)).map(|object| object.state);
            if let Some(ObjectState::Live(_)) = state {
                world.fail("live-object-deleted", "bucket", format!("{key} is live and was deleted"));
            }
        }
    });
}

/// What a quiet broker must not have: uncommitted records, garbage in the bucket, credit that is out, replicas that
/// differ.
pub(super) fn pending(broker: &Broker, store: &Store) -> Option<String> {
    let (shard, node, controller) = (broker.shard.borrow(), broker.node.borrow(), broker.controller.borrow());
    let (Some(image), Some(replica), Some(followed)) = (controller.image(), shard.image(), node.image()) else {
        return Some("a replica has no image".into());
    };
    if image != replica || image != followed {
        return Some("the replicas of the metadata differ".into());
    }
    if broker.sessions() > 0 {
        return Some(format!("{} sessions are open", broker.sessions()));
    }
    if !shard.is_quiescent() {
        return Some("requests are waiting".into());
    }
    if !shard.credit_is_whole() {
        return Some("credit is out".into());
    }
    let uploading = broker.uploader.borrow().uncommitted_bytes();
    if uploading > 0 {
        return Some(format!("{uploading} bytes are being uploaded"));
    }
    uncommitted(image, &shard).or_else(|| garbage(image, store))
}

fn uncommitted(image: &Image, shard: &karst_core::shard::Shard) -> Option<String> {
    let mut streams = image.streams.iter();
    let (id, _) = streams.find(|(id, stream)| shard.high_watermark(**id).is_some_and(|hw| hw != stream.end))?;
    Some(format!("stream {id} has records that are not committed"))
}

fn garbage(image: &Image, store: &Store) -> Option<String> {
    let model = store.model();
    let mut in_bucket = Vec::new();
    for (key, object) in model.bucket().objects() {
        let Some(id) = data_object::parse_key(key) else { continue };
        match image.objects.get(&id).map(|object| (object.state, object.size)) {
            Some((ObjectState::Live(_), size)) if size == object.body.len() as u64 => in_bucket.push(id),
            Some((ObjectState::Live(_), size)) => {
                return Some(format!("{key} has {} bytes, the metadata says {size}", object.body.len()));
            }
            other => return Some(format!("{key} is in the bucket, and the metadata says {other:?}")),
        }
    }
    for (id, object) in &image.objects {
        match object.state {
            ObjectState::Live(_) if !in_bucket.contains(id) => {
                return Some(format!("object {id} is not in the bucket"));
            }
            ObjectState::Destroyed(_) => return Some(format!("object {id} is destroyed and not forgotten")),
            _ => {}
        }
    }
    None
}
