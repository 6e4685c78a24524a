//! What a write-ahead log holds. The WAL machine reads it, as it would at the next start: only reads are performed.

use super::{Findings, metadata};
use crate::clock::Clock;
use crate::facts::Facts;
use crate::failure::Failure;
use bytes::{Bytes, BytesMut};
use karst_core::controller::Audit;
use karst_core::disk::{DiskDone, DiskError, DiskOp, DiskResult, SECTOR};
use karst_core::id::{Lsn, Offset, StreamId};
use karst_core::limits::Limits;
use karst_core::machine::{Check, Effects, Inbox, Turn, TurnBudget, WallTime};
use karst_core::mail::Mail as To;
use karst_core::metadata::Image;
use karst_core::node;
use karst_core::wal::ring::header::{Ending, Header, SLOTS};
use karst_core::wal::{Appended, Effect, Found, Input, Inspection, Mail, Recovered, Wal};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

pub(super) fn inspect(path: &Path, limits: &Limits, metadata: Option<&Audit>) -> Result<Findings, Failure> {
    let failed = |error| Failure::new(format_args!("the WAL {}: {error}", path.display()));
    let mut file = File::open(path).map_err(failed)?;
    // A block device's metadata says nothing of its length.
    let len = file.seek(SeekFrom::End(0)).map_err(failed)?;
    let wal = Wal::new(len, limits).map_err(Failure::new)?;
    let image = metadata.map(Audit::image);
    let mut findings = Findings::default();
    findings.facts.text("file", path.display());
    findings.facts.bytes("bytes", len);
    findings.facts.parts("header_slots", (0..SLOTS).map(|slot| header(&file, slot)).collect());
    let mut reading = Reading::new(file, wal);
    match reading.ask(Mail::Inspect) {
        node::Mail::WalFound(Inspection::Blank) => findings.facts.text("state", "blank: it was never used"),
        node::Mail::WalFound(Inspection::Refused(why) | Inspection::Unreadable(why)) => findings.flaws.push(why),
        node::Mail::WalFound(Inspection::Ring(found)) => contents(&mut reading, found, image, &mut findings),
        other => unreachable!("an inspection was answered with {other:?}"),
    }
    Ok(findings)
}

/// What the broker would find there; nothing counts as blank.
pub(super) fn find(path: &Path, limits: &Limits) -> Result<Inspection, Failure> {
    let opened = File::open(path).and_then(|mut file| {
        let len = file.seek(SeekFrom::End(0))?;
        Ok((file, len))
    });
    match opened {
        Ok((file, len)) => match Wal::new(len, limits) {
            Ok(wal) => match Reading::new(file, wal).ask(Mail::Inspect) {
                node::Mail::WalFound(inspection) => Ok(inspection),
                other => unreachable!("an inspection was answered with {other:?}"),
            },
            Err(why) => Ok(Inspection::Refused(why)),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Inspection::Blank),
        // It may be whole.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            Err(Failure::new(format_args!("the WAL {}: {error}; nothing was changed", path.display())))
        }
        Err(error) => Ok(Inspection::Unreadable(format!("it can't be opened: {error}"))),
    }
}

fn header(file: &File, slot: u64) -> Facts {
    let mut facts = Facts::default();
    facts.number("slot", slot);
    let bytes = match read(file, slot * SECTOR, SECTOR as usize) {
        Ok(bytes) => bytes,
        Err(error) => {
            facts.text("state", error);
            return facts;
        }
    };
    if bytes.iter().all(|byte| *byte == 0) {
        facts.text("state", "blank");
        return facts;
    }
    match Header::decode(&bytes) {
        Ok(header) => {
            facts.text("state", if header.ending == Ending::Clean { "closed in order" } else { "in use" });
            facts.number("generation", header.generation);
            facts.text("wal", header.life.uuid);
            facts.text("cluster", header.life.cluster);
            facts.number("node", header.life.node.0);
            facts.number("node_epoch", header.life.epoch.0);
            facts.bytes("ring", header.ring);
            facts.number("trim_lsn", header.trim.0);
            facts.number("durable_lsn", header.durable.0);
        }
        Err(error) => facts.text("state", format_args!("unreadable: it {error}")),
    }
    facts
}

/// What was not uploaded when its broker was last heard of.
fn contents(reading: &mut Reading, found: Found, image: Option<&Image>, findings: &mut Findings) {
    let facts = &mut findings.facts;
    facts.text("wal", found.life.uuid);
    if let Some(stranger) = image.filter(|image| image.cluster != found.life.cluster) {
        findings.flaws.push(format!(
            "the WAL belongs to cluster {}, the bucket to cluster {}",
            found.life.cluster, stranger.cluster
        ));
    }
    let node = image.and_then(|image| image.nodes.get(&found.life.node));
    if let Some(given_up) = node.and_then(|node| node.given_up).filter(|given_up| given_up.wal == found.life.uuid) {
        facts.time("given_up_at", given_up.at);
    }
    let committed = committed(found, image);
    facts.text(
        "state",
        match (found.clean, committed) {
            (true, _) => "closed in order: all that was in it is uploaded".into(),
            (false, Some(lsn)) => {
                format!("in use, or its broker died; the metadata says that it is uploaded up to LSN {lsn}")
            }
            (false, None) => "in use, or its broker died".into(),
        },
    );
    if found.clean {
        return;
    }
    let mut held = Held::default();
    let from = committed.unwrap_or(found.trim);
    let mut answer = reading.ask(Mail::Recover { life: found.life, by: found.life.epoch, from });
    loop {
        match answer {
            node::Mail::WalRecovered(Recovered::Part { records, upto, more }) => {
                records.iter().for_each(|record| held.add(record));
                held.upto = upto;
                if !more {
                    break;
                }
                answer = reading.ask(Mail::RecoverMore);
            }
            node::Mail::WalRecovered(Recovered::Damaged(why) | Recovered::Unreadable(why)) => {
                findings.flaws.push(why);
                break;
            }
            other => unreachable!("a recovery was answered with {other:?}"),
        }
    }
    held.tell(from.max(found.trim), image, &mut findings.facts);
}

/// Up to where the metadata says that this life of the ring is uploaded.
fn committed(found: Found, image: Option<&Image>) -> Option<Lsn> {
    let node = image?.nodes.get(&found.life.node)?;
    let epoch = node.epochs.get(&found.life.epoch)?;
    (epoch.wal == found.life.uuid).then_some(epoch.trim)
}

/// What the next start would read back.
#[derive(Default)]
struct Held {
    upto: Lsn,
    batches: u64,
    bytes: u64,
    streams: BTreeMap<StreamId, HeldStream>,
}

struct HeldStream {
    from: Offset,
    to: Offset,
    batches: u64,
    bytes: u64,
    newest: WallTime,
}

impl Held {
    fn add(&mut self, record: &Appended) {
        let bytes = record.batch.0.len() as u64;
        self.batches += 1;
        self.bytes += bytes;
        let stream = self.streams.entry(record.stream).or_insert(HeldStream {
            from: record.base,
            to: record.end,
            batches: 0,
            bytes: 0,
            newest: record.max_timestamp,
        });
        stream.to = record.end;
        stream.batches += 1;
        stream.bytes += bytes;
        stream.newest = stream.newest.max(record.max_timestamp);
    }

    fn tell(&self, from: Lsn, image: Option<&Image>, facts: &mut Facts) {
        facts.number("from_lsn", from.0);
        facts.number("to_lsn", self.upto.0);
        facts.number("batches_not_uploaded", self.batches);
        facts.bytes("bytes_not_uploaded", self.bytes);
        facts.parts(
            "streams",
            self.streams
                .iter()
                .map(|(id, stream)| {
                    let mut facts = Facts::default();
                    facts.number("stream", id.0);
                    if let Some(name) = image.and_then(|image| metadata::partition(image, *id)) {
                        facts.text("partition", name);
                    }
                    facts.number("from", stream.from.0);
                    facts.number("to", stream.to.0);
                    facts.number("batches", stream.batches);
                    facts.bytes("bytes", stream.bytes);
                    facts.time("newest_record", stream.newest);
                    facts
                })
                .collect(),
        );
    }
}

/// The WAL machine on a file that is only read.
struct Reading {
    file: File,
    wal: Wal,
    clock: Clock,
    turn: Turn,
    inbox: Inbox<Input>,
}

impl Reading {
    fn new(file: File, wal: Wal) -> Self {
        let turn = Turn::new(TurnBudget::default(), Check::Nothing);
        Self { file, wal, clock: Clock::start(), turn, inbox: Inbox::default() }
    }

    /// What the WAL tells the node when it is asked this.
    fn ask(&mut self, mail: Mail) -> node::Mail {
        self.inbox.push(Input::Mail(mail));
        let mut effects = Effects::default();
        loop {
            self.turn.run(&mut self.wal, self.clock.now(), &mut self.inbox, &mut effects, |_| {});
            let asked: Vec<Effect> = effects.drain().collect();
            assert!(!asked.is_empty(), "a WAL that is being read reads on, or tells what it has read");
            for effect in asked {
                match effect {
                    Effect::Disk(op, wanted) => self.inbox.push(Input::Disk(op, perform(&self.file, &wanted))),
                    Effect::Mail(To::Node(told)) => return told,
                    Effect::Mail(other) => unreachable!("a WAL that is being read says {other:?}"),
                    Effect::Store(_, call) => unreachable!("a ring wants {call:?} of the object store"),
                }
            }
        }
    }
}

fn perform(file: &File, op: &DiskOp) -> DiskResult {
    match op {
        DiskOp::Read { at, len } => match read(file, at.0, *len) {
            Ok(bytes) => Ok(DiskDone::Read(bytes.into())),
            Err(_) => Err(DiskError::Io),
        },
        DiskOp::Write { .. } => unreachable!("a WAL that is being read writes nothing"),
    }
}

fn read(file: &File, at: u64, len: usize) -> std::io::Result<Bytes> {
    let mut bytes = BytesMut::zeroed(len);
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes.freeze())
}
