//! What WALs have in the bucket, by life: a broker's node epoch.

use super::Findings;
use crate::facts::Facts;
use crate::failure::Failure;
use crate::store::Reader;
use karst_core::data_object;
use karst_core::id::{Lsn, NodeEpoch, NodeId};
use karst_core::metadata::{Image, WalKind};
use karst_core::store::Found;
use karst_core::wal::object::format::{self, Content, PREFIX, SEAL_LEN};
use karst_core::wal::{Appended, Life};
use std::collections::BTreeMap;

pub(super) fn inspect(reader: &Reader, image: &Image) -> Result<Findings, Failure> {
    let mut findings = Findings::default();
    let mut lives: BTreeMap<(NodeId, NodeEpoch), BTreeMap<Lsn, u64>> = BTreeMap::new();
    for Found { key, len } in reader.list(PREFIX)? {
        match format::parse_key(&key) {
            Some((node, epoch, seq)) => drop(lives.entry((node, epoch)).or_default().insert(seq, len)),
            None => findings.flaws.push(format!("{key} is not a name of Karst's")),
        }
    }
    let (mut parts, mut objects, mut bytes) = (Vec::new(), 0, 0);
    for ((node, epoch), all) in &lives {
        objects += all.len();
        bytes += all.values().sum::<u64>();
        parts.push(life(reader, image, (*node, *epoch), all, &mut findings.flaws)?);
    }
    findings.facts.text("cluster", image.cluster);
    findings.facts.count("objects", objects);
    findings.facts.bytes("bytes", bytes);
    findings.facts.parts("lives", parts);
    Ok(findings)
}

fn life(
    reader: &Reader,
    image: &Image,
    (node, epoch): (NodeId, NodeEpoch),
    all: &BTreeMap<Lsn, u64>,
    flaws: &mut Vec<String>,
) -> Result<Facts, Failure> {
    let mut facts = Facts::default();
    facts.number("node", node.0);
    facts.number("node_epoch", epoch.0);
    facts.count("objects", all.len());
    facts.bytes("bytes", all.values().sum());
    if let Some(seal) = all.iter().find(|(_, len)| **len == SEAL_LEN as u64) {
        facts.number("sealed_at", seal.0.0);
    }
    let is_data = |seq: &&Lsn| {
        let id = data_object::id_in_wal(node, epoch, **seq);
        id.is_some_and(|id| image.objects.contains_key(&id))
    };
    facts.count("objects_that_became_data", all.keys().filter(is_data).count());
    let known = image.nodes.get(&node).and_then(|node| node.epochs.get(&epoch));
    let Some(known) = known.filter(|known| known.kind == WalKind::Objects) else {
        facts.text("state", "over: all but a seal, and what became data, is deleted by the broker's next clean-up");
        return Ok(facts);
    };
    facts.text("state", if known.recovery.is_some() { "being read back" } else { "in use, or its broker died" });
    facts.text("wal", known.wal);
    facts.number("committed_up_to", known.trim.0);
    let of = Life { cluster: image.cluster, node, epoch, uuid: known.wal };
    let held = read_back(reader, &of, known.trim, flaws)?;
    facts.count("objects_to_read_back", held.objects);
    facts.count("batches", held.batches);
    facts.number("records", held.records);
    facts.bytes("record_bytes", held.bytes);
    Ok(facts)
}

/// What the next start would read back.
#[derive(Default)]
struct Held {
    objects: usize,
    batches: usize,
    records: u64,
    bytes: u64,
}

fn read_back(reader: &Reader, life: &Life, from: Lsn, flaws: &mut Vec<String>) -> Result<Held, Failure> {
    let mut held = Held::default();
    let mut at = from;
    loop {
        let key = format::key(life.node, life.epoch, at);
        let Some(bytes) = reader.get(&key)? else { return Ok(held) };
        match format::open(life, at, &bytes) {
            Ok(Content::Records(records)) => held.add(&records),
            Ok(Content::Seal(_)) => return Ok(held),
            Err(error) => {
                flaws.push(format!("{key} {error}"));
                return Ok(held);
            }
        }
        at = at.next();
    }
}

impl Held {
    fn add(&mut self, records: &[Appended]) {
        self.objects += 1;
        self.batches += records.len();
        self.records += records.iter().map(|batch| batch.end.0.saturating_sub(batch.base.0)).sum::<u64>();
        self.bytes += records.iter().map(|batch| batch.batch.len() as u64).sum::<u64>();
    }
}
