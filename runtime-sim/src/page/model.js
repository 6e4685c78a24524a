// The recording as columns, one typed array each, and what is asked of it: who caused what, what is where in time.
//
// A *node* is what the picture shows as one mark: an input with the effects that it caused at once, a note, or a fault.
// It is named by its first entry.

const INPUT = 0, EFFECT = 1, NOTE = 2, FAULT = 3;
const KINDS = ["input", "effect", "note", "fault"];
const NONE = -1;

class Model {
  constructor(data) {
    const { entries } = data;
    this.head = data.head;
    this.strings = data.strings;
    this.lanes = data.lanes.map(([process, owner]) => ({ process: this.strings[process], owner: this.strings[owner] }));
    this.tags = data.tags.map(tag => decodeTag(tag, this.strings));
    this.count = entries.lane.length;
    this.event = summed(entries.event, Float64Array);
    this.at = summed(entries.at, Float64Array);
    this.lane = Uint32Array.from(entries.lane);
    this.kind = Uint8Array.from(entries.kind, Number);
    this.text = Uint32Array.from(entries.text);
    this.words = Uint32Array.from(entries.words);
    this.cause = Int32Array.from(entries.back, (back, i) => back === 0 ? NONE : i - back);
    // Of the few that have several causes, those besides the newest.
    this.besides = new Map(entries.besides.map(([i, ...backs]) => [i, backs.map(back => i - back)]));
    this.tagEnd = summed(entries.tags, Uint32Array);
    this.tag = Uint32Array.from(entries.tag);
    this.samples = decodeSamples(data.samples, this.strings);
    this.bands = data.bands.map(([subject, label, from, to]) =>
      ({ subject: this.strings[subject], label: this.strings[label], from, to: to === null ? this.head.at : to, isOpen: to === null }));
    this.failure = data.failure;
    this.steps = data.steps;
    this.findNodes();
    this.findRanks();
    this.findConsequences();
  }

  /** Effects belong to the input that caused them. */
  findNodes() {
    this.node = new Uint32Array(this.count);
    for (let i = 0; i < this.count; i++) {
      const cause = this.cause[i];
      const isPart = this.kind[i] === EFFECT && cause !== NONE && this.event[cause] === this.event[i] && this.lane[cause] === this.lane[i];
      this.node[i] = isPart ? this.node[cause] : i;
    }
  }

  /** Places in event mode: equal distances, whatever the time between. */
  findRanks() {
    this.rank = new Float64Array(this.count);
    let rank = 0;
    for (let i = 1; i < this.count; i++) {
      if (this.event[i] !== this.event[i - 1] || this.at[i] !== this.at[i - 1] || this.lane[i] !== this.lane[i - 1]) rank++;
      this.rank[i] = rank;
    }
    // An effect may be recorded after a fault of another lane that it met.
    for (let i = 0; i < this.count; i++) this.rank[i] = this.rank[this.node[i]];
    this.ranks = rank + 1;
    this.placeOfRank = new Float64Array(this.ranks).fill(-1);
    for (let i = 0; i < this.count; i++) {
      if (this.placeOfRank[this.rank[i]] < 0) this.placeOfRank[this.rank[i]] = i;
    }
    for (let r = 1; r < this.ranks; r++) if (this.placeOfRank[r] < 0) this.placeOfRank[r] = this.placeOfRank[r - 1];
  }

  /** Who was caused by whom, as one list cut into pieces. */
  findConsequences() {
    this.childEnd = new Uint32Array(this.count + 1);
    for (const cause of this.cause) if (cause !== NONE) this.childEnd[cause + 1]++;
    for (const causes of this.besides.values()) for (const cause of causes) this.childEnd[cause + 1]++;
    for (let i = 0; i < this.count; i++) this.childEnd[i + 1] += this.childEnd[i];
    this.child = new Uint32Array(this.childEnd[this.count]);
    const next = this.childEnd.slice();
    for (let i = 0; i < this.count; i++) for (const cause of this.causesOf(i)) this.child[next[cause]++] = i;
  }

  /** Every cause of an entry, oldest first. */
  causesOf(i) { return this.cause[i] === NONE ? [] : this.besides.has(i) ? [...this.besides.get(i), this.cause[i]] : [this.cause[i]]; }

  /** Of several causes of `i` the newest of those that have most in common with `of`, which `i` caused. */
  causeFor(i, of) {
    if (!this.besides.has(i)) return this.cause[i];
    const wanted = new Set(this.tag.subarray(of === 0 ? 0 : this.tagEnd[of - 1], this.tagEnd[of]));
    const alike = cause => this.tag.subarray(cause === 0 ? 0 : this.tagEnd[cause - 1], this.tagEnd[cause]).filter(tag => wanted.has(tag)).length;
    return this.causesOf(i).reduce((best, cause) => alike(cause) >= alike(best) ? cause : best);
  }

  consequences(i) { return this.child.subarray(this.childEnd[i], this.childEnd[i + 1]); }
  textOf(i) { return this.strings[this.text[i]]; }
  /** In words, for people; the text of what nobody has words for. */
  wordsOf(i) { return this.strings[this.words[i]]; }
  hasWords(i) { return this.words[i] !== this.text[i]; }
  laneOf(i) { return this.lanes[this.lane[i]]; }
  tagsOf(i) { return Array.from(this.tag.subarray(i === 0 ? 0 : this.tagEnd[i - 1], this.tagEnd[i]), tag => this.tags[tag]); }
  nameOf(i) { return laneName(this.laneOf(i)); }

  /** The entries of a node: itself and its effects. */
  partsOf(node) {
    const parts = [node];
    for (const child of this.consequences(node)) if (this.node[child] === node) parts.push(child);
    return parts;
  }

  /** From an entry up to its birth, without the entry. */
  ancestors(i) {
    const found = [];
    let of = i;
    for (let at = this.causeFor(i, i); at !== NONE;) {
      found.push(at);
      const next = this.causeFor(at, of);
      of = at;
      at = next;
    }
    return found;
  }

  /** Everything that it led to, nearest first, but no more than `most`. */
  descendants(i, most) {
    const found = Array.from(this.consequences(i));
    for (let n = 0; n < found.length && found.length < most; n++) found.push(...this.consequences(found[n]));
    return found.slice(0, most);
  }

  /** The first entry at or after a moment. */
  indexAt(time) { return lowerBound(this.at, time); }
}

function laneName(lane) {
  return lane.owner === lane.process || stemOf(lane.process) === lane.owner ? lane.process : `${lane.process}/${lane.owner}`;
}

/** `session-12` is the 12th of `session`. */
function stemOf(name) { return name.replace(/[-#]?\d+$/, "") || name; }
function numberOf(name) { const found = /(\d+)$/.exec(name); return found ? Number(found[1]) : 0; }

function decodeTag([key, name, low, high], strings) {
  const tag = { key: strings[key], name: name === null ? null : strings[name], low, high };
  tag.value = tag.name !== null ? tag.name : high === low + 1 ? grouped(low) : `${grouped(low)}–${grouped(high - 1)}`;
  return tag;
}

function decodeSamples(samples, strings) {
  const at = summed(samples.at, Float64Array);
  const subjects = new Map();
  for (let i = 0; i < at.length; i++) {
    const subject = strings[samples.subject[i]], curve = strings[samples.curve[i]];
    if (!subjects.has(subject)) subjects.set(subject, new Map());
    const curves = subjects.get(subject);
    if (!curves.has(curve)) curves.set(curve, { name: curve, at: [], value: [] });
    curves.get(curve).at.push(at[i]);
    curves.get(curve).value.push(Number(samples.value[i]));
  }
  return subjects;
}

function summed(deltas, Kind) {
  const out = new Kind(deltas.length);
  let sum = 0;
  for (let i = 0; i < deltas.length; i++) out[i] = sum += deltas[i];
  return out;
}

/** The first place whose value is not less than `wanted`. */
function lowerBound(sorted, wanted) {
  let low = 0, high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < wanted) low = middle + 1; else high = middle;
  }
  return low;
}

/** 1234567 as 1 234 567, with thin spaces. */
function grouped(number) { return String(number).replace(/\B(?=(\d{3})+(?!\d))/g, "\u2009"); }

/** Nanoseconds as seconds with so many decimals. */
function seconds(nanos, decimals = 6) {
  const text = (nanos / 1e9).toFixed(decimals);
  const [whole, part = ""] = text.split(".");
  return part === "" ? `${whole} s` : `${whole}.${part.replace(/(\d{3})(?=\d)/g, "$1\u2009")} s`;
}

/** A length of time in the unit that suits it. */
function duration(nanos) {
  const units = [[1e9, "s"], [1e6, "ms"], [1e3, "µs"], [1, "ns"]];
  const [size, unit] = units.find(([size]) => Math.abs(nanos) >= size) || units[3];
  return `${Number((nanos / size).toPrecision(3))} ${unit}`;
}
