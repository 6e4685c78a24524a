//! What goes and what stays, and the clock by which age is judged.

use super::*;
use crate::id::ObjectId;
use crate::metadata::ConfigName;

const HOUR: i64 = 3_600_000;
const NOW: WallTime = WallTime(1_700_000_000_000);

/// Ranges of ten records each: (age of the youngest record in hours, bytes).
fn ranges(of: &[(i64, u64)]) -> BTreeMap<Offset, RangeImage> {
    let range = |(at, (age, bytes)): (u64, &(i64, u64))| {
        let max_timestamp = WallTime(NOW.0 - age * HOUR);
        let (end, object) = (Offset(at * 10 + 10), ObjectId(at + 1));
        (Offset(at * 10), RangeImage { end, object, max_timestamp, bytes: *bytes, committed: NOW })
    };
    (0..).zip(of).map(range).collect()
}

fn kept(configs: &[(ConfigName, &str)], of: &[(i64, u64)]) -> Option<u64> {
    let mut set = TopicConfigs::default();
    for (name, value) in configs {
        set.set(*name, value).expect("legal");
    }
    kept_from(&set, &ranges(of), NOW).map(|offset| offset.0)
}

fn by_size(bytes: &str, of: &[(i64, u64)]) -> Option<u64> {
    kept(&[(ConfigName::RetentionTime, "-1"), (ConfigName::RetentionBytes, bytes)], of)
}

fn by_age(time: &str, of: &[(i64, u64)]) -> Option<u64> {
    kept(&[(ConfigName::RetentionTime, time)], of)
}

#[test]
fn of_the_size_that_is_to_stay_nothing_goes() {
    let three = [(0, 100), (0, 50), (0, 70)];
    assert_eq!(by_size("221", &three), None);
    assert_eq!(by_size("121", &three), None, "the first range is not spare as a whole");
    assert_eq!(by_size("120", &three), Some(10));
    assert_eq!(by_size("70", &three), Some(20));
    assert_eq!(by_size("1", &three), Some(20));
    assert_eq!(by_size("0", &three), Some(30));
    assert_eq!(by_size("-1", &three), None);
    assert_eq!(by_size("0", &[]), None);
}

#[test]
fn ranges_whose_youngest_record_is_too_old_go_from_the_front() {
    let hours = [(9, 1), (5, 1), (7, 1), (1, 1)];
    let time = |hours: i64, and: i64| (hours * HOUR + and).to_string();
    use alloc::string::ToString;
    assert_eq!(by_age(&time(9, 0), &hours), None, "older than that, not as old");
    assert_eq!(by_age(&time(9, -1), &hours), Some(10));
    assert_eq!(by_age(&time(6, 0), &hours), Some(10), "a young range keeps what follows it");
    assert_eq!(by_age(&time(4, 0), &hours), Some(30));
    assert_eq!(by_age("0", &hours), Some(40));
    assert_eq!(by_age("-1", &hours), None);
    assert_eq!(by_age("0", &[(-1_000_000, 1), (9, 1)]), None, "a record from the far future");
    assert_eq!(kept(&[], &[(7 * 24, 1)]), None);
    assert_eq!(kept(&[], &[(7 * 24 + 1, 1)]), Some(10), "a week, unless somebody says otherwise");
}

#[test]
fn first_by_size_then_by_age_and_never_without_delete() {
    let of = [(1, 10), (9, 10), (9, 10), (0, 10)];
    let both = [(ConfigName::RetentionBytes, "30"), (ConfigName::RetentionTime, "7200000")];
    assert_eq!(kept(&both, &of), Some(30));
    for policy in ["compact", ""] {
        assert_eq!(kept(&[both[0], both[1], (ConfigName::CleanupPolicy, policy)], &of), None);
    }
    assert_eq!(kept(&[both[0], both[1], (ConfigName::CleanupPolicy, "compact,delete")], &of), Some(30));
}

#[test]
fn what_has_no_time_ages_from_its_commit() {
    let mut ranges = ranges(&[(0, 1)]);
    let range = ranges.get_mut(&Offset(0)).expect("it is there");
    (range.max_timestamp, range.committed) = (WallTime(-1), WallTime(NOW.0 - 8 * 24 * HOUR));
    assert_eq!(kept_from(&TopicConfigs::default(), &ranges, NOW), Some(Offset(10)));
    ranges.get_mut(&Offset(0)).expect("it is there").committed = NOW;
    assert_eq!(kept_from(&TopicConfigs::default(), &ranges, NOW), None);
}

#[test]
fn a_wall_clock_that_is_set_forward_is_not_believed_at_once() {
    let mut clock = RetentionClock::default();
    let at = |hours: u64, wall: i64| Now {
        mono: Instant(0).after(Duration::from_secs(hours * 3_600)),
        wall: WallTime(NOW.0 + wall * HOUR),
    };
    assert_eq!(clock.read(at(1, 0)), NOW);
    assert_eq!(clock.read(at(2, 1)).0, NOW.0 + HOUR);
    assert_eq!(clock.read(at(3, 1_000)).0, NOW.0 + 2 * HOUR, "as much as has passed");
    assert_eq!(clock.read(at(26, 1_023)).0, NOW.0 + 25 * HOUR);
    assert_eq!(clock.read(at(27, 1_024)).0, NOW.0 + 1_024 * HOUR, "it has stood for a day");
    assert_eq!(clock.read(at(28, 5)).0, NOW.0 + 5 * HOUR, "back is believed");
    assert_eq!(clock.read(at(29, 900)).0, NOW.0 + 6 * HOUR);
    assert_eq!(clock.read(at(40, 17)).0, NOW.0 + 17 * HOUR);
    assert_eq!(clock.read(at(60, 900)).0, NOW.0 + 37 * HOUR, "a step that was taken back does not count");
}
