//! The cache against a model that keeps everything.

use super::*;
use crate::data_object::sample::batch;
use crate::machine::Rng;

fn at(ms: u64) -> Now {
    Now { mono: Instant(ms), ..Now::default() }
}

fn cache(limit: u64) -> LogCache {
    LogCache::new(&Limits { log_cache: limit, ..Limits::default() })
}

/// All that ever came in, with the cut that took it.
#[derive(Default)]
struct Model {
    batches: Vec<(Appended, Option<CutNumber>)>,
    committed: CutNumber,
}

impl Model {
    /// A stream's batches that must be readable: those that are not committed.
    fn needed(&self, stream: StreamId) -> impl Iterator<Item = &Appended> {
        let needed = |cut: &Option<CutNumber>| cut.is_none_or(|cut| cut > self.committed);
        self.batches.iter().filter(move |(batch, cut)| batch.stream == stream && needed(cut)).map(|(batch, _)| batch)
    }

    fn uncut(&self) -> u64 {
        self.batches.iter().filter(|(_, cut)| cut.is_none()).map(|(batch, _)| batch.batch.len() as u64).sum()
    }

    fn check(&self, cache: &LogCache, rng: &mut Rng) {
        cache.invariants();
        assert_eq!(cache.bytes().uncut, self.uncut());
        for stream in (0..6).map(StreamId) {
            let all: Vec<&Appended> =
                self.batches.iter().map(|(batch, _)| batch).filter(|batch| batch.stream == stream).collect();
            let first_needed = self.needed(stream).next();
            if let Some(needed) = first_needed {
                assert!(cache.first(stream).is_some_and(|first| first <= needed.base), "{stream:?} lost {needed:?}");
            }
            let Some(first) = cache.first(stream) else { continue };
            assert_eq!(cache.end(stream), all.last().map(|batch| batch.end));
            let here: Vec<&&Appended> = all.iter().filter(|batch| batch.base >= first).collect();
            let max = rng.below(500);
            let offset = Offset(rng.between(first.0.saturating_sub(2), here[here.len() - 1].end.0));
            let read = cache.read(stream, offset, max);
            let from = here.partition_point(|batch| batch.end <= offset);
            if offset < first || from == here.len() {
                assert!(read.is_empty());
                continue;
            }
            assert!(read.iter().eq(here[from..from + read.len()].iter().map(|batch| **batch)));
            let len = |batches: &[Appended]| batches.iter().map(|batch| batch.batch.len() as u64).sum::<u64>();
            assert!(len(&read) <= max || read.len() == 1);
            let next = here.get(from + read.len());
            assert!(next.is_none_or(|next| len(&read) + next.batch.len() as u64 > max), "it reads as much as it may");
        }
    }
}

#[test]
fn nothing_uncommitted_leaves_and_all_is_counted() {
    let mut evicted = 0;
    for seed in 0..150 {
        let mut rng = Rng::new(seed);
        let limit = rng.below(6000);
        let (mut cache, mut model) = (cache(limit), Model::default());
        let mut ends = [0_u64; 6];
        let mut number = CutNumber(rng.below(5));
        model.committed = number;
        for step in 0..300 {
            match rng.below(20) {
                0 => {
                    number = number.next();
                    let ranges = cache.cut(number);
                    let mut taken = ranges.iter().flat_map(|range| &range.batches);
                    assert!(ranges.is_sorted_by(|one, next| one.stream < next.stream));
                    for stream in (0..6).map(StreamId) {
                        let uncut =
                            model.batches.iter_mut().filter(|(batch, cut)| batch.stream == stream && cut.is_none());
                        for (batch, cut) in uncut {
                            assert_eq!(taken.next(), Some(&*batch), "a cut takes everything since the last");
                            *cut = Some(number);
                        }
                    }
                    assert_eq!(taken.next(), None);
                    assert_eq!(cache.oldest_uncut(), None);
                }
                1 if model.committed < number => {
                    model.committed = model.committed.next();
                    cache.committed(model.committed);
                }
                2 if rng.chance(1, 4) => {
                    let stream = StreamId(rng.below(6));
                    cache.drop_stream(stream);
                    model.batches.retain(|(batch, _)| batch.stream != stream);
                    assert_eq!(cache.first(stream), None);
                }
                _ => {
                    let stream = rng.below(6);
                    let len = rng.below(80) as usize;
                    let batch = batch(stream, 1, ends[stream as usize], 1 + rng.below(3) as u32, len, &mut rng);
                    ends[stream as usize] = batch.end.0;
                    let before = cache.bytes().total() + batch.batch.len() as u64;
                    cache.insert(at(step), batch.clone());
                    evicted += u64::from(cache.bytes().total() < before);
                    model.batches.push((batch, None));
                    assert!(cache.oldest_uncut().is_some_and(|oldest| oldest.0 <= step));
                }
            }
            model.check(&cache, &mut rng);
        }
    }
    assert!(evicted > 1000, "eviction is exercised: {evicted}");
}

#[test]
fn committed_records_stay_while_there_is_room() {
    let mut rng = Rng::new(1);
    let one = batch(1, 1, 0, 1, 50, &mut rng);
    let len = one.batch.len() as u64;
    let mut cache = cache(3 * len);
    cache.insert(at(5), one);
    cache.insert(at(6), batch(1, 1, 1, 1, 50, &mut rng));
    assert_eq!(cache.oldest_uncut(), Some(Instant(5)));
    assert_eq!(cache.cut(CutNumber(1)).len(), 1);
    cache.committed(CutNumber(1));
    cache.insert(at(7), batch(1, 1, 2, 1, 50, &mut rng));
    assert_eq!(cache.bytes(), Bytes { uncut: len, uploading: 0, evictable: 2 * len });
    assert_eq!(cache.first(StreamId(1)), Some(Offset(0)));
    cache.insert(at(8), batch(1, 1, 3, 1, 50, &mut rng));
    assert_eq!(cache.first(StreamId(1)), Some(Offset(1)), "the oldest goes when room is needed, and no more");
    assert_eq!(cache.bytes(), Bytes { uncut: 2 * len, uploading: 0, evictable: len });
    cache.invariants();
}

#[test]
fn an_empty_cut_is_a_cut() {
    let mut cache = cache(10);
    assert!(cache.cut(CutNumber(4)).is_empty());
    assert!(cache.cut(CutNumber(5)).is_empty());
    cache.committed(CutNumber(4));
    cache.committed(CutNumber(5));
    cache.invariants();
    assert!(cache.cuts.is_empty());
}

#[test]
#[should_panic(expected = "committed in order")]
fn commits_out_of_order_are_refused() {
    let mut cache = cache(10);
    cache.cut(CutNumber(1));
    cache.cut(CutNumber(2));
    cache.committed(CutNumber(2));
}

#[test]
#[should_panic(expected = "contiguous")]
fn a_gap_is_refused() {
    let mut rng = Rng::new(1);
    let mut cache = cache(10);
    cache.insert(at(0), batch(1, 1, 0, 2, 5, &mut rng));
    cache.insert(at(0), batch(1, 1, 3, 2, 5, &mut rng));
}
