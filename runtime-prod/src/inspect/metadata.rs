//! What the metadata log tells.

use super::Findings;
use crate::facts::Facts;
use crate::failure::Failure;
use crate::store::Reader;
use karst_core::controller::Audit;
use karst_core::id::StreamId;
use karst_core::metadata::{Image, NodeImage, ObjectState, StreamImage, StreamState, TopicImage};

/// Reads the head and all that it refers to.
pub(super) fn read(reader: &Reader) -> Result<Audit, Failure> {
    let key = Audit::HEAD.into();
    let head = reader.get(&key)?.ok_or_else(|| {
        Failure::new(format_args!("there is no {key}: this is not the bucket or directory of a Karst cluster"))
    })?;
    let mut refused = None;
    let audit = Audit::read(&head, |key| {
        reader.get(key).unwrap_or_else(|error| {
            refused = Some(error);
            None
        })
    });
    audit.map_err(|flaw| refused.unwrap_or_else(|| Failure::new(flaw)))
}

pub(super) fn inspect(audit: &Audit) -> Findings {
    let image = audit.image();
    let mut facts = head(audit);
    facts.parts(
        "brokers",
        image
            .nodes
            .iter()
            .map(|(id, node)| {
                let mut facts = Facts::default();
                facts.number("node", id.0);
                broker(node, &mut facts);
                facts
            })
            .collect(),
    );
    facts.parts("topics", image.topics.values().map(|found| topic(image, found)).collect());
    facts.part("objects", objects(image));
    let flaws = image.check().err().map(|flaw| format!("the metadata contradicts itself: {flaw}"));
    Findings { facts, flaws: flaws.into_iter().collect() }
}

/// What every look at a bucket begins with.
pub(super) fn head(audit: &Audit) -> Facts {
    let image = audit.image();
    let (node, run) = audit.writer();
    let mut facts = Facts::default();
    facts.text("cluster", image.cluster);
    facts.number("feature_level", image.feature_level.0);
    facts.number("entries", image.seq.0);
    facts.time("last_entry", image.at);
    facts.number("term", audit.term().0);
    facts.number("leader", node.0);
    facts.text("leaders_run", run);
    facts
}

/// The partition that a stream is of, as Kafka's people write it.
pub(super) fn partition(image: &Image, stream: StreamId) -> Option<String> {
    let stream = image.streams.get(&stream)?;
    let topic = image.topics.get(&stream.topic)?;
    Some(format!("{}-{}", topic.name.as_str(), stream.partition))
}

fn broker(node: &NodeImage, facts: &mut Facts) {
    facts.number("epoch", node.epoch.0);
    facts.text("address", format_args!("{}:{}", node.host, node.port));
    facts.text("run", node.incarnation);
    if let Some(given_up) = node.given_up {
        let mut lost = Facts::default();
        lost.text("wal", given_up.wal);
        lost.number("of_epoch", given_up.of_epoch.0);
        lost.time("at", given_up.at);
        facts.part("given_up", lost);
    }
    facts.parts(
        "wals",
        node.epochs
            .iter()
            .map(|(epoch, wal)| {
                let mut facts = Facts::default();
                facts.text("wal", wal.wal);
                facts.number("of_epoch", epoch.0);
                facts.number("committed_to_lsn", wal.trim.0);
                facts.number("last_cut", wal.last_cut.0);
                facts.truth("to_be_recovered", wal.recovery.is_some());
                facts
            })
            .collect(),
    );
}

fn topic(image: &Image, topic: &TopicImage) -> Facts {
    let mut facts = Facts::default();
    facts.text("topic", topic.name.as_str());
    let streams = topic.partitions.iter().filter_map(|found| Some((found.stream, image.streams.get(&found.stream)?)));
    let streams: Vec<_> = streams.collect();
    facts.count("partition_count", streams.len());
    let bytes = streams.iter().flat_map(|(_, stream)| stream.ranges.values()).map(|range| range.bytes).sum();
    facts.bytes("bytes_in_objects", bytes);
    facts.parts("partitions", streams.into_iter().map(|(id, found)| stream(id, found)).collect());
    facts
}

fn stream(id: StreamId, stream: &StreamImage) -> Facts {
    let mut facts = Facts::default();
    facts.number("partition", stream.partition.0);
    facts.number("stream", id.0);
    facts.number("owner", stream.owner.0);
    facts.number("epoch", stream.epoch.0);
    facts.text(
        "state",
        match stream.state {
            StreamState::Closed => "closed".into(),
            StreamState::Open(epoch) => format!("open under node epoch {epoch}"),
        },
    );
    facts.number("from", stream.start.0);
    facts.number("committed_to", stream.end.0);
    facts.count("ranges", stream.ranges.len());
    facts.bytes("bytes", stream.ranges.values().map(|range| range.bytes).sum());
    if let Some(newest) = stream.ranges.values().map(|range| range.max_timestamp).max() {
        facts.time("newest_record", newest);
    }
    facts
}

/// How many objects are in which part of their life.
pub(super) fn objects(image: &Image) -> Facts {
    let (mut leased, mut live, mut destroyed) = (0_u64, (0_u64, 0), (0_u64, 0));
    for object in image.objects.values() {
        match object.state {
            ObjectState::Leased(..) => leased += 1,
            ObjectState::Live(_) => live = (live.0 + 1, live.1 + object.size),
            ObjectState::Destroyed(_) => destroyed = (destroyed.0 + 1, destroyed.1 + object.size),
        }
    }
    let mut facts = Facts::default();
    facts.number("ids_issued", image.next_object.0 - 1);
    facts.number("leased", leased);
    facts.number("live", live.0);
    facts.bytes("live_bytes", live.1);
    facts.number("to_be_deleted", destroyed.0);
    facts.bytes("to_be_deleted_bytes", destroyed.1);
    facts
}
