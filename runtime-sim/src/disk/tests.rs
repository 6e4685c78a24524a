use super::*;
use core::time::Duration;

const KIB: usize = 1024;
const BLOCK: usize = SECTOR as usize;
const SIZE: u64 = 1 << 20;
const LATER: Duration = Duration::from_secs(60);

fn disk(knobs: DiskKnobs, seed: u64) -> SimDisk {
    SimDisk::new(SIZE, knobs, &Rng::new(seed))
}

fn write(at: u64, fill: u8, len: usize) -> DiskOp {
    DiskOp::Write { at: DevicePos(at), data: Rope::from(vec![fill; len]) }
}

/// Runs one operation to its end, long after everything else.
fn done(disk: &mut SimDisk, now: &mut SimTime, op: DiskOp) -> DiskResult {
    let submitted = disk.submit(*now, op);
    *now = submitted.at;
    disk.complete(*now, submitted.ticket).expect("nothing crashed")
}

fn read(disk: &mut SimDisk, now: &mut SimTime, at: u64, len: usize) -> Result<Vec<u8>, DiskError> {
    match done(disk, now, DiskOp::Read { at: DevicePos(at), len })? {
        DiskDone::Read(bytes) => Ok(bytes.to_vec()),
        DiskDone::Written => panic!("a read reads"),
    }
}

/// Plenty of everything: returns what fired.
fn exercise(knobs: DiskKnobs) -> Counters {
    let mut disk = disk(knobs, 7);
    let (mut now, mut rng) = (SimTime::ZERO, Rng::new(8));
    for _ in 0..3000 {
        let at = rng.below(200) * SECTOR;
        let _ = done(&mut disk, &mut now, write(at, 1, (1 + rng.below(8) as usize) * BLOCK));
        let _ = read(&mut disk, &mut now, at, BLOCK);
        disk.set_health(Health::Working);
    }
    disk.fired().clone()
}

#[test]
fn a_calm_disk_returns_what_was_written_and_nothing_fires() {
    let (mut disk, mut now) = (disk(DiskKnobs::CALM, 1), SimTime::ZERO);
    assert_eq!(read(&mut disk, &mut now, 0, BLOCK), Ok(vec![0; BLOCK]));
    assert_eq!(done(&mut disk, &mut now, write(SECTOR, 7, 2 * BLOCK)), Ok(DiskDone::Written));
    let expected = [vec![0; BLOCK], vec![7; 2 * BLOCK], vec![0; BLOCK]].concat();
    assert_eq!(read(&mut disk, &mut now, 0, 16 * KIB), Ok(expected));
    assert!(exercise(DiskKnobs::CALM).is_empty());
}

#[test]
fn a_completed_write_survives_every_crash() {
    for seed in 0..200 {
        let knobs = DiskKnobs { crash: DiskKnobs::ANY_CRASH, ..DiskKnobs::CALM };
        let (mut disk, mut now) = (disk(knobs, seed), SimTime::ZERO);
        assert_eq!(done(&mut disk, &mut now, write(0, 7, 2 * BLOCK)), Ok(DiskDone::Written));
        disk.crash(now, &mut Rng::new(seed));
        assert_eq!(read(&mut disk, &mut now, 0, 2 * BLOCK), Ok(vec![7; 2 * BLOCK]));
    }
}

#[test]
fn a_crash_never_completes_what_was_in_flight() {
    let mut disk = disk(DiskKnobs::CALM, 1);
    let submitted = disk.submit(SimTime::ZERO, write(0, 7, BLOCK));
    disk.crash(SimTime::ZERO, &mut Rng::new(1));
    assert_eq!(disk.complete(submitted.at, submitted.ticket), None);
    assert_eq!(disk.in_flight(), 0);
    assert_eq!(disk.image(submitted.at).read(DevicePos(0), BLOCK), vec![0; BLOCK], "and CALM loses it");
    assert_eq!(disk.fired().get("disk.crash_lost"), 1);
}

/// What four sectors and their halves can look like after a crash in mid-flight.
fn crash_outcome(crash: CrashKnobs, seed: u64) -> (Vec<u8>, SimDisk) {
    let slow = Latency { ..crate::fault::Latency::uniform(LATER, LATER) };
    let mut disk = disk(DiskKnobs { crash, write: slow, ..DiskKnobs::CALM }, seed);
    disk.submit(SimTime::ZERO, write(0, 1, 4 * BLOCK));
    disk.crash(SimTime(1), &mut Rng::new(seed));
    (disk.image(SimTime(1)).read(DevicePos(0), 4 * BLOCK), disk)
}

use crate::fault::Latency;

#[test]
fn any_subset_of_sectors_survives() {
    let only = CrashKnobs {
        lose: Chance::NEVER,
        keep: Chance::NEVER,
        late: Chance::NEVER,
        sector_survives: Chance::percent(50),
        ..DiskKnobs::CALM.crash
    };
    let mut seen = BTreeSet::new();
    for seed in 0..400 {
        let (bytes, disk) = crash_outcome(only, seed);
        for sector in bytes.chunks(BLOCK) {
            assert!(sector.iter().all(|byte| *byte == sector[0]), "untorn");
        }
        seen.insert(bytes.chunks(BLOCK).map(|sector| sector[0]).collect::<Vec<_>>());
        assert_eq!(disk.fired().get("disk.crash_torn"), 0);
    }
    assert_eq!(seen.len(), 16, "every subset of four sectors");
    let (all, _) = crash_outcome(CrashKnobs { sector_survives: Chance::ALWAYS, ..only }, 1);
    assert_eq!(all, vec![1; 4 * BLOCK]);
    let (none, _) = crash_outcome(CrashKnobs { sector_survives: Chance::NEVER, tear: Chance::ALWAYS, ..only }, 1);
    assert_eq!(none, vec![0; 4 * BLOCK], "what does not survive is not torn either");
}

#[test]
fn sectors_tear_at_512_bytes() {
    let tear = CrashKnobs { sector_survives: Chance::ALWAYS, tear: Chance::ALWAYS, ..DiskKnobs::CALM.crash };
    let (bytes, disk) = crash_outcome(CrashKnobs { lose: Chance::NEVER, ..tear }, 3);
    assert_eq!(disk.fired().get("disk.crash_torn"), 4);
    for part in bytes.chunks(512) {
        assert!(part.iter().all(|byte| *byte == part[0]));
    }
    assert!(bytes.chunks(BLOCK).any(|sector| sector.contains(&0) && sector.contains(&1)));
    let garble = CrashKnobs { lose: Chance::NEVER, garble: Chance::percent(50), ..tear };
    let (bytes, _) = crash_outcome(garble, 3);
    let parts: Vec<bool> = bytes.chunks(512).map(|part| part.iter().all(|byte| *byte == part[0])).collect();
    assert!(parts.contains(&true) && parts.contains(&false), "some parts are garbage: {parts:?}");
}

#[test]
fn what_is_on_its_way_is_known_until_it_lands() {
    let slow = Latency::uniform(LATER, LATER);
    let (mut disk, now) = (disk(DiskKnobs { write: slow, ..DiskKnobs::CALM }, 1), SimTime(5));
    let submitted = disk.submit(now, write(2 * SECTOR, 7, BLOCK));
    disk.submit(now, DiskOp::Read { at: DevicePos(SECTOR), len: BLOCK });
    assert_eq!(disk.being_read().collect::<Vec<_>>(), [DevicePos(SECTOR)]);
    let all: Vec<_> = disk.on_their_way(now).map(|(at, data, lands)| (at, data.len(), lands)).collect();
    let [(DevicePos(at), BLOCK, lands)] = all[..] else { panic!("{all:?}") };
    assert!(at == 2 * SECTOR && now < lands && lands <= submitted.at, "{all:?}");
    assert_eq!(disk.on_their_way(SimTime(lands.0 - 1)).count(), 1);
    assert_eq!(disk.on_their_way(lands).count(), 0);
}

#[test]
fn a_crash_keeps_or_delays_whole_writes() {
    let never = CrashKnobs { lose: Chance::NEVER, ..DiskKnobs::CALM.crash };
    let (bytes, _) = crash_outcome(CrashKnobs { keep: Chance::ALWAYS, ..never }, 1);
    assert_eq!(bytes, vec![1; 4 * BLOCK]);
    let (bytes, mut disk) = crash_outcome(CrashKnobs { late: Chance::ALWAYS, ..never }, 1);
    assert_eq!(bytes, vec![0; 4 * BLOCK], "not yet");
    let later = SimTime::ZERO.after(3 * LATER);
    assert_eq!(disk.image(later).read(DevicePos(0), 4 * BLOCK), vec![1; 4 * BLOCK]);
}

#[test]
fn writes_complete_in_any_order() {
    let mut disk = disk(DiskKnobs::CALM, 1);
    let all: Vec<_> = (0..16).map(|n| disk.submit(SimTime::ZERO, write(n * SECTOR, 1, BLOCK)).at).collect();
    assert!(!all.is_sorted());
}

#[test]
fn each_knob_fires_alone() {
    let calm = DiskKnobs::CALM;
    let some = Chance::percent(5);
    let cases = [
        ("disk.read_error", DiskKnobs { read_error: some, ..calm }),
        ("disk.write_error", DiskKnobs { write_error: some, ..calm }),
        ("disk.no_space", DiskKnobs { no_space: some, ..calm }),
        ("disk.stall", DiskKnobs { stall: some, ..calm }),
        ("disk.rot", DiskKnobs { rot: some, ..calm }),
        ("disk.misdirected_write", DiskKnobs { misdirect: some, ..calm }),
        ("disk.lost_write", DiskKnobs { lose: some, ..calm }),
    ];
    for (kind, knobs) in cases {
        let fired = exercise(knobs);
        assert!(fired.get(kind) > 50, "{kind} fired {} times", fired.get(kind));
        assert_eq!(fired.iter().count(), 1, "{kind} alone, not {fired:?}");
    }
}

#[test]
fn turning_one_fault_off_moves_no_draw_of_another() {
    let all = DiskKnobs {
        read_error: Chance::percent(5),
        stall: Chance::percent(5),
        rot: Chance::percent(5),
        ..DiskKnobs::CALM
    };
    let fired = exercise(all);
    let without = exercise(DiskKnobs { rot: Chance::NEVER, ..all });
    assert_eq!(fired.get("disk.read_error"), without.get("disk.read_error"));
    assert_eq!(fired.get("disk.stall"), without.get("disk.stall"));
}

#[test]
fn errors_stick_when_told_to() {
    let knobs = DiskKnobs { read_error: Chance::ALWAYS, read_error_sticks: Chance::ALWAYS, ..DiskKnobs::CALM };
    let (mut disk, mut now) = (disk(knobs, 1), SimTime::ZERO);
    assert_eq!(read(&mut disk, &mut now, 0, BLOCK), Err(DiskError::Io));
    disk.set_knobs(DiskKnobs { write_error: Chance::ALWAYS, write_error_sticks: Chance::ALWAYS, ..DiskKnobs::CALM });
    assert_eq!(read(&mut disk, &mut now, 0, 2 * BLOCK), Err(DiskError::Io), "the sector stays unreadable");
    assert_eq!(disk.fired().get("disk.unreadable_sector"), 1);
    assert!(read(&mut disk, &mut now, SECTOR, BLOCK).is_ok(), "others do not");
    assert_eq!(done(&mut disk, &mut now, write(SECTOR, 1, BLOCK)), Err(DiskError::Io));
    disk.set_knobs(DiskKnobs::CALM);
    assert_eq!(done(&mut disk, &mut now, write(0, 1, BLOCK)), Err(DiskError::Io), "a broken disk stays broken");
    disk.set_health(Health::Working);
    assert_eq!(done(&mut disk, &mut now, write(0, 1, BLOCK)), Ok(DiskDone::Written));
    assert!(read(&mut disk, &mut now, 0, BLOCK).is_ok(), "writing mends a sector");
    disk.set_health(Health::Broken);
    assert_eq!(read(&mut disk, &mut now, 0, BLOCK), Err(DiskError::Io));
}

#[test]
fn a_full_file_system_takes_only_overwrites() {
    let (mut disk, mut now) = (disk(DiskKnobs::CALM, 1), SimTime::ZERO);
    assert_eq!(done(&mut disk, &mut now, write(0, 1, BLOCK)), Ok(DiskDone::Written));
    disk.set_space(Space::Full);
    assert_eq!(done(&mut disk, &mut now, write(0, 2, BLOCK)), Ok(DiskDone::Written));
    assert_eq!(done(&mut disk, &mut now, write(0, 3, 2 * BLOCK)), Err(DiskError::NoSpace));
    assert_eq!(read(&mut disk, &mut now, 0, BLOCK), Ok(vec![2; BLOCK]));
}

#[test]
fn rot_is_known_overlaid_healed_and_overwritten() {
    let (mut disk, mut now) = (disk(DiskKnobs::CALM, 1), SimTime::ZERO);
    assert_eq!(done(&mut disk, &mut now, write(0, 9, BLOCK)), Ok(DiskDone::Written));
    disk.rot(now, DevicePos(100), 3);
    let bytes = read(&mut disk, &mut now, 0, BLOCK).unwrap();
    let wrong: Vec<_> = (0..BLOCK).filter(|at| bytes[*at] != 9).collect();
    assert_eq!(wrong, [100, 101, 102]);
    assert_eq!(disk.image(now).pristine(DevicePos(0), BLOCK), vec![9; BLOCK]);
    let [damage] = disk.damage() else { panic!("one piece of damage") };
    assert_eq!((damage.kind, damage.pos, damage.len), (DamageKind::Rot, DevicePos(100), 3));
    assert_eq!(damage.label, Label::MustDetect);
    disk.heal();
    assert_eq!(read(&mut disk, &mut now, 0, BLOCK), Ok(vec![9; BLOCK]));
    disk.rot(now, DevicePos(100), 3);
    assert_eq!(done(&mut disk, &mut now, write(0, 8, BLOCK)), Ok(DiskDone::Written));
    assert_eq!(read(&mut disk, &mut now, 0, BLOCK), Ok(vec![8; BLOCK]));
}

#[test]
fn stray_and_lost_writes_say_that_they_are_done() {
    for (knobs, kinds) in [
        (DiskKnobs { lose: Chance::ALWAYS, ..DiskKnobs::CALM }, vec![DamageKind::Missing]),
        (
            DiskKnobs { misdirect: Chance::ALWAYS, ..DiskKnobs::CALM },
            vec![DamageKind::Missing, DamageKind::Overwritten],
        ),
    ] {
        let (mut disk, mut now) = (disk(knobs, 5), SimTime::ZERO);
        assert_eq!(done(&mut disk, &mut now, write(0, 9, BLOCK)), Ok(DiskDone::Written));
        assert_eq!(read(&mut disk, &mut now, 0, BLOCK), Ok(vec![0; BLOCK]));
        assert_eq!(disk.damage().iter().map(|damage| damage.kind).collect::<Vec<_>>(), kinds);
        let last = disk.damage().last().unwrap().pos;
        let there = if last.0 == 0 { 0 } else { 9 };
        assert_eq!(read(&mut disk, &mut now, last.0, BLOCK), Ok(vec![there; BLOCK]));
    }
}

#[test]
fn stalls_delay_what_comes_after() {
    let mut disk = disk(DiskKnobs::CALM, 1);
    let until = SimTime::ZERO.after(LATER);
    disk.stall(until);
    assert!(disk.submit(SimTime::ZERO, write(0, 1, BLOCK)).at > until);
    disk.heal();
    assert!(disk.submit(SimTime::ZERO, write(0, 1, BLOCK)).at < until);
}

#[test]
fn an_older_snapshot_or_a_blank_disk_takes_its_place() {
    let (mut disk, mut now) = (disk(DiskKnobs::CALM, 1), SimTime::ZERO);
    assert_eq!(done(&mut disk, &mut now, write(0, 1, BLOCK)), Ok(DiskDone::Written));
    let old = disk.snapshot(now);
    assert_eq!(done(&mut disk, &mut now, write(0, 2, BLOCK)), Ok(DiskDone::Written));
    disk.replace(old);
    assert_eq!(read(&mut disk, &mut now, 0, BLOCK), Ok(vec![1; BLOCK]));
    disk.replace(Image::default());
    assert_eq!(read(&mut disk, &mut now, 0, BLOCK), Ok(vec![0; BLOCK]));
}

#[test]
#[should_panic(expected = "not aligned")]
fn a_misaligned_operation_is_the_machines_mistake() {
    disk(DiskKnobs::CALM, 1).submit(SimTime::ZERO, write(512, 1, BLOCK));
}

#[test]
fn a_write_less_moves_no_fate_of_another() {
    let knobs = DiskKnobs { write_error: Chance::percent(20), stall: Chance::percent(5), ..DiskKnobs::CALM };
    let fates = |leaves_out: fn(u64) -> bool| {
        let mut disk = disk(knobs, 1);
        let mut fates = Vec::new();
        for n in (0..300).filter(|n| !leaves_out(*n)) {
            let submitted = disk.submit(SimTime(n * 200_000_000), write(fates.len() as u64 % 8 * SECTOR, 1, BLOCK));
            fates.push((n, submitted.at, disk.complete(submitted.at, submitted.ticket)));
        }
        fates
    };
    let mut all = fates(|_| false);
    all.retain(|(n, ..)| n % 7 != 0);
    assert_eq!(fates(|n| n % 7 == 0), all);
}
