//! Keeps the recording of a run, and knows at each moment why things happen.
//!
//! ```text
//!   input entry ◄─cause─ effect entry ── while it is performed, the cause of all that is done ──► sent inputs, timers,
//!                                                                                              operations, kills
//! ```
//! Whatever carries something to a later moment (an inbox, a timer, a connection) carries its cause along. When nothing
//! is recorded there are no entries, hence no causes: each of these is one look at an empty option.

use crate::recording::{
    About, Band, Describe, Entry, EntryId, EntryKind, Lane, LaneId, Record, Recording, Sample, Tag, TagValue, words,
};
use crate::time::SimTime;
use crate::trace::{Who, cut};
use core::fmt::Debug;
use std::cell::{Cell, RefCell, RefMut};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Each text is cut after so many bytes.
const TEXT: usize = 2_000;

/// The recorder of one run.
pub(super) struct Recorder {
    tape: Option<RefCell<Tape>>,
    cause: Cell<Option<EntryId>>,
    /// The sends whose bytes are handed over now.
    carried: RefCell<Vec<EntryId>>,
}

/// Why something is to happen later.
#[derive(Debug, Default)]
pub(super) struct Why {
    pub(super) cause: Option<EntryId>,
    /// The sends whose bytes it is, oldest first; the last of them is the cause. It is about whatever they are about.
    carried: Vec<EntryId>,
}

/// What is recorded so far, and what makes it quick to go on.
#[derive(Default)]
pub(super) struct Tape {
    recording: Recording,
    owners: BTreeMap<u32, LaneId>,
    names: BTreeMap<(Arc<str>, Arc<str>), LaneId>,
    aliases: BTreeMap<Tag, Tag>,
    /// The names of what has a number within a connection. See [`Tag::NUMBERED`].
    numbered: BTreeMap<(Tag, TagValue), Tag>,
    /// What every entry of an owner is about.
    always: BTreeMap<LaneId, Tag>,
    last: BTreeMap<(Arc<str>, &'static str), u64>,
    /// Where in the recording the band that is in force is, by subject and slot.
    in_force: BTreeMap<(Arc<str>, &'static str), usize>,
}

/// When something is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) event: u64,
    pub(super) at: SimTime,
}

impl Recorder {
    pub(super) fn new(record: Record) -> Self {
        let tape = (record == Record::Everything).then(RefCell::default);
        Self { tape, cause: Cell::new(None), carried: RefCell::default() }
    }

    /// The recording, to add to or to look at; `None` if there is none.
    pub(super) fn tape(&self) -> Option<RefMut<'_, Tape>> {
        self.tape.as_ref().map(RefCell::borrow_mut)
    }

    pub(super) fn is_on(&self) -> bool {
        self.tape.is_some()
    }

    /// Why things happen now.
    pub(super) fn cause(&self) -> Option<EntryId> {
        self.cause.get()
    }

    /// The same for what is to happen later.
    pub(super) fn why(&self) -> Why {
        Why { cause: self.cause(), carried: self.carried.borrow().clone() }
    }

    /// From now on things happen because of this. Returns why they did so far.
    pub(super) fn because(&self, cause: Option<EntryId>) -> Option<EntryId> {
        self.carried.borrow_mut().clear();
        self.cause.replace(cause)
    }

    /// From now on things happen because bytes of these sends are handed over.
    pub(super) fn because_of_bytes(&self, carried: Vec<EntryId>) {
        self.cause.set(carried.last().copied());
        *self.carried.borrow_mut() = carried;
    }

    /// Adds an entry whose cause is why things happen now.
    pub(super) fn act(
        &self,
        moment: Moment,
        (process, owner): (&str, &str),
        kind: EntryKind,
        what: impl FnOnce() -> Told,
    ) -> Option<EntryId> {
        let mut tape = self.tape()?;
        let lane = tape.lane_named(process, owner);
        Some(tape.add(moment, lane, kind, what(), Why { cause: self.cause(), carried: vec![] }))
    }

    /// An owner takes an input. Returns the entry.
    pub(super) fn input(
        &self,
        moment: Moment,
        who: &Who,
        input: &(impl Debug + Describe),
        why: Why,
    ) -> Option<EntryId> {
        let mut tape = self.tape()?;
        let lane = tape.lane(who);
        Some(tape.add(moment, lane, EntryKind::Input, Told::of(input), why))
    }

    /// What the input caused. Adds the entries to `into`, in the order of the effects.
    pub(super) fn effects<E: Debug + Describe>(
        &self,
        moment: Moment,
        who: &Who,
        effects: &[E],
        cause: Option<EntryId>,
        into: &mut VecDeque<EntryId>,
    ) {
        let Some(mut tape) = self.tape() else { return };
        let lane = tape.lane(who);
        let add = |effect| tape.add(moment, lane, EntryKind::Effect, Told::of(effect), Why { cause, carried: vec![] });
        into.extend(effects.iter().map(add));
    }

    /// The whole recording, but for what ended the run; it is empty afterwards.
    pub(super) fn take(&self) -> Option<Recording> {
        let tape = core::mem::take(&mut *self.tape()?);
        let mut recording = tape.recording;
        complete(&mut recording, &tape.aliases);
        Some(recording)
    }
}

impl Tape {
    /// The entries from this event on as [`Recorder::take`] would give them now, but for their causes, which may not be
    /// among them.
    pub(super) fn since(&self, event: u64) -> Recording {
        let entries = &self.recording.entries;
        let from = entries.partition_point(|entry| entry.event < event);
        let entries = entries[from..].iter().map(|entry| Entry { cause: None, ..entry.clone() }).collect();
        let mut recording = Recording { lanes: self.recording.lanes.clone(), entries, ..Recording::default() };
        complete(&mut recording, &self.aliases);
        recording
    }

    /// As [`Recorder::take`] would give it now.
    pub(super) fn snapshot(&self) -> Recording {
        let mut recording = self.recording.clone();
        complete(&mut recording, &self.aliases);
        recording
    }

    /// Whatever is about the one is also about the other.
    pub(super) fn alias(&mut self, one: Tag, other: Tag) {
        self.aliases.insert(one, other);
    }

    /// Every entry of this owner, from now on, is also about that.
    pub(super) fn always(&mut self, who: &Who, tag: Tag) {
        let lane = self.lane(who);
        self.always.insert(lane, tag);
    }

    /// That is not so any more.
    pub(super) fn not_always(&mut self, who: &Who) {
        let lane = self.lane(who);
        self.always.remove(&lane);
    }

    /// A number has this value from now on.
    pub(super) fn sample(&mut self, at: SimTime, subject: &str, curve: &'static str, value: u64) {
        let subject: Arc<str> = subject.into();
        if self.last.insert((subject.clone(), curve), value) != Some(value) {
            self.recording.samples.push(Sample { subject, curve, at, value });
        }
    }

    /// From now on this is in force in that slot of the subject, instead of what was.
    pub(super) fn band(&mut self, at: SimTime, subject: &str, slot: &'static str, label: Option<String>) {
        let key = (Arc::from(subject), slot);
        let before = self.in_force.get(&key).copied();
        if before.map(|place| &self.recording.bands[place].label) == label.as_ref() {
            return;
        }
        if let Some(place) = before {
            self.recording.bands[place].to = Some(at);
            self.in_force.remove(&key);
        }
        if let Some(label) = label {
            let subject = key.0.clone();
            self.in_force.insert(key, self.recording.bands.len());
            self.recording.bands.push(Band { subject, label, from: at, to: None });
        }
    }

    /// Nothing of the subject is in force any more.
    pub(super) fn end_bands(&mut self, at: SimTime, subject: &str) {
        let over: Vec<_> = self.in_force.keys().filter(|(of, _)| &**of == subject).cloned().collect();
        for (of, slot) in over {
            self.band(at, &of, slot, None);
        }
    }

    fn add(
        &mut self,
        moment: Moment,
        lane: LaneId,
        kind: EntryKind,
        Told { text, words, about }: Told,
        Why { cause, carried }: Why,
    ) -> EntryId {
        let id = EntryId(u32::try_from(self.recording.entries.len()).expect("a run has far fewer than 2^32 entries"));
        let Moment { event, at } = moment;
        let mut tags: Vec<Tag> = self.always.get(&lane).cloned().into_iter().chain(about.0).collect();
        self.add_names(lane, &mut tags);
        for carried in &carried {
            self.add_carried(*carried, &mut tags);
        }
        let words = words.map(|words| words::with_numbered(self.with_cause(words, lane, cause), &tags));
        let besides = carried.into_iter().filter(|carried| Some(*carried) != cause).collect();
        self.recording.entries.push(Entry { event, at, lane, kind, text, words, cause, besides, tags });
        id
    }

    /// Says whose numbers these are, and adds the names of what has another number elsewhere; learns such names.
    fn add_names(&mut self, lane: LaneId, tags: &mut Vec<Tag>) {
        let process = &self.recording.lanes[lane.0 as usize].process;
        for tag in tags.iter_mut() {
            if let (Tag::OF_PROCESS, TagValue::Range(number, _)) = (tag.key, &tag.value) {
                tag.value = TagValue::Name(format!("{process}/{number}").into());
            }
        }
        let (number, name) = Tag::NUMBERED;
        if !tags.iter().any(|tag| tag.key == number) {
            return;
        }
        let mut named: Vec<Tag> = Vec::with_capacity(tags.len() + 1);
        for group in Tag::groups(tags) {
            let of = |key| group.iter().find(|tag| tag.key == key).cloned();
            let known = of(Tag::OF_PROCESS).zip(of(number)).map(|(of, number)| (of, number.value));
            named.extend_from_slice(group);
            match (known, of(name)) {
                (Some(known), Some(name)) => drop(self.numbered.insert(known, name)),
                (Some(known), None) => named.extend(self.numbered.get(&known).cloned()),
                (None, _) => {}
            }
        }
        *tags = named;
    }

    /// Whoever reads bytes deals with whatever whoever sent them told of them.
    fn add_carried(&self, EntryId(sent): EntryId, tags: &mut Vec<Tag>) {
        let sent = self.recording.entries[sent as usize].tags.iter().filter(|tag| tag.key != Tag::OF_OWNER);
        let is_said = |tag: &&Tag| tags.len() == 1 && tags[0] == **tag;
        let sent: Vec<Tag> = sent.filter(|tag| !is_said(tag)).cloned().collect();
        tags.extend(sent);
    }

    /// Fills the places in words that stand for why it happened.
    fn with_cause(&self, what: String, lane: LaneId, cause: Option<EntryId>) -> String {
        let cause = cause.and_then(|EntryId(cause)| self.recording.entries.get(cause as usize));
        let sender = cause.filter(|cause| cause.lane != lane).map(|cause| {
            let (own, other) = (&self.recording.lanes[lane.0 as usize], &self.recording.lanes[cause.lane.0 as usize]);
            other.title_within(&own.process)
        });
        words::with_cause(what, sender.as_deref(), cause.and_then(|cause| cause.words.as_deref()))
    }

    fn lane(&mut self, who: &Who) -> LaneId {
        if let Some(lane) = self.owners.get(&who.id) {
            return *lane;
        }
        let lane = self.lane_named(&who.process, &who.owner);
        self.owners.insert(who.id, lane);
        lane
    }

    fn lane_named(&mut self, process: &str, owner: &str) -> LaneId {
        let name = (Arc::from(process), Arc::from(owner));
        if let Some(lane) = self.names.get(&name) {
            return *lane;
        }
        let lane = LaneId(u32::try_from(self.recording.lanes.len()).expect("a run has far fewer than 2^32 owners"));
        self.recording.lanes.push(Lane { process: Arc::clone(&name.0), owner: Arc::clone(&name.1) });
        self.names.insert(name, lane);
        lane
    }
}

/// What an entry says.
pub(super) struct Told {
    pub(super) text: String,
    pub(super) words: Option<String>,
    pub(super) about: About,
}

impl Told {
    /// What something says of itself.
    pub(super) fn of(what: &(impl Debug + Describe)) -> Self {
        let mut about = About::default();
        what.describe(&mut about);
        Self { text: cut("", what, TEXT), words: what.words(), about }
    }

    /// A sentence that is about nothing in particular.
    pub(super) fn sentence(words: impl Into<String>) -> Self {
        let text = words.into();
        Self { words: Some(text.clone()), text, about: About::default() }
    }
}

/// Puts each alias behind the tag that it belongs to, and names into words.
fn complete(recording: &mut Recording, aliases: &BTreeMap<Tag, Tag>) {
    let names = words::Names::of(aliases);
    for entry in &mut recording.entries {
        if let Some(words) = &mut entry.words {
            names.fill(words);
        }
        if entry.tags.iter().any(|tag| aliases.contains_key(tag)) {
            for tag in core::mem::take(&mut entry.tags) {
                let alias = aliases.get(&tag).cloned();
                entry.tags.push(tag);
                entry.tags.extend(alias);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(tape: &mut Tape, process: &str, words: &str, tags: Vec<Tag>) -> (Vec<String>, String) {
        let lane = tape.lane_named(process, "owner");
        let told = Told { text: String::new(), words: Some(words.into()), about: About(tags) };
        let moment = Moment { event: 1, at: SimTime(1) };
        let EntryId(id) = tape.add(moment, lane, EntryKind::Input, told, Why::default());
        let entry = &tape.recording.entries[id as usize];
        (entry.tags.iter().map(ToString::to_string).collect(), entry.words.clone().unwrap_or_default())
    }

    #[test]
    fn a_request_has_one_name_wherever_it_is() {
        let mut tape = Tape::default();
        let (connection, number) = (|| Tag::number("connection", 3), || Tag::number("number", 1));
        let answer = format!("the answer to {}", words::name_of(&number()));
        let (tags, said) = add(&mut tape, "broker-1", &answer, vec![connection(), number()]);
        assert_eq!(tags, ["connection=broker-1/3", "number=1"]);
        assert_eq!(said, "the answer to ⟨number=1⟩", "nobody has told its name yet");
        let named = vec![connection(), number(), Tag::number("request", 57), Tag::name("partition", "orders-3")];
        add(&mut tape, "broker-1", "", named);
        let (tags, said) = add(&mut tape, "broker-1", &answer, vec![connection(), number()]);
        assert_eq!(tags, ["connection=broker-1/3", "number=1", "request=57"]);
        assert_eq!(said, "the answer to request 57");
        let (tags, _) = add(&mut tape, "broker-2", &answer, vec![connection(), number()]);
        assert_eq!(tags, ["connection=broker-2/3", "number=1"], "that of another process is another one");
    }
}
