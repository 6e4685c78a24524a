//! What a data object holds, every byte verified.

use super::{Findings, metadata};
use crate::facts::Facts;
use crate::failure::Failure;
use crate::store::Reader;
use bytes::Bytes;
use karst_core::controller::Audit;
use karst_core::data_object::{self, BlockEntry};
use karst_core::id::{ObjectId, Offset, StreamId};
use karst_core::metadata::{Image, ObjectState, RangeImage, StateImage};
use karst_core::store::Key;

pub(super) fn inspect(reader: &Reader, audit: &Audit, names: &[String]) -> Result<Findings, Failure> {
    let image = audit.image();
    let mut findings = Findings::default();
    let mut objects = Vec::new();
    for name in names {
        let id = parse(name).ok_or_else(|| {
            Failure::new(format_args!("{name:?} is no object: give its number, or its name such as data/5c/{:016x}", 1))
        })?;
        objects.push(one(reader, image, id, &mut findings.flaws)?);
    }
    findings.facts.parts("objects", objects);
    Ok(findings)
}

fn parse(name: &str) -> Option<ObjectId> {
    name.parse().map(ObjectId).ok().or_else(|| data_object::parse_any_key(&Key(name.into())))
}

fn one(reader: &Reader, image: &Image, id: ObjectId, flaws: &mut Vec<String>) -> Result<Facts, Failure> {
    let key = data_object::key(id);
    let mut facts = Facts::default();
    facts.number("object", id.0);
    facts.text("name", &key);
    facts.text("metadata", told(image, id));
    let Some(bytes) = reader.get(&key)? else {
        facts.text("bucket", "has none of that name");
        if image.objects.get(&id).is_some_and(|object| matches!(object.state, ObjectState::Live(_))) {
            flaws.push(format!("{key} is missing, and the metadata needs it"));
        }
        return Ok(facts);
    };
    facts.bytes("bytes", bytes.len() as u64);
    match verify(image, id, &bytes) {
        Ok(verified) => {
            facts.parts("blocks", verified.blocks.iter().map(|entry| block(image, entry)).collect());
            facts.count("states_of_producers", verified.states);
        }
        Err(flaw) => flaws.push(format!("{key} {flaw}")),
    }
    Ok(facts)
}

/// What the metadata knows of an object.
fn told(image: &Image, id: ObjectId) -> String {
    match image.objects.get(&id).map(|object| object.state) {
        Some(ObjectState::Leased(node, epoch)) => format!("leased to node {node} under epoch {epoch}: not committed"),
        Some(ObjectState::Live(parts)) => format!("live: {parts} ranges and states of streams are in it"),
        Some(ObjectState::Destroyed(_)) => "to be deleted: no stream needs it".into(),
        None if data_object::place_in_wal(id).is_some() => "part of a WAL, or of none any more".into(),
        None if id >= image.next_object => "no such object yet".into(),
        None => "deleted, or never committed".into(),
    }
}

fn block(image: &Image, entry: &BlockEntry) -> Facts {
    let mut facts = Facts::default();
    facts.number("stream", entry.stream.0);
    facts.text("partition", metadata::partition(image, entry.stream).unwrap_or_else(|| "unknown".into()));
    facts.number("from", entry.start.0);
    facts.number("to", entry.end.0);
    facts.number("batches", entry.batches);
    facts.number("at", entry.at);
    facts.bytes("bytes", entry.len.into());
    facts.time("newest_record", entry.max_timestamp);
    facts
}

/// What is in an object that is as it should be.
pub(super) struct Verified {
    blocks: Vec<BlockEntry>,
    states: usize,
}

/// Reads all of an object, and compares it with what the metadata says is in it.
///
/// # Errors
/// What is wrong with it.
pub(super) fn verify(image: &Image, id: ObjectId, bytes: &Bytes) -> Result<Verified, String> {
    let decoded = data_object::decode(image.cluster, id, bytes).map_err(|error| error.to_string())?;
    let blocks: Vec<BlockEntry> = decoded.into_iter().map(|(entry, _)| entry).collect();
    for (stream, from, range) in ranges_in(image, id) {
        let of_stream = || blocks.iter().filter(|entry| entry.stream == stream);
        let held = of_stream().next().map(|entry| entry.start).zip(of_stream().next_back().map(|entry| entry.end));
        // Several ranges of a stream may lie in an object, and at its beginning what was trimmed while it was written.
        if held.is_none_or(|(start, end)| from < start || range.end > end) {
            let held = held.map_or("nothing".into(), |(start, end)| format!("offsets {start} to {end}"));
            return Err(format!(
                "holds {held} of stream {stream}, and the metadata says that it holds {from} to {}",
                range.end
            ));
        }
    }
    let mut states = 0;
    for (stream, state) in states_in(image, id) {
        check_state(id, stream, state, bytes)?;
        states += 1;
    }
    Ok(Verified { blocks, states })
}

fn check_state(id: ObjectId, stream: StreamId, state: &StateImage, bytes: &Bytes) -> Result<(), String> {
    let what = || format!("holds no state of the producers of stream {stream} at {}", state.at);
    let from = usize::try_from(state.at).map_err(|_| what())?;
    let to = from.checked_add(state.len as usize).filter(|to| *to <= bytes.len()).ok_or_else(what)?;
    let decoded = data_object::decode_state(id, stream, state.end, &bytes.slice(from..to));
    decoded.map(|_| ()).map_err(|error| format!("{}: it {error}", what()))
}

fn ranges_in(image: &Image, id: ObjectId) -> impl Iterator<Item = (StreamId, Offset, &RangeImage)> {
    image.streams.iter().flat_map(move |(stream, found)| {
        let inside = found.ranges.iter().filter(move |(_, range)| range.object == id);
        inside.map(move |(from, range)| (*stream, *from, range))
    })
}

fn states_in(image: &Image, id: ObjectId) -> impl Iterator<Item = (StreamId, &StateImage)> {
    image.streams.iter().flat_map(move |(stream, found)| {
        found.producers.iter().filter(move |state| state.object == id).map(move |state| (*stream, state))
    })
}
