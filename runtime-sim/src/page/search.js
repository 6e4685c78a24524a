// Finding events by their words, and dimming those that are not asked for.

class Search {
  constructor(model) {
    this.model = model;
    this.folded = null;
  }

  /** Every entry whose text, words, lane or tags have all of the words, as nodes, each once. */
  find(words) {
    const wanted = words.toLowerCase().split(/\s+/).filter(word => word !== "");
    if (wanted.length === 0) return [];
    const { model } = this;
    this.fold();
    const found = [];
    for (let i = 0; i < model.count; i++) {
      const text = this.folded[model.text[i]], words = this.folded[model.words[i]], lane = this.lanes[model.lane[i]];
      if (!wanted.every(word => text.includes(word) || words.includes(word) || lane.includes(word) || this.hasTag(i, word))) continue;
      if (found.length === 0 || found[found.length - 1] !== model.node[i]) found.push(model.node[i]);
    }
    return found;
  }

  /** Lower case once, not with every key. */
  fold() {
    if (this.folded) return;
    this.folded = this.model.strings.map(text => text.toLowerCase());
    this.lanes = this.model.lanes.map(lane => `${lane.process}/${lane.owner}`.toLowerCase());
    this.tags = this.model.tags.map(tag => `${tag.key}=${tag.value}`.toLowerCase());
  }

  hasTag(i, word) {
    const { model } = this;
    for (let t = i === 0 ? 0 : model.tagEnd[i - 1]; t < model.tagEnd[i]; t++) if (this.tags[model.tag[t]].includes(word)) return true;
    return false;
  }
}

/** `lane=wal process=broker-2 partition=orders-3 offset=17`: all must hold. */
function parseFilter(text) {
  return text.split(/\s+/).map(word => /^([\w.-]+)=(.+)$/.exec(word)).filter(found => found !== null)
    .map(([, key, value]) => ({ key, value: value.replace(/\u2009/g, "") }));
}

/** What a filter leaves: which nodes are dimmed, which lanes are hidden, how many nodes stay. */
function applyFilter(model, terms) {
  if (terms.length === 0) return { dimmed: null, hidden: new Set(), kept: null };
  const onLanes = terms.filter(term => term.key === "lane" || term.key === "process");
  const onTags = terms.filter(term => term.key !== "lane" && term.key !== "process");
  const hidden = new Set();
  model.lanes.forEach((lane, id) => {
    const passes = onLanes.every(({ key, value }) => key === "process" ? lane.process === value || stemOf(lane.process) === value
      : lane.owner === value || stemOf(lane.owner) === value || laneName(lane) === value);
    if (!passes) hidden.add(id);
  });
  if (onTags.length === 0) return { dimmed: null, hidden, kept: null };
  const passing = onTags.map(term => model.tags.map(tag => tagMatches(tag, term)));
  const dimmed = new Uint8Array(model.count).fill(1);
  let kept = 0;
  for (let i = 0; i < model.count; i++) {
    const from = i === 0 ? 0 : model.tagEnd[i - 1], own = model.tag.subarray(from, model.tagEnd[i]);
    if (!passing.every(tags => own.some(tag => tags[tag]))) continue;
    const node = model.node[i];
    if (dimmed[node] === 1 && !hidden.has(model.lane[i])) kept++;
    dimmed[node] = dimmed[i] = 0;
  }
  return { dimmed, hidden, kept };
}

function tagMatches(tag, { key, value }) {
  if (tag.key !== key) return false;
  if (tag.name !== null) return tag.name === value;
  const [low, high = low] = value.split(/[–.]+/).map(Number);
  return low < Number(tag.high) && high >= Number(tag.low);
}

/** What the filter's field proposes. */
function proposals(model) {
  const found = new Set();
  for (const lane of model.lanes) {
    found.add(`lane=${stemOf(lane.owner)}`);
    found.add(`process=${lane.process}`);
  }
  for (const tag of model.tags) if (tag.name !== null && found.size < 400) found.add(`${tag.key}=${tag.value}`);
  return [...found];
}
