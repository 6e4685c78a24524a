use super::{NoQuery, Query, follow};
use crate::recording::{Entry, EntryId, EntryKind, Lane, LaneId, Recording, Tag};
use crate::time::SimTime;

/// Builds recordings: lanes by name, an event per entry.
#[derive(Default)]
struct Story(Recording);

impl Story {
    fn tell(&mut self, who: &str, kind: EntryKind, text: &str, cause: Option<EntryId>, tags: &[Tag]) -> EntryId {
        let (process, owner) = who.split_once('/').expect("process/owner");
        let lane = Lane { process: process.into(), owner: owner.into() };
        let lanes = &mut self.0.lanes;
        let at = lanes.iter().position(|known| *known == lane).unwrap_or_else(|| {
            lanes.push(lane);
            lanes.len() - 1
        });
        let id = EntryId(self.0.entries.len() as u32);
        let (event, at_time) = (u64::from(id.0) + 1, SimTime(u64::from(id.0) * 1000));
        let tags = tags.to_vec();
        let lane = LaneId(at as u32);
        let (text, besides) = (text.into(), Vec::new());
        self.0.entries.push(Entry { event, at: at_time, lane, kind, text, words: None, cause, besides, tags });
        id
    }

    fn input(&mut self, who: &str, text: &str, cause: EntryId, tags: &[Tag]) -> EntryId {
        self.tell(who, EntryKind::Input, text, Some(cause), tags)
    }

    fn effect(&mut self, who: &str, text: &str, cause: EntryId, tags: &[Tag]) -> EntryId {
        self.tell(who, EntryKind::Effect, text, Some(cause), tags)
    }

    fn texts(&self, query: &str) -> Vec<&str> {
        let query: Query = query.parse().expect("a query");
        follow(&self.0, &query).entries.keys().map(|id| self.0.entries[id.0 as usize].text.as_str()).collect()
    }

    fn fate(&self, query: &str) -> Vec<String> {
        follow(&self.0, &query.parse().expect("a query")).fate
    }
}

fn place() -> [Tag; 2] {
    [Tag::number("stream", 7), Tag::name("partition", "orders-3")]
}

fn of(mut tags: Vec<Tag>, more: &[Tag]) -> Vec<Tag> {
    tags.extend_from_slice(more);
    tags
}

/// A batch of offsets 15 to 19 is produced, written, uploaded and read; so is another batch, in the same turn.
fn story() -> Story {
    let mut story = Story::default();
    let batch = |crc: &str| of(place().into(), &[Tag::name("batch", crc)]);
    let stored = |crc: &str, from, to| of(place().into(), &[Tag::range("offset", from, to), Tag::name("batch", crc)]);
    let request = |n| vec![Tag::name("connection", "broker-1/1"), Tag::number("request", n)];

    let tick = story.tell("client-1/client", EntryKind::Input, "client ticks", None, &[]);
    story.effect("client-1/client", "client notes write", tick, &of(batch("aa"), &[Tag::number("write", 4)]));
    let send = story.effect("client-1/client", "client sends", tick, &batch("aa"));
    let received =
        story.input("broker-1/session-1", "session receives", send, &[Tag::name("connection", "broker-1/1")]);
    let asks = story.effect("broker-1/session-1", "session asks", received, &of(request(1), &batch("aa")));
    let asked = story.input("broker-1/shard", "shard is asked", asks, &of(request(1), &batch("aa")));
    // Both batches wait for room: what appends them is a grant, due to something else.
    story.effect("broker-1/shard", "shard wants credit", asked, &[]);
    let other = story.tell("broker-1/wal", EntryKind::Input, "other is trimmed", None, &[Tag::number("below-lsn", 1)]);
    let granted = story.effect("broker-1/wal", "wal grants", other, &[]);
    let grant = story.input("broker-1/shard", "shard hears of the grant", granted, &[]);
    let both = of(stored("aa", 15, 20), &stored("bb", 20, 21));
    let append = story.effect("broker-1/shard", "shard appends", grant, &both);
    let appended = story.input("broker-1/wal", "wal appends", append, &both);
    let lsn = |at| Tag::range("lsn", at, at + 4096);
    let write = story.effect("broker-1/wal", "wal writes", appended, &of(stored("aa", 15, 20), &[lsn(8192)]));
    story.tell("broker-1/disk", EntryKind::Fault, "disk.slow 3", Some(write), &[]);
    let beside = story.effect("broker-1/wal", "wal writes other", appended, &of(stored("bb", 20, 21), &[lsn(12288)]));
    let done = story.input("broker-1/wal", "write is done", write, &[Tag::number("op", 1)]);
    story.input("broker-1/wal", "other write is done", beside, &[Tag::number("op", 2)]);
    let durable = story.effect("broker-1/wal", "wal delivers", done, &stored("aa", 15, 20));
    let heard = story.input("broker-1/shard", "shard hears", durable, &stored("aa", 15, 20));
    let answer = story.effect("broker-1/shard", "shard answers", heard, &request(1));
    let told = story.input("broker-1/session-1", "session hears", answer, &request(1));
    let reply = story.effect("broker-1/session-1", "session sends", told, &[Tag::name("connection", "broker-1/1")]);
    let acked = story.input("client-1/client", "client receives", reply, &[]);
    let write = [Tag::name("partition", "orders-3"), Tag::number("write", 4)];
    story.effect("client-1/client", "client notes ack", acked, &write);

    let cut = of(place().into(), &[Tag::range("offset", 0, 30), Tag::number("cut", 2)]);
    let put =
        of(place().into(), &[Tag::range("offset", 0, 30), Tag::number("object", 12), Tag::range("bytes", 0, 900)]);
    let commit = of(cut.clone(), &[Tag::number("object", 12)]);
    let cut = story.tell("broker-1/uploader", EntryKind::Input, "uploader gets cut", None, &cut);
    let put = story.effect("broker-1/uploader", "uploader puts", cut, &put);
    let there = story.input("broker-1/uploader", "object is there", put, &[Tag::number("op", 3)]);
    story.effect("broker-1/uploader", "uploader commits", there, &commit);
    story.tell("broker-1/wal", EntryKind::Input, "wal trims", None, &[Tag::number("below-lsn", 16384)]);

    story.tell("broker-1/process", EntryKind::Fault, "is killed", None, &[]);
    let fetch = of(request(2), &of(place().into(), &[Tag::number("from", 3)]));
    let fetched = story.tell("broker-1/shard", EntryKind::Input, "shard is asked for records", None, &fetch);
    let bytes = |from, to| [Tag::number("object", 12), Tag::range("bytes", from, to)];
    let get = story.effect("broker-1/shard", "shard gets", fetched, &bytes(0, 900));
    story.effect("broker-1/shard", "shard gets elsewhere", fetched, &bytes(900, 1000));
    let got = story.input("broker-1/shard", "shard got", get, &[Tag::number("op", 4)]);
    let answer = story.effect("broker-1/shard", "shard answers the fetch", got, &request(2));
    let read = story.input("client-2/client", "other client receives", answer, &[]);
    let seen = [Tag::name("partition", "orders-3"), Tag::range("offset", 3, 30)];
    story.effect("client-2/client", "other client reads", read, &seen);
    story.tell("broker-9/process", EntryKind::Fault, "another is killed", None, &[]);
    story
}

#[test]
fn a_record_is_followed_from_its_birth_to_its_reads() {
    let story = story();
    let texts = story.texts("partition=orders-3,offset=17");
    let expected = [
        "client notes write",
        "client sends",
        "session receives",
        "session asks",
        "shard is asked",
        "wal grants",
        "shard hears of the grant",
        "shard appends",
        "wal appends",
        "wal writes",
        "disk.slow 3",
        "write is done",
        "wal delivers",
        "shard hears",
        "shard answers",
        "session hears",
        "session sends",
        "client receives",
        "client notes ack",
        "uploader gets cut",
        "uploader puts",
        "object is there",
        "uploader commits",
        "is killed",
        "shard is asked for records",
        "shard gets",
        "shard got",
        "shard answers the fetch",
        "other client receives",
        "other client reads",
    ];
    assert_eq!(texts, expected);
}

#[test]
fn the_ending_says_where_it_was_left() {
    let mut story = story();
    let fate = story.fate("partition=orders-3,offset=17");
    assert_eq!(fate[0], "LSN 8192..12288 of broker-1: committed and trimmed in event 29");
    assert_eq!(fate[1..3], ["object 12: still in the bucket", "orders-3: not deleted"]);
    story.tell("world/store", EntryKind::Note, "data/12 is deleted", None, &[Tag::number("object", 12)]);
    let gone = [Tag::name("deleted-topic-id", "u"), Tag::name("deleted-topic", "orders")];
    story.tell("broker-1/node", EntryKind::Input, "the topic goes", None, &gone);
    let fate = story.fate("partition=orders-3,offset=17");
    assert_eq!(fate[1], "object 12: deleted from the bucket in event 39");
    assert_eq!(fate[2], "orders-3: deleted with its topic, from event 40 on");
    assert_eq!(story.fate("partition=orders-4,offset=17"), ["nothing names it"]);
}

#[test]
fn an_object_is_followed_with_all_its_reads_and_without_its_records() {
    let story = story();
    let texts = story.texts("object=12");
    assert_eq!(texts[..3], ["uploader gets cut", "uploader puts", "object is there"]);
    assert!(texts.contains(&"shard gets elsewhere") && texts.contains(&"shard is asked for records"), "{texts:?}");
    assert!(!texts.contains(&"shard appends") && !texts.contains(&"client sends"), "{texts:?}");
}

#[test]
fn a_request_is_followed_to_its_answer() {
    let story = story();
    let texts = story.texts("process=broker-1,connection=1,request=1");
    for expected in ["client sends", "session asks", "wal writes", "session hears"] {
        assert!(texts.contains(&expected), "{expected}: {texts:?}");
    }
    assert!(!texts.contains(&"uploader puts") && !texts.contains(&"wal writes other"), "{texts:?}");
    assert_eq!(story.texts("process=broker-2,connection=1,request=1"), [""; 0]);
}

#[test]
fn queries_are_pairs() {
    for bad in ["", "offset", "=3", "process=broker-1", "a=1,,"] {
        assert_eq!(bad.parse::<Query>(), Err(NoQuery(bad.into())));
    }
    assert!("partition=a=b,offset=18446744073709551615".parse::<Query>().is_ok());
}

/// Requests of one connection arrive at once, and their answers are read at once.
#[test]
fn what_comes_at_once_with_it_is_not_part_of_its_story() {
    let mut story = Story::default();
    let batches = [("orders-3", "c0ffee", 1), ("logs-0", "f00d", 2)];
    let place = |name: &str, batch: &str| [Tag::name("partition", name), Tag::name("batch", batch)];
    let request = |number| [Tag::name("connection", "broker-1/1"), Tag::number("request", number)];
    let mut sent = Vec::new();
    let fetch = [Tag::name("connection", "broker-1/1"), Tag::number("request", 9)];
    let asks = story.tell("client-1/client", EntryKind::Effect, "client fetches before", None, &fetch);
    for (name, batch, number) in batches {
        let tick = story.input("client-1/client", "client ticks", asks, &fetch);
        story.effect(
            "client-1/client",
            &format!("client notes {name}"),
            tick,
            &of(place(name, batch).into(), &[Tag::number("write", number)]),
        );
        let about = of(request(number).into(), &place(name, batch));
        sent.push((story.effect("client-1/client", &format!("client sends {name}"), tick, &about), about));
    }
    let about: Vec<Tag> = sent.iter().flat_map(|(_, about)| about.clone()).collect();
    let read = story.input("broker-1/session-1", "session reads both", sent[1].0, &about);
    story.0.entries[read.0 as usize].besides = vec![sent[0].0];
    let mut answers = Vec::new();
    for (name, batch, number) in batches {
        let about = of(request(number).into(), &place(name, batch));
        let ask = story.effect("broker-1/session-1", &format!("session asks for {name}"), read, &about);
        let asked = story.input("broker-1/shard", &format!("shard is asked for {name}"), ask, &about);
        let answer = story.effect("broker-1/shard", &format!("shard refuses {name}"), asked, &request(number));
        let heard = story.input("broker-1/session-1", &format!("session hears of {name}"), answer, &request(number));
        answers.push(story.effect("broker-1/session-1", &format!("session answers {name}"), heard, &request(number)));
    }
    let about = [request(1), request(2)].concat();
    let heard = story.input("client-1/client", "client reads both answers", answers[1], &about);
    story.0.entries[heard.0 as usize].besides = vec![answers[0]];
    for (name, _, number) in batches {
        let write = [Tag::name("partition", name), Tag::number("write", number)];
        story.effect("client-1/client", &format!("client notes the end of {name}"), heard, &write);
    }
    let expected = [
        "client ticks",
        "client notes orders-3",
        "client sends orders-3",
        "session reads both",
        "session asks for orders-3",
        "shard is asked for orders-3",
        "shard refuses orders-3",
        "session hears of orders-3",
        "session answers orders-3",
        "client reads both answers",
        "client notes the end of orders-3",
    ];
    for query in [
        "write=1",
        "partition=orders-3,batch=c0ffee",
        "connection=broker-1/1,request=1",
        "process=broker-1,connection=1,request=1",
    ] {
        let texts = story.texts(query);
        let left_out: Vec<&&str> = expected.iter().filter(|text| !texts.contains(text)).collect();
        let more: Vec<&&str> = texts.iter().filter(|text| !expected.contains(text)).collect();
        assert!(more.is_empty(), "{query}: {more:?} is of the other one");
        // What a client notes of a write bears the write's name, and a request's follower learns it from the batch.
        assert!(left_out.iter().all(|text| **text == "client ticks"), "{query}: {left_out:?} is missing");
    }
}
