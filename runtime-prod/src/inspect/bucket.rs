//! Whether a bucket holds what its metadata needs, what else it holds, and what that costs.
//!
//! The head is read first and names are listed afterwards. Beside a running broker, objects come and go in between: what
//! looks wrong is looked at once more, with a newer head, and counts only if it is still so.

use super::{Depth, Findings, metadata, object};
use crate::facts::Facts;
use crate::failure::Failure;
use crate::store::Reader;
use karst_core::controller::Audit;
use karst_core::data_object;
use karst_core::id::ObjectId;
use karst_core::machine::WallTime;
use karst_core::metadata::{Image, ObjectState};
use karst_core::store::Key;
use karst_core::wal::object::format;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

pub(super) fn inspect(reader: &Reader, depth: Depth) -> Result<Findings, Failure> {
    let mut survey = Survey::take(reader)?;
    let mut flaws = survey.flaws();
    if !flaws.is_empty() {
        survey = Survey::take(reader)?;
        let still = survey.flaws();
        flaws.retain(|flaw| still.contains(flaw));
    }
    let mut facts = metadata::head(&survey.audit);
    facts.part("metadata_objects", metadata::objects(survey.audit.image()));
    facts.part("bucket", survey.contents());
    facts.part("cost", survey.cost());
    if depth == Depth::Bytes {
        let (verified, found) = verify_all(reader, survey.audit.image())?;
        facts.part("verified", verified);
        flaws.extend(found);
    }
    Ok(Findings { facts, flaws: flaws.into_iter().collect() })
}

/// A head, and the names that were there afterwards.
struct Survey {
    audit: Audit,
    names: BTreeMap<Key, u64>,
}

impl Survey {
    fn take(reader: &Reader) -> Result<Self, Failure> {
        let audit = metadata::read(reader)?;
        let names = reader.list("")?.into_iter().map(|found| (found.key, found.len)).collect();
        Ok(Self { audit, names })
    }

    /// What the metadata needs and the bucket has not.
    fn flaws(&self) -> BTreeSet<String> {
        let image = self.audit.image();
        let mut flaws: BTreeSet<String> = image.check().err().into_iter().collect();
        for (id, object) in &image.objects {
            let ObjectState::Live(_) = object.state else { continue };
            let key = data_object::key(*id);
            match self.names.get(&key) {
                None => drop(flaws.insert(format!("{key} is missing, and the metadata needs it"))),
                Some(len) if *len != object.size => {
                    let (len, size) = (*len, object.size);
                    flaws.insert(format!("{key} has {len} bytes, and the metadata says that it has {size}"));
                }
                Some(_) => {}
            }
        }
        flaws
    }

    fn contents(&self) -> Facts {
        let mut sums: BTreeMap<Part, (u64, u64)> = BTreeMap::new();
        let mut unknown = Vec::new();
        for (key, len) in &self.names {
            let part = self.part_of(key, *len);
            let sum = sums.entry(part).or_default();
            *sum = (sum.0 + 1, sum.1 + len);
            if part == Part::Unknown && unknown.len() < TOLD {
                unknown.push(key.to_string());
            }
        }
        let mut facts = Facts::default();
        facts.count("objects", self.names.len());
        facts.bytes("bytes", self.names.values().sum());
        facts.parts(
            "kinds",
            sums.into_iter()
                .map(|(part, (objects, bytes))| {
                    let mut facts = Facts::default();
                    facts.text("kind", part.words());
                    facts.number("objects", objects);
                    facts.bytes("bytes", bytes);
                    facts
                })
                .collect(),
        );
        facts.texts("not_of_karst", unknown);
        facts
    }

    fn part_of(&self, key: &Key, len: u64) -> Part {
        let image = self.audit.image();
        if let Some(id) = data_object::parse_key(key) {
            return match image.objects.get(&id).map(|object| object.state) {
                Some(ObjectState::Live(_)) => Part::Live,
                Some(ObjectState::Leased(..)) => Part::Uploaded,
                Some(ObjectState::Destroyed(_)) => Part::Destroyed,
                None if id >= image.next_object => Part::Uploaded,
                None => Part::Orphan,
            };
        }
        if let Some((node, epoch, seq)) = format::parse_key(key) {
            let data = data_object::id_in_wal(node, epoch, seq).and_then(|id| image.objects.get(&id));
            if let Some(object) = data {
                return if matches!(object.state, ObjectState::Live(_)) { Part::Live } else { Part::Destroyed };
            }
            let known = image.nodes.get(&node);
            return match known.and_then(|node| node.epochs.get(&epoch)) {
                _ if len == format::SEAL_LEN as u64 => Part::Seal,
                Some(life) if seq >= life.trim => Part::Wal,
                None if known.is_none_or(|node| node.epoch <= epoch) => Part::Wal,
                _ => Part::OldWal,
            };
        }
        match key.0.split('/').next() {
            _ if key.0 == Audit::HEAD || self.audit.refers_to(key) => Part::Metadata,
            Some("meta") => Part::OldMetadata,
            Some("probe") => Part::Probe,
            _ => Part::Unknown,
        }
    }

    /// By S3's standard prices: what is kept, and what the uploads of the last day would come to in a month.
    fn cost(&self) -> Facts {
        let bytes: u64 = self.names.values().sum();
        let uploads = uploads_of_last_day(self.audit.image());
        let (storage, puts) = (bytes as f64 / GIB * STORAGE, (uploads * 2 * DAYS) as f64 / 1000.0 * PUTS);
        let mut facts = Facts::default();
        facts.text("storage_usd_a_month", format_args!("{storage:.4}"));
        facts.number("uploads_in_the_last_day", uploads);
        facts.text("puts_usd_a_month", format_args!("{puts:.4}"));
        facts.text("prices", format_args!(
            "USD {STORAGE} for a GiB and month, {PUTS} for 1000 puts; an upload is a put of the object and one of the \
             head; reads are not known from a bucket"
        ));
        facts
    }
}

/// What an object in the bucket is to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Live,
    Uploaded,
    Destroyed,
    Orphan,
    Metadata,
    OldMetadata,
    Wal,
    OldWal,
    Seal,
    Probe,
    Unknown,
}

impl Part {
    const fn words(self) -> &'static str {
        match self {
            Self::Live => "data that streams need",
            Self::Uploaded => "data uploaded and not committed yet",
            Self::Destroyed => "data that waits to be deleted",
            Self::Orphan => "data that nobody needs: the broker's next clean-up deletes it",
            Self::Metadata => "metadata",
            Self::OldMetadata => "old metadata, kept for a while",
            Self::Wal => "a WAL: what is not uploaded otherwise yet",
            Self::OldWal => "a WAL: not needed any more, and deleted soon",
            Self::Seal => "ends of WALs, kept for ever",
            Self::Probe => "left by a probe of the store",
            Self::Unknown => "not of Karst",
        }
    }
}

/// Names that are told one by one.
const TOLD: usize = 20;

/// USD, of S3's standard class in most of its regions.
const STORAGE: f64 = 0.023;
const PUTS: f64 = 0.005;
const DAYS: u64 = 30;
const GIB: f64 = (1_u64 << 30) as f64;

/// Objects that were committed in the day before the last entry of the metadata, and are still there.
fn uploads_of_last_day(image: &Image) -> u64 {
    const DAY: i64 = 24 * 60 * 60 * 1000;
    let since = WallTime(image.at.0.saturating_sub(DAY));
    let ranges = image.streams.values().flat_map(|stream| stream.ranges.values());
    let young: BTreeSet<ObjectId> = ranges.filter(|range| range.committed > since).map(|range| range.object).collect();
    young.len() as u64
}

/// Reads and verifies every live object; tells on standard error how far it is.
fn verify_all(reader: &Reader, image: &Image) -> Result<(Facts, Vec<String>), Failure> {
    let live = || image.objects.iter().filter(|(_, object)| matches!(object.state, ObjectState::Live(_)));
    let (count, total) = (live().count(), live().map(|(_, object)| object.size).sum::<u64>());
    let (mut flaws, mut read, mut told) = (Vec::new(), 0, Instant::now());
    for (done, (id, _)) in live().enumerate() {
        if told.elapsed() >= REMINDER {
            told = Instant::now();
            eprintln!(
                "{done} of {count} objects, {} of {} verified",
                crate::facts::size(read),
                crate::facts::size(total)
            );
        }
        let key = data_object::key(*id);
        // One that is missing is told already, or was deleted since by a running broker.
        if let Some(bytes) = reader.get(&key)? {
            read += bytes.len() as u64;
            flaws.extend(object::verify(image, *id, &bytes).err().map(|flaw| format!("{key} {flaw}")));
        }
    }
    let mut facts = Facts::default();
    facts.count("objects", count);
    facts.bytes("bytes", read);
    Ok((facts, flaws))
}

const REMINDER: Duration = Duration::from_secs(5);
