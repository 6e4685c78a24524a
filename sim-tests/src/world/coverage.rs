//! Reads every object of a quiet bucket: each stream's ranges are in objects exactly once, batch by batch, and no stream
//! is in more objects than compaction leaves.

use super::checks;
use karst_core::data_object::{self, BlockEntry, StoredBatch};
use karst_core::id::{ObjectId, Offset, StreamId};
use karst_core::limits::Limits;
use karst_core::metadata::{Image, ObjectState, RangeImage, StateImage, StreamImage};
use karst_runtime_sim::exec::Store;
use std::collections::BTreeMap;

/// What objects hold, by their numbers.
type Objects = BTreeMap<ObjectId, (bytes::Bytes, Vec<(BlockEntry, Vec<StoredBatch>)>)>;

/// Compares objects with what the metadata says.
pub(super) fn check(image: &Image, limits: &Limits, store: &Store) -> Result<(), String> {
    image.check()?;
    let objects = read(image, store)?;
    for (id, stream) in &image.streams {
        for (start, range) in &stream.ranges {
            check_range(&objects, *id, *start, range)?;
        }
        for state in &stream.producers {
            check_state(&objects, *id, state)?;
        }
        let configs = image.topics.get(&stream.topic).map(|topic| &topic.configs);
        let is_usual = configs.is_none_or(|configs| (configs.retention_time, configs.retention_bytes) == (None, None));
        if is_usual && checks::compacts(limits) {
            check_number(limits, *id, stream)?;
        }
    }
    Ok(())
}

fn read(image: &Image, store: &Store) -> Result<Objects, String> {
    let model = store.model();
    let bodies: BTreeMap<ObjectId, bytes::Bytes> = (model.bucket().objects())
        .filter_map(|(key, object)| Some((data_object::parse_any_key(key)?, object.body.clone())))
        .collect();
    let live = image.objects.iter().filter(|(_, object)| matches!(object.state, ObjectState::Live(_)));
    live.map(|(id, _)| {
        let body = bodies.get(id).ok_or_else(|| format!("object {id} is not in the bucket"))?;
        let decoded = data_object::decode(image.cluster, *id, body);
        let decoded = decoded.map_err(|error| format!("{} {error}", data_object::key(*id)))?;
        Ok((*id, (body.clone(), decoded)))
    })
    .collect()
}

fn check_range(objects: &Objects, stream: StreamId, start: Offset, range: &RangeImage) -> Result<(), String> {
    let (_, blocks) = &objects[&range.object];
    let of_stream = blocks.iter().filter(|(entry, _)| entry.stream == stream);
    let within = |batch: &&StoredBatch| start <= batch.base && batch.base < range.end;
    let (mut at, mut bytes) = (start, 0);
    for batch in of_stream.flat_map(|(_, batches)| batches).filter(within) {
        if batch.base != at {
            return Err(format!("object {} goes from offset {at} of stream {stream} to {}", range.object, batch.base));
        }
        at = batch.end;
        bytes += batch.batch.len() as u64;
    }
    if (at, bytes) != (range.end, range.bytes) {
        return Err(format!(
            "object {} holds {bytes} bytes of stream {stream} from offset {start} to {at}, the metadata says {} to {}",
            range.object, range.bytes, range.end
        ));
    }
    Ok(())
}

fn check_state(objects: &Objects, stream: StreamId, state: &StateImage) -> Result<(), String> {
    let (body, _) = &objects[&state.object];
    let from = usize::try_from(state.at).unwrap_or(usize::MAX).min(body.len());
    let upto = from.saturating_add(state.len as usize).min(body.len());
    let decoded = data_object::decode_state(state.object, stream, state.end, &body.slice(from..upto));
    let told = |error| format!("what object {} says of producers of stream {stream} {error}", state.object);
    decoded.map(|_| ()).map_err(told)
}

/// Neighbours that fit together were put together. The bound is generous: one that is much larger than its neighbours
/// keeps them apart. So does a retention of a topic's own, whose ranges are not counted.
fn check_number(limits: &Limits, id: StreamId, stream: &StreamImage) -> Result<(), String> {
    const LEVELS: u64 = 24;
    let bytes: u64 = stream.ranges.values().map(|range| range.bytes).sum();
    let (objects, full) = (stream.ranges.len() as u64, bytes / limits.compaction_object + 1);
    let most = full * LEVELS * u64::from(limits.compaction_fan_in);
    if objects > most {
        return Err(format!("stream {id} has {bytes} bytes in {objects} ranges, and at most {most} are to be left"));
    }
    Ok(())
}
