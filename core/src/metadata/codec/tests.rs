use super::Field;
use crate::controller::NodeCommand;
use crate::envelope::{DecodeError, Fields};
use crate::id::{ClusterId, CommandSeq, CutNumber, Incarnation, Lsn, NodeEpoch, NodeId, Seq, TopicId};
use crate::machine::{Rng, WallTime};
use crate::metadata::workload::Workload;
use crate::metadata::{Command, Commit, Entry, FEATURE_LEVEL, Image, NewTopic, TopicConfigs, TopicName};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;

fn bytes_of(field: &impl Field) -> Vec<u8> {
    let mut out = Vec::new();
    field.put(&mut out);
    out
}

fn read<T: Field>(bytes: Vec<u8>) -> Result<(T, usize), DecodeError> {
    let mut fields = Fields::new(Bytes::from(bytes));
    T::take(&mut fields).map(|value| (value, fields.left()))
}

/// A log of random entries with the image that it folds to.
fn folded(seed: u64, entries: u64) -> (Image, Vec<Entry>) {
    let mut rng = Rng::new(seed);
    let mut image = Image::new(ClusterId::draw(&mut rng), FEATURE_LEVEL);
    let mut workload = Workload::new(rng.child("workload"), 2);
    let mut log = Vec::new();
    for seq in 1..=entries {
        let entry = Entry { seq: Seq(seq), at: WallTime(seq as i64 * 7), by: workload.next(&image) };
        image.apply(&entry);
        log.push(entry);
    }
    (image, log)
}

#[test]
fn every_entry_comes_back() {
    for seed in 0..40 {
        for entry in folded(seed, 150).1 {
            assert_eq!(read(bytes_of(&entry)), Ok((entry, 0)));
        }
    }
}

#[test]
fn every_image_comes_back() {
    for seed in 0..100 {
        let image = folded(seed, 10 + seed * 3).0;
        assert_eq!(read(bytes_of(&image)), Ok((image, 0)), "seed {seed}");
    }
}

#[test]
fn damage_is_an_error_and_what_passes_is_a_sound_image() {
    for seed in 0..60 {
        let (image, log) = folded(seed, 120);
        let mut rng = Rng::new(seed).child("damage");
        let encoded = [bytes_of(&image), bytes_of(&log)];
        for _ in 0..200 {
            let mut bytes = rng.pick(&encoded).expect("two of them").clone();
            for _ in 0..rng.between(1, 3) {
                let at = rng.below(bytes.len() as u64) as usize;
                match rng.below(4) {
                    0 => bytes.truncate(at.max(1)),
                    1 => bytes[at] = 0xff,
                    2 => bytes[at] ^= 1 << rng.below(8),
                    _ => bytes[at] = rng.next_u64() as u8,
                }
            }
            if let Ok((damaged, _)) = read::<Image>(bytes.clone()) {
                damaged.invariants();
                let mut damaged = damaged;
                for entry in &log {
                    damaged.apply(entry);
                }
                damaged.invariants();
            }
            if let Ok((entries, _)) = read::<Vec<Entry>>(bytes) {
                let mut sound = Image::new(ClusterId::default(), FEATURE_LEVEL);
                for (seq, mut entry) in (1..).zip(entries) {
                    entry.seq = Seq(seq);
                    sound.apply(&entry);
                }
                sound.invariants();
            }
        }
    }
}

#[test]
fn arbitrary_bytes_are_an_error() {
    let mut rng = Rng::new(7);
    for _ in 0..20_000 {
        let len = rng.below(200) as usize;
        let noise: Vec<u8> = (0..len).map(|_| rng.next_u64() as u8).collect();
        let _ = read::<Entry>(noise.clone());
        let _ = read::<Image>(noise);
    }
    // A count beyond what is there is refused before anything is allocated.
    assert_eq!(read::<Vec<Entry>>(vec![0xff; 8]), Err(DecodeError::Short));
}

fn entry() -> Entry {
    let name = TopicName::parse("orders").expect("legal");
    let command =
        Command::CreateTopic(NewTopic { id: TopicId([9; 16]), name, partitions: 3, configs: TopicConfigs::default() });
    let by = NodeCommand {
        node: NodeId(1),
        incarnation: Incarnation([2; 16]),
        epoch: NodeEpoch(3),
        seq: CommandSeq(4),
        confirmed: CommandSeq(2),
        command: Box::new(command),
    };
    Entry { seq: Seq(5), at: WallTime(6), by }
}

#[test]
fn an_entry_is_what_the_page_draws() {
    let mut drawn = vec![];
    drawn.extend([0, 0, 0, 123, 1]); // entry
    drawn.extend(5u64.to_be_bytes());
    drawn.extend(6i64.to_be_bytes());
    drawn.extend([0, 0, 0, 102, 1]); // node command
    drawn.extend(1u32.to_be_bytes());
    drawn.extend([2; 16]);
    drawn.extend(3u64.to_be_bytes());
    drawn.extend(4u64.to_be_bytes());
    drawn.extend(2u64.to_be_bytes());
    drawn.extend([0, 0, 0, 53, 1, 6]); // command: create topic
    drawn.extend([0, 0, 0, 47, 1]); // new topic
    drawn.extend([9; 16]);
    drawn.extend([0, 6]);
    drawn.extend(b"orders");
    drawn.extend(3u32.to_be_bytes());
    drawn.extend([0, 0, 0, 14, 1]); // configs: none is set
    drawn.extend([0; 9]);
    drawn.extend(0u32.to_be_bytes()); // nor any that has no effect
    assert_eq!(bytes_of(&entry()), drawn);
}

#[test]
fn appended_fields_are_skipped_and_needed_ones_refused() {
    let empty = Commit { epoch: NodeEpoch(1), recovery: None, number: CutNumber(1), lsn: Lsn(0), objects: vec![] };
    let known = bytes_of(&empty);
    let mut longer = known.clone();
    longer.extend(b"a reason");
    longer[3] += 8;
    assert_eq!(read(longer.clone()), Ok((empty, 0)));
    longer[4] = 2;
    assert_eq!(read::<Commit>(longer.clone()), Err(DecodeError::Unsupported));
    longer[4] = 0;
    assert_eq!(read::<Commit>(longer), Err(DecodeError::Malformed));

    let mut unknown = bytes_of(&entry().by.command);
    unknown[5] = 200;
    assert_eq!(read::<Command>(unknown), Err(DecodeError::Unsupported));
}

#[test]
fn a_text_is_cut_at_a_character() {
    let long: String = core::iter::repeat_n('ä', 40_000).collect();
    let (cut, left) = read::<String>(bytes_of(&long)).expect("it is UTF-8");
    assert_eq!((cut.len(), left), (65_534, 0));
}
