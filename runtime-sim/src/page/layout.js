// Which lane is in which row. Processes that follow each other under one name with growing numbers, as the incarnations
// of a broker do, share their rows; many short-lived lanes of one kind share one.
//
//   broker            broker-1 ........ x   broker-2 ..........     a heading with bands (epochs, terms)
//     session ×14     ----  --- -- ---      -- ---- -- ---          many lanes in one row
//     shard           ----------------      --------------

const HEADING = 25, AXIS = 54, MOST_SESSIONS = 3;
/** From the outside in: who talks to whom is then near. */
const ORDER = ["nemesis", "process", "client", "net", "session", "shard", "wal", "disk", "uploader", "store", "bucket", "controller", "node"];

/** What belongs to no process: the world's own lanes come first, models that processes share come last. */
const WORLD = "world", SHARED = "shared", OF_WORLD = ["nemesis", "scenario", "world"];
/** The band that says how long a process lived. */
const UP = "up";

class Layout {
  constructor(model) {
    this.model = model;
    this.unfolded = new Set();
    this.hidden = new Set();
    this.lives = lives(model);
    this.groups = groups(model, this.lives);
    this.hue = hues(model);
    this.rowHeight = 26;
    this.arrange();
  }

  arrange() {
    const { model } = this;
    this.rows = [];
    this.rowOf = new Int32Array(model.lanes.length).fill(NONE);
    this.yOf = new Float32Array(model.lanes.length);
    let y = 0;
    for (const group of this.groups) {
      const tracks = rowsOf(group, model, this.unfolded).filter(row => row.lanes.some(lane => !this.hidden.has(lane)));
      if (tracks.length === 0) { group.from = undefined; continue; }
      group.from = y;
      group.heading = tracks.length > 1 || group.bands.length > 0 || group.lives.length > 1;
      group.bandRows = stacked(group.bands);
      if (group.heading) {
        const h = HEADING + Math.max(0, group.bandRows - 1) * 17;
        this.rows.push({ kind: "heading", label: group.name, group, y, h, lanes: [] });
        y += h;
      }
      for (const row of tracks) {
        const h = this.rowHeight + (row.isFolded ? 6 : 0);
        Object.assign(row, { kind: "lane", group, y, h });
        this.place(row);
        this.rows.push(row);
        y += h;
      }
      group.to = y;
      y += 5;
    }
    this.height = y;
  }

  /** Lanes that share a row lie beside each other, a few pixels apart, where their lives overlap. */
  place(row) {
    const index = this.rows.length, spread = row.isFolded ? 4 : 1;
    row.lanes.forEach((lane, n) => {
      this.rowOf[lane] = index;
      this.yOf[lane] = row.y + row.h / 2 + (row.isFolded ? (n % spread - (spread - 1) / 2) * 5.5 : 0);
    });
  }

  toggle(row) {
    if (this.unfolded.has(row.key)) this.unfolded.delete(row.key); else this.unfolded.add(row.key);
    this.arrange();
  }

  groupOf(process) { return this.groups.find(group => group.lives.some(life => life.process === process)); }
}

/** When each process lived: as a band says, or else from its first entry to its last. */
function lives(model) {
  const found = new Map();
  const said = new Map(model.bands.filter(band => band.label === UP).map(band => [band.subject, band]));
  for (let i = 0; i < model.count; i++) {
    const { process } = model.laneOf(i);
    const life = found.get(process);
    if (life) life.to = model.at[i];
    else found.set(process, { process, from: model.at[i], to: model.at[i] });
  }
  for (const life of found.values()) if (said.has(life.process)) life.to = said.get(life.process).to;
  // Where some are said to be up and down, only those have incarnations.
  for (const life of found.values()) life.canReturn = said.size === 0 || said.has(life.process);
  return found;
}

/** Processes, incarnations joined: what is done to the world, clients, those that serve them, and what these share. */
function groups(model, lives) {
  const found = [], busy = busyProcesses(model);
  for (const life of lives.values()) {
    if (!busy.has(life.process)) continue;
    const stem = stemOf(life.process), number = numberOf(life.process);
    const earlier = stem === life.process ? undefined : found.find(group =>
      group.stem === stem && life.canReturn && group.last.canReturn && group.last.to <= life.from && numberOf(group.last.process) + 1 === number);
    if (earlier) {
      earlier.lives.push(life);
      earlier.last = life;
    } else {
      found.push({ stem, lives: [life], last: life });
    }
  }
  const world = found.find(group => group.stem === WORLD);
  if (world) found.push({ ...world, stem: SHARED });
  const rank = group => [WORLD, "client"].indexOf(group.stem) >= 0 ? [WORLD, "client"].indexOf(group.stem) : group.stem === SHARED ? 3 : 2;
  // A stable sort: those of equal rank stay in the order of their names' numbers, or else of appearance.
  found.sort((a, b) => rank(a) - rank(b) || (a.stem === b.stem ? numberOf(a.lives[0].process) - numberOf(b.lives[0].process) : 0));
  for (const group of found) {
    group.name = group.lives.length > 1 || group.stem === SHARED ? group.stem : group.lives[0].process;
    const names = new Set([group.name, ...(group.stem === SHARED ? [] : group.lives.map(life => life.process))]);
    group.bands = model.bands.filter(band => names.has(band.subject) && band.label !== UP && band.to > band.from);
    group.lanes = model.lanes.map((lane, id) => ({ ...lane, id })).filter(lane => group.lives.some(life => life.process === lane.process)
      && (lane.process !== WORLD || (OF_WORLD.includes(lane.owner) === (group.stem === WORLD))));
  }
  return found.filter(group => group.lanes.length > 0 || group.bands.length > 0);
}

/** Processes that did something, or to which something was done: who only starts says nothing. */
function busyProcesses(model) {
  const found = new Set([WORLD]);
  for (let i = 0; i < model.count; i++) if (model.kind[i] !== NOTE || model.laneOf(i).owner !== "process") found.add(model.laneOf(i).process);
  return found.size === 1 ? new Set(model.lanes.map(lane => lane.process)) : found;
}

/** One row for each owner; for each kind of owner, where there are many of a kind. */
function rowsOf(group, model, unfolded) {
  const byOwner = new Map();
  const kinds = new Map();
  for (const lane of group.lanes) {
    if (!byOwner.has(lane.owner)) byOwner.set(lane.owner, []);
    byOwner.get(lane.owner).push(lane.id);
    const kind = stemOf(lane.owner);
    if (!kinds.has(kind)) kinds.set(kind, new Set());
    kinds.get(kind).add(lane.owner);
  }
  const rows = [];
  // Starts and ends of a process that is one machine go with that machine.
  if (kinds.size === 2 && kinds.has("process")) {
    const [other] = [...byOwner.keys()].filter(owner => owner !== "process");
    byOwner.get(other).push(...byOwner.get("process"));
    kinds.delete("process");
  }
  const ranked = kind => { const at = ORDER.indexOf(kind); return at < 0 ? ORDER.length : at; };
  for (const [kind, owners] of [...kinds].sort((a, b) => ranked(a[0]) - ranked(b[0]))) {
    const key = `${group.name}/${kind}`, isMany = owners.size > MOST_SESSIONS;
    if (isMany && !unfolded.has(key)) {
      const lanes = group.lanes.filter(lane => owners.has(lane.owner)).map(lane => lane.id);
      rows.push({ key, label: kind, many: lanes.length, isFolded: true, canFold: true, lanes, of: kind });
      continue;
    }
    for (const owner of [...owners].sort((a, b) => numberOf(a) - numberOf(b))) {
      const label = owner === group.stem || owner === group.name ? group.name : owner;
      rows.push({ key, label, isFolded: false, canFold: isMany, lanes: byOwner.get(owner), of: kind });
    }
  }
  if (rows.length === 1 && group.bands.length === 0 && group.lives.length === 1) rows[0].label = group.name;
  return rows;
}

/** Bands of one kind lie in one row, and those that overlap below each other. Returns how many rows they take. */
function stacked(bands) {
  const rows = [];
  for (const band of [...bands].sort((a, b) => a.from - b.from)) {
    const kind = band.label.replace(/\d+/g, "");
    let row = rows.findIndex(row => row.kind === kind && row.end <= band.from);
    if (row < 0) row = rows.findIndex(row => row.end <= band.from && bands.every(other => other.label.replace(/\d+/g, "") !== row.kind || other.to <= band.from));
    if (row < 0) row = rows.push({ kind, end: 0 }) - 1;
    rows[row] = { kind, end: band.to };
    band.row = row;
  }
  return rows.length;
}

/** A colour for each kind of owner, in a fixed order, so that pages of many runs look alike. */
function hues(model) {
  const fixed = { client: 0, member: 0, session: 1, net: 1, shard: 2, wal: 3, disk: 6, uploader: 4, store: 5, bucket: 5, controller: 5, node: 7, nemesis: 7 };
  let next = 0;
  const own = new Map();
  return model.lanes.map(({ owner }) => {
    const kind = stemOf(owner);
    if (kind in fixed) return fixed[kind];
    if (!own.has(kind)) own.set(kind, next++ % 8);
    return own.get(kind);
  });
}
