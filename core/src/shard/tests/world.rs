//! A shard between clients and a node that are played here.

use crate::controller::NodeCommand;
use crate::data_object::sample;
use crate::id::{
    ClusterId, CommandSeq, ConnId, CutNumber, Incarnation, Lsn, NodeEpoch, NodeId, ObjectId, Offset, PartitionIndex,
    Seq, StreamId, TopicId, WalUuid,
};
use crate::kafka::{Acks, Api, CheckedBatch, Produce, ProducePartition, ProduceTopic, Request, RequestBody};
use crate::limits::Limits;
use crate::machine::{Effects, Instant, Job, Machine, Now, OpId, Outcome, Payload, Rng, Rope, WallTime};
use crate::mail::Mail as To;
use crate::metadata::{
    self, Command, Commit, CommitObject, CommitRange, Entry, FEATURE_LEVEL, Image, NewTopic, TopicConfigs, TopicName,
    WalKind,
};
use crate::node::{self, Asker};
use crate::session::{self, Answer, Numbered, RequestNumber};
use crate::shard::{Arrival, Effect, Input, Mail, Shard};
use crate::store::{StoreCall, StoreResult};
use crate::upload::{self, Cut};
use crate::wal::{self, Append, Appended};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;
use kafka_protocol::protocol::{Decodable, StrBytes};

pub(super) const CONN: ConnId = ConnId(1);
const NODE: NodeId = NodeId(1);

/// A shard that serves, and what it has sent.
pub(super) struct World {
    pub(super) shard: Shard,
    pub(super) now: Now,
    /// As the controller has it.
    image: Image,
    sent: CommandSeq,
    asked: u64,
    commands: VecDeque<(Asker, Command)>,
    pub(super) jobs: VecDeque<(OpId, Job)>,
    pub(super) calls: VecDeque<(OpId, StoreCall)>,
    pub(super) cuts: VecDeque<Cut>,
    /// Given to the WAL, which is not played.
    appends: VecDeque<Append>,
    pub(super) answers: Vec<(RequestNumber, Answer)>,
    /// What else sessions were told.
    pub(super) told: Vec<(ConnId, session::Mail)>,
}

impl World {
    pub(super) fn new(limits: &Limits) -> Self {
        Self::storing_at("bucket", limits)
    }

    /// One that stores at a place of that name.
    pub(super) fn storing_at(place: &str, limits: &Limits) -> Self {
        let mut world = Self {
            shard: Shard::new(limits, Rng::new(1)).storing_at(place),
            now: Now { mono: Instant(1_000), wall: WallTime(1_700_000_000_000) },
            image: Image::new(ClusterId([1; 16]), FEATURE_LEVEL),
            sent: CommandSeq(0),
            asked: 0,
            commands: VecDeque::new(),
            jobs: VecDeque::new(),
            calls: VecDeque::new(),
            cuts: VecDeque::new(),
            appends: VecDeque::new(),
            answers: Vec::new(),
            told: Vec::new(),
        };
        world.apply(Command::Register { wal: None, host: "broker".into(), port: 9092, give_up: None });
        world.apply(Command::NameWal { uuid: WalUuid([7; 16]), kind: WalKind::Ring });
        world.mail(Mail::Image(Box::new(world.image.clone())));
        world.mail(Mail::Serve { node: NODE, epoch: NodeEpoch(1) });
        world.mail(Mail::Opened(CONN, Arrival { from: "/10.0.0.1".into(), at: None }));
        world
    }

    /// Gives the broker a topic that nobody here asked for.
    pub(super) fn topic(&mut self, name: &str, partitions: u32) {
        let name = TopicName::parse(name).expect("a legal name");
        let id = TopicId::draw(&mut Rng::new(self.image.seq.0));
        self.command(Command::CreateTopic(NewTopic { id, name, partitions, configs: TopicConfigs::default() }));
    }

    /// A command of this broker that the shard did not send.
    pub(super) fn command(&mut self, command: Command) {
        let (entry, _) = self.apply(command);
        self.mail(Mail::Entries([entry].into()));
    }

    pub(super) fn id_of(&self, topic: &str) -> TopicId {
        self.image.names[&TopicName::parse(topic).expect("a legal name")]
    }

    /// Makes a batch of so many records each durable in a partition.
    pub(super) fn write(&mut self, topic: &str, partition: u32, batches: &[u32]) {
        let (stream, _) = self.image.stream_of(self.id_of(topic), PartitionIndex(partition)).expect("it is there");
        let mut rng = Rng::new(9);
        for records in batches {
            let base = self.shard.high_watermark(stream).expect("it is open");
            let batch = sample::batch(stream.0, 1, base.0, *records, 10, &mut rng);
            let number = self.produce(topic, partition, *records);
            self.mail(Mail::Granted(1 << 20));
            self.mail(Mail::Appended(vec![batch]));
            self.answered(number).expect("what is durable is answered");
        }
    }

    /// Sends a batch of so many records to a partition.
    pub(super) fn produce(&mut self, topic: &str, partition: u32, records: u32) -> RequestNumber {
        self.send(topic, partition, &sample::batch(1, 1, 0, records, 10, &mut Rng::new(9)))
    }

    /// Sends this batch to a partition.
    pub(super) fn send(&mut self, topic: &str, partition: u32, batch: &Appended) -> RequestNumber {
        let checked = CheckedBatch::check(&sample::sent(batch)).expect("a sound batch");
        let partitions = vec![ProducePartition { index: partition.cast_signed(), records: Ok(checked) }];
        let name = Some(StrBytes::from_string(topic.into()));
        let topics = vec![ProduceTopic { name, id: TopicId::default(), partitions }];
        let produce = Produce { acks: Acks::All, timeout: Duration::from_secs(1), topics };
        self.ask(Api::Produce, 9, RequestBody::Produce(produce))
    }

    /// Sends a record to a topic's first partition by a request of that version.
    pub(super) fn produce_in(&mut self, topic: &str, version: i16) -> RequestNumber {
        let batch = sample::batch(1, 1, 0, 1, 10, &mut Rng::new(9));
        let checked = CheckedBatch::check(&sample::sent(&batch)).expect("a sound batch");
        let partitions = vec![ProducePartition { index: 0, records: Ok(checked) }];
        let named = version < 13;
        let name = named.then(|| StrBytes::from_string(topic.into()));
        let id = if named { TopicId::default() } else { self.id_of(topic) };
        let topics = vec![ProduceTopic { name, id, partitions }];
        let produce = Produce { acks: Acks::All, timeout: Duration::ZERO, topics };
        self.ask(Api::Produce, version, RequestBody::Produce(produce))
    }

    /// Makes this very batch durable in the first partition of a topic, whatever a client could send.
    pub(super) fn append(&mut self, topic: &str, batch: Appended) {
        let number = self.produce(topic, 0, u32::try_from(batch.end.0 - batch.base.0).expect("few"));
        self.mail(Mail::Granted(1 << 20));
        self.mail(Mail::Appended(vec![batch]));
        self.answered(number).expect("what is durable is answered");
    }

    pub(super) fn stream(&self, topic: &str, partition: PartitionIndex) -> StreamId {
        self.image.stream_of(self.id_of(topic), partition).expect("it is there").0
    }

    pub(super) fn computed(&mut self, op: OpId, outcome: Outcome) {
        self.handle(Input::Computed(op, outcome));
    }

    pub(super) fn stored(&mut self, op: OpId, result: StoreResult) {
        self.handle(Input::Store(op, result));
    }

    pub(super) fn is_answered(&self, number: RequestNumber) -> bool {
        self.answers.iter().any(|(to, _)| *to == number)
    }

    /// Whether nobody holds credit for answers.
    pub(super) fn credit_is_back(&self) -> bool {
        self.shard.credit.answers_are_whole()
    }

    pub(super) fn ask(&mut self, api: Api, version: i16, body: RequestBody) -> RequestNumber {
        self.ask_as(CONN, api, version, body)
    }

    pub(super) fn ask_as(&mut self, conn: ConnId, api: Api, version: i16, body: RequestBody) -> RequestNumber {
        self.asked += 1;
        let number = RequestNumber(self.asked);
        let request = Request { api, version, frame: Payload::default(), body };
        self.mail(Mail::Request(conn, Numbered { number, request }));
        number
    }

    /// The controller takes the next command of the shard, and everybody hears of it.
    pub(super) fn decide(&mut self) {
        let (asker, command) = self.commands.pop_front().expect("the shard has sent a command");
        let (entry, answer) = self.apply(command);
        self.mail(Mail::Entries([entry].into()));
        let Asker::Shard(tag) = asker else { panic!("{asker:?}") };
        self.mail(Mail::Answered(tag, answer));
    }

    /// Makes the next append durable as it is, and returns its batch.
    pub(super) fn write_out(&mut self) -> Option<Payload> {
        let Append { stream, epoch, base, end, max_timestamp, batch } = self.appends.pop_front()?;
        let appended = Appended { stream, epoch, base, end, max_timestamp, batch: batch.clone() };
        self.mail(Mail::Appended(vec![appended]));
        Some(batch)
    }

    /// Commits these ranges of a partition, of 100 bytes each, as one object each.
    pub(super) fn commit(&mut self, topic: &str, partition: u32, ranges: &[(u64, u64)]) {
        let (stream, image) = self.image.stream_of(self.id_of(topic), PartitionIndex(partition)).expect("it is there");
        let epoch = image.epoch;
        let count = u32::try_from(ranges.len()).expect("a few");
        let first = self.image.next_object;
        self.command(Command::LeaseObjects { count });
        let object = |(at, (start, end)): (u64, &(u64, u64))| {
            let (start, end) = (Offset(*start), Offset(*end));
            let (max_timestamp, producers) = (self.now.wall, None);
            let range = CommitRange { stream, epoch, start, end, max_timestamp, bytes: 100, producers };
            CommitObject { id: ObjectId(first.0 + at), size: 200, ranges: vec![range] }
        };
        let objects = (0..).zip(ranges).map(object).collect();
        let (epoch, number, lsn) = (NodeEpoch(1), CutNumber(1), Lsn(0));
        self.command(Command::Commit(Commit { epoch, recovery: None, number, lsn, objects }));
    }

    pub(super) fn next_command(&self) -> Option<&Command> {
        self.commands.front().map(|(_, command)| command)
    }

    pub(super) fn commands(&self) -> usize {
        self.commands.len()
    }

    /// Topics that are to be created, as it wished.
    pub(super) fn created(&self) -> Vec<NewTopic> {
        let created = self.commands.iter().filter_map(|command| match command {
            (_, Command::CreateTopic(topic)) => Some(topic.clone()),
            _ => None,
        });
        created.collect()
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now.mono = self.now.mono.after(time);
        self.handle(Input::Tick);
    }

    /// The answer to a request, which must be there.
    pub(super) fn answer<T: Decodable>(&mut self, number: RequestNumber, version: i16) -> T {
        let body = self.answered(number).expect("answered");
        let mut bytes = body.to_bytes();
        let decoded = T::decode(&mut bytes, version).expect("an answer of that version");
        assert!(bytes.is_empty());
        decoded
    }

    /// The body of the answer to a request, if it is there.
    pub(super) fn answered(&mut self, number: RequestNumber) -> Option<Rope> {
        let at = self.answers.iter().position(|(to, _)| *to == number)?;
        match self.answers.remove(at).1 {
            Answer::Body(body) => Some(body),
            Answer::Paid(body, fee) => {
                if fee.bytes > 0 {
                    self.mail(Mail::CreditBack(CONN, fee.pool, fee.bytes));
                }
                Some(body)
            }
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn mail(&mut self, mail: Mail) {
        self.handle(Input::Mail(mail));
    }

    fn handle(&mut self, input: Input) {
        let mut out = Effects::default();
        self.shard.handle(self.now, input, &mut out);
        self.shard.invariants();
        for effect in out.drain() {
            match effect {
                Effect::Mail(To::Session(_, session::Mail::Answer { to, answer })) => self.answers.push((to, answer)),
                Effect::Mail(To::Session(conn, mail)) => self.told.push((conn, mail)),
                Effect::Mail(To::Node(node::Mail::Command(asker, command))) => {
                    self.commands.push_back((asker, command));
                }
                Effect::Mail(To::Uploader(upload::Mail::Cut(cut))) => self.cuts.push_back(cut),
                Effect::Mail(To::Wal(wal::Mail::Append(batches))) => self.appends.extend(batches),
                Effect::Compute(op, job) => self.jobs.push_back((op, job)),
                Effect::Store(op, call) => self.calls.push_back((op, call)),
                Effect::Mail(_) => {}
            }
        }
    }

    fn apply(&mut self, command: Command) -> (Entry, metadata::Answer) {
        self.sent = self.sent.next();
        let by = NodeCommand {
            node: NODE,
            incarnation: Incarnation([1; 16]),
            epoch: self.image.nodes.get(&NODE).map_or(NodeEpoch(0), |node| node.epoch),
            seq: self.sent,
            confirmed: CommandSeq(self.sent.0 - 1),
            command: Box::new(command),
        };
        let entry = Entry { seq: Seq(self.image.seq.0 + 1), at: WallTime(0), by };
        let answer = self.image.apply(&entry);
        (entry, answer)
    }
}
