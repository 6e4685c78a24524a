// What part of the run is looked at, and how wide: the mapping between moments and pixels.
//
// A *position* is a time in nanoseconds, or in event mode the place of an event in the order of all events.

const GUTTER = 132;

class View {
  constructor(model) {
    this.model = model;
    this.mode = "time";
    this.width = 1000;
    this.fit();
  }

  get positions() { return this.mode === "time" ? this.model.at : this.model.rank; }
  get least() { return this.mode === "time" ? 400 : 4; }
  get end() { return this.mode === "time" ? Math.max(this.model.head.at, 1) : Math.max(this.model.ranks - 1, 1); }
  get begin() { return this.mode === "time" && this.model.count > 0 && this.model.head.leftOut > 0 ? this.model.at[0] : 0; }
  get scale() { return (this.width - GUTTER) / (this.to - this.from); }

  x(position) { return GUTTER + (position - this.from) * this.scale; }
  positionAt(x) { return this.from + (x - GUTTER) / this.scale; }
  xOf(entry) { return this.x(this.positions[entry]); }
  xOfTime(time) { return this.x(this.positionOfTime(time)); }

  positionOfTime(time) {
    if (this.mode === "time") return time;
    const { model } = this, next = model.indexAt(time);
    if (next >= model.count) return model.ranks - 1;
    if (next === 0 || model.at[next] === time) return model.rank[next];
    const share = (time - model.at[next - 1]) / (model.at[next] - model.at[next - 1]);
    return model.rank[next - 1] + share * (model.rank[next] - model.rank[next - 1]);
  }

  timeOfPosition(position) {
    if (this.mode === "time") return position;
    const { model } = this, last = model.ranks - 1;
    const low = Math.min(Math.max(Math.floor(position), 0), last), high = Math.min(low + 1, last);
    const from = model.at[model.placeOfRank[low]] || 0, to = model.at[model.placeOfRank[high]] || 0;
    return from + (to - from) * Math.min(Math.max(position - low, 0), 1);
  }

  fit() { this.show(this.begin, this.end, 0.025); }

  /** Looks at these positions with a margin, as a share of them, on both sides. */
  show(from, to, margin = 0) {
    const span = Math.max(to - from, this.least), middle = (from + to) / 2;
    this.from = middle - span * (0.5 + margin);
    this.to = middle + span * (0.5 + margin);
  }

  zoom(factor, x) {
    const fixed = this.positionAt(x), most = (this.end - this.begin) * 1.4 + 10;
    const span = Math.min(Math.max((this.to - this.from) * factor, this.least), most);
    const share = (fixed - this.from) / (this.to - this.from);
    this.from = fixed - share * span;
    this.to = this.from + span;
    this.clamp();
  }

  pan(pixels) {
    const by = pixels / this.scale;
    this.from += by;
    this.to += by;
    this.clamp();
  }

  /** Part of the run stays in sight. */
  clamp() {
    const span = this.to - this.from, slack = span * 0.5;
    const by = Math.max(0, this.begin - slack - this.from) - Math.max(0, this.to - this.end - slack);
    this.from += by;
    this.to += by;
  }

  /** Brings a position into sight, and keeps the zoom unless it is far too wide to tell it from others. */
  reveal(position) {
    const x = this.x(position);
    if (x < GUTTER + 60 || x > this.width - 60) {
      const half = (this.to - this.from) / 2;
      this.from = position - half;
      this.to = position + half;
    }
  }

  setMode(mode) {
    if (mode === this.mode) return;
    const from = this.timeOfPosition(this.from), to = this.timeOfPosition(this.to);
    this.mode = mode;
    this.show(this.positionOfTime(from), this.positionOfTime(to));
  }

  /** Round positions about `apart` pixels from each other, with what to write there. */
  ticks(apart) {
    const wanted = apart / this.scale, power = 10 ** Math.floor(Math.log10(wanted));
    let step = [1, 2, 5, 10].find(times => times * power >= wanted) * power;
    if (this.mode === "events") step = Math.max(1, Math.round(step));
    const decimals = Math.min(9, Math.max(0, 9 - Math.floor(Math.log10(step) + 1e-9)));
    const found = [];
    for (let n = Math.ceil(this.from / step); n * step <= this.to; n++) {
      const position = n * step;
      if (position < 0 || position > this.end) continue;
      found.push({ position, label: this.mode === "time" ? seconds(position, decimals) : this.eventLabel(position) });
    }
    return { found, step };
  }

  eventLabel(position) {
    const entry = this.model.placeOfRank[Math.round(position)];
    return entry === undefined ? "" : `#${grouped(this.model.event[entry])}  ·  ${seconds(this.model.at[entry], 3)}`;
  }
}
