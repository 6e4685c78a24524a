// Numbers of the system as they grew: a strip for each subject, on the picture's own axis.

const CURVES = ["appended", "durable", "applied", "uploaded", "trimmed"];
const DASHES = [[2, 2], [], [6, 2], [9, 3], [3, 2, 1, 2]];
const CURVE_HUES = [3, 0, 2, 4, 7];
const STRIP = 74, FOLDED = 20, FIRST_OPEN = 3;

class Curves {
  constructor(canvas, state) {
    this.surface = new Surface(canvas);
    this.state = state;
    this.scroll = 0;
    const subjects = joined(state.model.samples, state.layout.groups);
    this.strips = importantFirst(state.model, subjects).map((subject, n) => ({ subject, isOpen: n < FIRST_OPEN, curves: [...subjects.get(subject).values()] }));
    this.strips.forEach(strip => strip.curves.sort((a, b) => place(a.name) - place(b.name)));
  }

  get height() { return this.strips.reduce((sum, strip) => sum + (strip.isOpen ? STRIP : FOLDED), 4); }

  draw() {
    const { surface, state } = this, { theme, view } = state;
    if (this.strips.length === 0) return;
    surface.begin(theme);
    this.scroll = Math.max(0, Math.min(this.scroll, this.height - surface.h));
    let y = 2 - this.scroll;
    for (const strip of this.strips) {
      strip.y = y;
      strip.h = strip.isOpen ? STRIP : FOLDED;
      if (y + strip.h > 0 && y < surface.h) this.drawStrip(strip);
      y += strip.h;
    }
    if (state.model.failure) {
      const x = view.xOfTime(state.model.failure.at);
      if (x > GUTTER && x < surface.w) surface.line(x, 0, x, surface.h, theme.alarm, 1.5);
    }
    if (state.pointer !== null && state.pointer > GUTTER) surface.line(state.pointer, 0, state.pointer, surface.h, theme.lane);
    surface.line(GUTTER - 0.5, 0, GUTTER - 0.5, surface.h, theme.rule);
  }

  drawStrip(strip) {
    const { surface, state } = this, { theme } = state;
    surface.line(0, strip.y - 0.5, surface.w, strip.y - 0.5, theme.rule);
    surface.font(10);
    surface.text(strip.isOpen ? "▾" : "▸", 14, strip.y + 11, theme.faint);
    surface.font(12, 600);
    surface.text(strip.subject, 26, strip.y + 11, strip.isOpen ? theme.ink : theme.soft, { width: GUTTER - 32 });
    if (!strip.isOpen) return;
    const { ctx } = surface;
    ctx.save();
    ctx.beginPath();
    ctx.rect(GUTTER, strip.y, surface.w - GUTTER, strip.h);
    ctx.clip();
    const range = this.rangeOf(strip);
    const toY = value => strip.y + strip.h - 8 - (value - range.low) / Math.max(1, range.high - range.low) * (strip.h - 18);
    for (const curve of strip.curves) this.drawCurve(curve, toY, strip);
    this.drawBandsOf(strip);
    ctx.restore();
    this.drawValues(strip);
  }

  /** The values in sight. */
  rangeOf(strip) {
    const { view } = this.state;
    const from = view.timeOfPosition(view.from), to = view.timeOfPosition(view.to);
    let low = Infinity, high = -Infinity;
    for (const { at, value } of strip.curves) {
      const first = Math.max(0, lowerBound(at, from) - 1), last = Math.min(at.length - 1, lowerBound(at, to));
      for (let i = first; i <= last; i++) {
        if (value[i] < low) low = value[i];
        if (value[i] > high) high = value[i];
      }
    }
    return low > high ? { low: 0, high: 1 } : { low, high };
  }

  drawCurve(curve, toY, strip) {
    const { surface, state } = this, { view, theme } = state, { ctx } = surface, style = styleOf(curve.name, strip);
    const first = Math.max(0, lowerBound(curve.at, view.timeOfPosition(view.from)) - 1);
    ctx.strokeStyle = theme.hues[style.hue];
    ctx.lineWidth = curve.name === "durable" ? 1.8 : 1.3;
    ctx.setLineDash(style.dash);
    ctx.beginPath();
    let y = toY(curve.value[first]), lastX = -1e9;
    ctx.moveTo(Math.max(view.xOfTime(curve.at[first]), GUTTER - 5), y);
    for (let i = first + 1; i < curve.at.length; i++) {
      const x = view.xOfTime(curve.at[i]), next = toY(curve.value[i]);
      if (x - lastX > 0.6 || next > y) {
        ctx.lineTo(x, y);
        ctx.lineTo(x, next);
        lastX = x;
      }
      y = next;
      if (x > surface.w) break;
    }
    ctx.lineTo(Math.min(surface.w, view.xOfTime(state.model.head.at)), y);
    ctx.stroke();
    ctx.setLineDash([]);
    if (curve !== strip.curves[0]) return;
    // A little colour below the highest makes a strip readable as one thing.
    ctx.lineTo(Math.min(surface.w, view.xOfTime(state.model.head.at)), strip.y + strip.h);
    ctx.lineTo(Math.max(view.xOfTime(curve.at[first]), GUTTER - 5), strip.y + strip.h);
    ctx.fillStyle = mix(theme.hues[style.hue], 0.07);
    ctx.fill();
  }

  drawBandsOf(strip) {
    const { surface, state } = this, { theme, view } = state;
    surface.font(10, 500);
    for (const band of state.model.bands) {
      if (band.subject !== strip.subject) continue;
      const left = Math.max(GUTTER, view.xOfTime(band.from)), right = Math.min(surface.w, view.xOfTime(band.to));
      if (right - left < 2) continue;
      surface.box(left, strip.y + 2, right - left - 1, 13, theme["band-a"], 3);
      surface.text(band.label, left + 5, strip.y + 9, theme.soft, { width: right - left - 10 });
    }
  }

  /** Names and numbers in the gutter: where the pointer is, or else at the right edge. */
  drawValues(strip) {
    const { surface, state } = this, { view, theme } = state;
    const time = state.pointer === null ? view.timeOfPosition(view.to) : view.timeOfPosition(view.positionAt(state.pointer));
    surface.font(10);
    strip.curves.slice(0, 5).forEach((curve, n) => {
      const y = strip.y + 24 + n * 10.4, style = styleOf(curve.name, strip), index = lowerBound(curve.at, time + 1) - 1;
      surface.ctx.setLineDash(style.dash);
      surface.line(14, y, 22, y, theme.hues[style.hue], 1.8);
      surface.ctx.setLineDash([]);
      surface.text(curve.name, 27, y, theme.soft, { width: 58 });
      surface.text(index < 0 ? "–" : grouped(curve.value[index]), GUTTER - 8, y, theme.soft, { align: "right" });
    });
  }

  stripAt(y) { return this.strips.find(strip => y >= strip.y && y < strip.y + (strip.isOpen ? 22 : FOLDED)); }
}

/** A log's head and trim are drawn as what they are. */
const ALIASES = { head: "appended", trim: "trimmed" };
function place(name) { const at = CURVES.indexOf(ALIASES[name] || name); return at < 0 ? CURVES.length : at; }

function styleOf(name, strip) {
  const at = CURVES.indexOf(ALIASES[name] || name);
  if (at >= 0) return { hue: CURVE_HUES[at], dash: DASHES[at] };
  const n = strip.curves.findIndex(curve => curve.name === name);
  return { hue: (n + 1) % 8, dash: DASHES[n % DASHES.length] };
}

/** What an incarnation goes on with is one subject: `broker-1/wal` and `broker-2/wal` are `broker/wal`. */
function joined(samples, groups) {
  const found = new Map();
  for (const [subject, curves] of samples) {
    const [process, ...rest] = subject.split("/"), group = groups.find(group => group.lives.some(life => life.process === process));
    const name = group && rest.length > 0 ? [group.name, ...rest].join("/") : subject;
    if (!found.has(name)) found.set(name, new Map());
    const of = found.get(name);
    for (const [key, { at, value }] of curves) {
      if (!of.has(key)) of.set(key, { name: key, at: [], value: [] });
      of.get(key).at.push(...at);
      of.get(key).value.push(...value);
    }
  }
  return found;
}

/** Those that the failure's words and the story's tags name; then those that moved most often. */
function importantFirst(model, subjects) {
  const words = model.failure ? model.failure.message : "";
  const named = new Set(model.steps.flatMap(step => step.entry === null ? [] : model.tagsOf(step.entry).map(tag => tag.value)));
  const weight = subject => {
    const moves = [...subjects.get(subject).values()].reduce((sum, curve) => sum + curve.at.length, 0);
    return (words.includes(subject) ? 1e12 : 0) + (named.has(subject) ? 1e9 : 0) + moves;
  };
  return [...subjects.keys()].sort((a, b) => weight(b) - weight(a));
}
