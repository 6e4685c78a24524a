//! Pages of runs that never were, of any size: `.ci/page` looks at them with a browser.
//!
//! They are left in the build's temporary folder, as `page-1000.html` and so on.

use karst_runtime_sim::failure::Failure;
use karst_runtime_sim::page::{self, Heading};
use karst_runtime_sim::recording::{Band, Entry, EntryId, EntryKind, Lane, LaneId, Recording, Sample, Tag};
use karst_runtime_sim::time::SimTime;
use std::path::Path;
use std::time::Instant;

/// What a client may have in its bytes.
const HOSTILE: &str = "Received(\"</script><script>document.title='owned'</script><img src=x onerror=alert(1)>\")";

#[test]
fn pages_of_every_size_are_written() {
    for (entries, ending) in
        [(0, Ending::Passes), (1_000, Ending::Fails), (3_000, Ending::Passes), (190_000, Ending::Fails)]
    {
        let recording = Run::of(entries, ending);
        // A night's run is so long.
        assert!(entries < 190_000 || recording.entries.last().is_some_and(|last| last.event > 100_000));
        let began = Instant::now();
        let story = page::chain(&recording);
        let heading = Heading {
            title: format!("run of {entries} entries"),
            hash: 0x0123_4567_89ab_cdef,
            events: recording.entries.last().map_or(0, |entry| entry.event),
            at: recording.entries.last().map_or(SimTime::ZERO, |entry| entry.at),
            plan: "root = 1\nat 3 kill".into(),
            command: "replay 1".into(),
            glossary: vec![("store", "The bucket.")],
        };
        let html = page::html(&recording, &heading, &story);
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("page-{entries}.html"));
        std::fs::write(&file, &html).expect("the build's folder can be written to");
        println!("{}: {} KiB in {:?}", file.display(), html.len() / 1024, began.elapsed());
        assert!(html.len() < 64 + 400 * 1024 + entries * 200, "{entries} entries took {} bytes", html.len());
        assert_eq!(html.matches("</script>").count(), 2);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Passes,
    Fails,
}

/// Three clients write to partitions of a broker that is killed now and then.
struct Run {
    recording: Recording,
    at: u64,
    event: u64,
    random: u64,
    broker: u64,
    offsets: [u64; 4],
}

impl Run {
    fn of(entries: usize, ending: Ending) -> Recording {
        let recording = Recording::default();
        let mut run = Self { recording, at: 0, event: 0, random: 0x9e37_79b9_7f4a_7c15, broker: 1, offsets: [0; 4] };
        run.band("world", "safety");
        while run.recording.entries.len() + 16 < entries {
            run.write();
            if run.recording.entries.len() > entries / 5 * run.broker as usize {
                run.kill();
            }
        }
        if ending == Ending::Fails {
            run.fail();
        }
        run.recording
    }

    /// A client's write on its way to the disk, and its answer.
    fn write(&mut self) {
        let (client, partition) = (self.below(3) + 1, self.below(4));
        let offset = self.offsets[partition as usize];
        self.offsets[partition as usize] += 1;
        let name = format!("orders-{partition}");
        let about = [Tag::name("partition", name.as_str()), Tag::number("offset", offset)];
        let (client, broker) = (format!("client-{client}"), format!("broker-{}", self.broker));
        let session = format!("session-{}", self.event / 400 + 1);
        let tick = self.input(&client, "client", "Tick", None, &[]);
        let send = self.effect(tick, &format!("Send(Produce {{ partition: {name}, offset: {offset} }})"), &about);
        let bytes = if offset.is_multiple_of(50) { HOSTILE } else { "Received(<93 B crc 110063eb>)" };
        let received = self.input(&broker, &session, bytes, Some(send), &about);
        let mail =
            self.effect(received, &format!("Mail(Shard(Append {{ base: Offset({offset}), bytes: 93 }}))"), &about);
        let append = self.input(&broker, "shard", "Mail(Append)", Some(mail), &about);
        self.sample(&name, "appended", offset + 1);
        let block = self.effect(append, &format!("Mail(Wal(Append(Lsn({}))))", self.event), &about);
        let written = self.input(&broker, "wal", "Mail(Append)", Some(block), &about);
        let disk = self.effect(written, "Disk(OpId(7), Write { at: DevicePos(8192), len: 4096 })", &about);
        if self.below(40) == 0 {
            self.at += 30_000;
            self.add(&broker, "disk", EntryKind::Fault, "disk.stall 3ms", Some(disk), &[]);
        }
        let done = self.input(&broker, "wal", "Disk(OpId(7), Ok(Written))", Some(disk), &about);
        self.sample(&name, "durable", offset + 1);
        if self.below(9) == 0 {
            self.sample(&name, "uploaded", offset);
        }
        let told = self.effect(done, "Mail(Shard(Durable))", &about);
        let durable = self.input(&broker, "shard", "Mail(Durable)", Some(told), &about);
        let answer = self.effect(durable, "Send(Acked)", &about);
        self.input(&client, "client", "Received(<52 B crc 0055a1cd>)", Some(answer), &about);
    }

    fn kill(&mut self) {
        let broker = format!("broker-{}", self.broker);
        let nemesis = self.add("world", "nemesis", EntryKind::Fault, "\"Kill { down: 39ms }\"", None, &[]);
        self.add(&broker, "process", EntryKind::Fault, "is killed", Some(nemesis), &[]);
        let of_broker = self.recording.bands.iter_mut().filter(|band| *band.subject == *broker);
        of_broker.for_each(|band| band.to = Some(SimTime(self.at)));
        self.at += 39_000_000;
        self.broker += 1;
        let broker = format!("broker-{}", self.broker);
        self.input(&broker, "node", "Start", Some(nemesis), &[]);
        self.band(&broker, &format!("node epoch {}", self.broker));
    }

    fn fail(&mut self) {
        let offset = self.offsets[1].saturating_sub(3);
        self.input("client-0", "client", "Received(<30 B crc 87aa0d11>)", None, &[]);
        self.recording.failure = Some(Failure {
            invariant: "lost-write".into(),
            process: String::new(),
            component: "oracle".into(),
            message: format!("orders-1: offset {offset} was acknowledged, and the log ends at {}", offset - 1),
            site: None,
            subjects: Vec::new(),
            at: SimTime(self.at),
            event: self.event,
        });
    }

    fn input(&mut self, process: &str, owner: &str, text: &str, cause: Option<EntryId>, tags: &[Tag]) -> EntryId {
        self.event += 1;
        self.at += 1_000 + self.below(400_000);
        self.add(process, owner, EntryKind::Input, text, cause, tags)
    }

    fn effect(&mut self, of: EntryId, text: &str, tags: &[Tag]) -> EntryId {
        let Lane { process, owner } =
            self.recording.lanes[self.recording.entries[of.0 as usize].lane.0 as usize].clone();
        self.add(&process, &owner, EntryKind::Effect, text, Some(of), tags)
    }

    fn add(
        &mut self,
        process: &str,
        owner: &str,
        kind: EntryKind,
        text: &str,
        cause: Option<EntryId>,
        tags: &[Tag],
    ) -> EntryId {
        let lane = Lane { process: process.into(), owner: owner.into() };
        let lanes = &mut self.recording.lanes;
        let place = lanes.iter().position(|other| *other == lane).unwrap_or_else(|| {
            lanes.push(lane);
            lanes.len() - 1
        });
        let lane = LaneId(u32::try_from(place).expect("few lanes"));
        let entry = Entry {
            event: self.event,
            at: SimTime(self.at),
            lane,
            kind,
            text: text.into(),
            words: None,
            cause,
            besides: Vec::new(),
            tags: tags.into(),
        };
        self.recording.entries.push(entry);
        EntryId(u32::try_from(self.recording.entries.len() - 1).expect("few entries"))
    }

    fn sample(&mut self, subject: &str, curve: &'static str, value: u64) {
        self.recording.samples.push(Sample { subject: subject.into(), curve, at: SimTime(self.at), value });
    }

    fn band(&mut self, subject: &str, label: &str) {
        let from = SimTime(self.at);
        self.recording.bands.push(Band { subject: subject.into(), label: label.into(), from, to: None });
    }

    /// An xorshift step: a number below another.
    fn below(&mut self, end: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % end
    }
}
