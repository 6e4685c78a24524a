//! White-box invariants: what must be true of the bucket and of the machines, besides what clients see.

use super::host::NODE;
use super::ledger::Ledger;
use super::rival::RIVAL;
use karst_core::compaction::{self, Rules};
use karst_core::data_object;
use karst_core::limits::Limits;
use karst_core::metadata::{Image, ObjectState};
use karst_core::wal::object::format as wal_object;
use karst_runtime_sim::broker::Broker;
use karst_runtime_sim::clock::BEGINNING;
use karst_runtime_sim::exec::Store;
use std::collections::BTreeSet;
use std::time::Duration;

/// Which machine knows of an entry that is not in the bucket.
pub(super) fn heard_too_early(broker: &Broker, ledger: &Ledger) -> Option<String> {
    let durable = ledger.image().map(|image| image.seq).unwrap_or_default();
    let (shard, node, controller) = (broker.shard.borrow(), broker.node.borrow(), broker.controller.borrow());
    let all = [("controller", controller.image()), ("node", node.image()), ("shard", shard.image())];
    let (who, image) = all.into_iter().find(|(_, image)| image.is_some_and(|image| image.seq > durable))?;
    let heard = image.map(|image| image.seq).unwrap_or_default();
    Some(format!("the {who} knows of entry {heard}, and the bucket ends at {durable}"))
}

/// What a quiet broker must not have: uncommitted records, garbage in the bucket, credit that is out, replicas that
/// differ.
pub(super) fn pending(broker: &Broker, store: &Store, ledger: &Ledger) -> Option<String> {
    let (shard, node, controller) = (broker.shard.borrow(), broker.node.borrow(), broker.controller.borrow());
    let (Some(image), Some(replica), Some(followed)) = (controller.image(), shard.image(), node.image()) else {
        return Some("a replica has no image".into());
    };
    if image != replica || image != followed {
        return Some("the replicas of the metadata differ".into());
    }
    if store.model().coming_puts().any(|(_, from, ..)| from == RIVAL) {
        return Some("a put of the other broker's is on its way".into());
    }
    if ledger.image().as_deref() != Some(image) {
        return Some("the metadata is not what the bucket says".into());
    }
    let registered = image.nodes.get(&NODE).map(|node| node.incarnation);
    if ledger.leader() != registered {
        return Some("the metadata has another leader".into());
    }
    if broker.sessions() > 0 {
        return Some(format!("{} sessions are open", broker.sessions()));
    }
    if !shard.is_quiescent() {
        return Some("requests are waiting".into());
    }
    if let Some(missed) = broker.overdue() {
        return Some(missed);
    }
    if !shard.credit_is_whole() {
        return Some("credit is out".into());
    }
    if !shard.is_owed_nothing() {
        return Some("connections that are gone owe batches".into());
    }
    let (given, kept) = (broker.wal.borrow().granted(), shard.granted());
    if given.is_some_and(|given| given != kept) {
        return Some(format!("the WAL has granted {given:?} bytes, the shard knows of {kept}"));
    }
    let uploading = broker.uploader.borrow().uncommitted_bytes();
    if uploading > 0 {
        return Some(format!("{uploading} bytes are being uploaded"));
    }
    uncommitted(image, &shard).or_else(|| overdue(image)).or_else(|| garbage(image, store))
}

/// Whether objects are rewritten within a run.
pub(super) fn compacts(limits: &Limits) -> bool {
    limits.compaction_interval.as_secs() < 1_000
}

/// How long the bandwidth that it has keeps it busy with what there is: each byte is read, and written, a few times over.
pub(super) fn rewriting(image: &Image, limits: &Limits) -> Duration {
    const TIMES: u64 = 16;
    if !compacts(limits) {
        return Duration::ZERO;
    }
    let live = image.objects.values().filter(|object| matches!(object.state, ObjectState::Live(_)));
    let bytes: u64 = live.map(|object| object.size).sum();
    Duration::from_secs_f64((TIMES * bytes) as f64 / limits.compaction_bandwidth as f64)
}

/// What is still to be rewritten.
pub(super) fn compacting(broker: &Broker, limits: &Limits) -> Option<String> {
    if !compacts(limits) {
        return None;
    }
    if broker.compactor.borrow().is_working() {
        return Some("objects are being rewritten".into());
    }
    // Whoever could not read an object leaves it alone for a while.
    let (node, now) = (broker.node.borrow(), broker.process.now());
    let plan = compaction::plan(node.image()?, NODE, now.wall, &Rules::new(limits), &BTreeSet::new())?;
    Some(format!("{} objects are to be rewritten", plan.inputs().count()))
}

/// Which partition holds records that should be gone: clocks are hours off at most, so a day more is certain.
fn overdue(image: &Image) -> Option<String> {
    const DAY: i64 = 24 * 3_600_000;
    for (id, stream) in &image.streams {
        let configs = &image.topics.get(&stream.topic)?.configs;
        let deletes = configs.cleanup_policy.is_none_or(|policy| policy.delete.is_on());
        let Some(first) = stream.ranges.values().next().filter(|_| deletes) else { continue };
        let left: u64 = stream.ranges.values().skip(1).map(|range| range.bytes).sum();
        let kept = configs.retention_bytes.and_then(|kept| u64::try_from(kept.0).ok());
        let time = configs.retention_time.map_or(7 * DAY, |time| time.0);
        let age = BEGINNING.0 - first.max_timestamp.0;
        if kept.is_some_and(|kept| left >= kept) || (time >= 0 && age > time + DAY) {
            return Some(format!("stream {id} holds records that are to go"));
        }
    }
    None
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
        let is_data = data_object::parse_any_key(key).is_some_and(|id| image.objects.contains_key(&id));
        if let Some((node, epoch, seq)) = wal_object::parse_key(key).filter(|_| !is_data) {
            let life = image.nodes.get(&node).and_then(|node| node.epochs.get(&epoch));
            let is_kept = object.body.len() == wal_object::SEAL_LEN || life.is_some_and(|life| seq >= life.trim);
            if is_kept {
                continue;
            }
            return Some(format!("{key} is in the bucket, and nobody needs it"));
        }
        let Some(id) = data_object::parse_any_key(key) else { continue };
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
