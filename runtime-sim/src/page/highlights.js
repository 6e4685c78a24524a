// What is pointed out: the disturbances, the failure, the story with its numbers, and one event with its causes (before)
// and consequences (after).

const MOST_AFTER = 1500;

class Highlights {
  constructor(picture) {
    this.picture = picture;
    this.badges = [];
    this.known = new Map();
    this.told = new Set(picture.model.steps.map(step => step.entry));
    this.flags = disturbances(picture.model);
  }

  point(i) {
    const { view, model } = this.picture;
    return { x: view.xOf(i), y: this.picture.laneY(model.lane[i]) };
  }

  drawBehind() {
    const { surface, theme, view, state, model } = this.picture;
    for (const flag of this.flags) {
      const x = view.xOf(flag.entry);
      if (x < GUTTER || x > surface.w) continue;
      surface.ctx.setLineDash([2, 3]);
      surface.line(x, AXIS, x, surface.h, mix(theme.alarm, flag.isGood ? 0.25 : 0.5));
      surface.ctx.setLineDash([]);
    }
    for (const band of model.bands) {
      if (!isOutage(band.label)) continue;
      const left = Math.max(GUTTER, view.xOfTime(band.from)), right = Math.min(surface.w, view.xOfTime(band.to));
      if (right > left) surface.box(left, AXIS, right - left, surface.h - AXIS, mix(theme.alarm, 0.055));
    }
    if (model.failure) {
      const x = this.failureX();
      if (x >= GUTTER && x <= surface.w) {
        surface.box(x, AXIS, surface.w - x, surface.h - AXIS, mix(theme.alarm, 0.035));
        surface.line(x, AXIS, x, surface.h, theme.alarm, 1.5);
      }
    }
    if (state.selected !== NONE) {
      const { x } = this.point(state.selected);
      if (x >= GUTTER) surface.line(x, AXIS, x, surface.h, mix(theme.accent, 0.35));
    }
  }

  failureX() {
    const { view, model } = this.picture;
    return model.failure.entry === null ? view.xOfTime(model.failure.at) : view.xOf(model.failure.entry);
  }

  drawAbove() {
    const { surface } = this.picture, { ctx } = surface;
    ctx.save();
    ctx.beginPath();
    ctx.rect(GUTTER, AXIS, surface.w - GUTTER, surface.h - AXIS);
    ctx.clip();
    this.drawMatches();
    if (this.picture.state.selected !== NONE) this.drawChain(this.picture.state.selected);
    this.drawStory();
    this.drawFailure();
    ctx.restore();
  }

  drawMatches() {
    const { state, surface, theme, model, layout, view } = this.picture;
    if (state.matches.length === 0) return;
    surface.ctx.strokeStyle = theme.found;
    surface.ctx.lineWidth = 1.6;
    surface.ctx.beginPath();
    const last = new Float32Array(layout.rows.length).fill(-1e9);
    for (const i of state.matches) {
      const x = view.xOf(i), row = layout.rowOf[model.lane[i]];
      if (row < 0 || x < GUTTER - 8 || x > surface.w + 8 || x - last[row] < 3) continue;
      last[row] = x;
      const y = this.picture.laneY(model.lane[i]);
      surface.ctx.moveTo(x + 6, y);
      surface.ctx.arc(x, y, 6, 0, 6.2832);
    }
    surface.ctx.stroke();
  }

  drawChain(selected) {
    const { model, surface, theme } = this.picture, { ctx } = surface;
    const parts = model.partsOf(model.node[selected]);
    const after = parts.flatMap(part => model.descendants(part, MOST_AFTER)).filter(i => model.node[i] !== model.node[selected]);
    const led = new Set([...parts, ...after]);
    this.drawPairs(after.flatMap(i => model.causesOf(i).filter(cause => led.has(cause)).map(cause => [cause, i])), theme.after, 1.2, 0.75);
    const before = [selected, ...model.ancestors(selected)];
    const pairs = before.slice(1).map((cause, n) => [cause, before[n]]);
    this.drawPairs([...pairs, ...model.causesOf(model.node[selected]).map(cause => [cause, model.node[selected]])], theme.accent, 2.2, 1);
    for (const i of before) this.drawDot(model.node[i], theme.accent, 3.8);
    const { x, y } = this.point(model.node[selected]);
    ctx.strokeStyle = theme.accent;
    ctx.lineWidth = 2;
    ctx.beginPath();
    ctx.arc(x, y, 8, 0, 6.2832);
    ctx.stroke();
  }

  drawPairs(pairs, colour, width, alpha) {
    const { surface, layout, model } = this.picture, { ctx } = surface;
    ctx.globalAlpha = alpha;
    ctx.strokeStyle = colour;
    ctx.lineWidth = width;
    ctx.beginPath();
    for (const [cause, i] of pairs) {
      if (model.node[i] === model.node[cause] || layout.rowOf[model.lane[i]] < 0 || layout.rowOf[model.lane[cause]] < 0) continue;
      const a = this.point(cause), b = this.point(i);
      traceLink(ctx, a.x, a.y, b.x, b.y, layout.rowHeight * 0.36);
    }
    ctx.stroke();
    ctx.globalAlpha = 1;
  }

  drawDot(i, colour, radius) {
    const { surface } = this.picture, { x, y } = this.point(i);
    surface.ctx.fillStyle = colour;
    surface.ctx.beginPath();
    surface.ctx.arc(x, y, radius, 0, 6.2832);
    surface.ctx.fill();
  }

  /** Numbered like the steps in the panel; neighbours that would cover each other share a badge. */
  drawStory() {
    const { model, surface, theme, state, layout } = this.picture, { ctx } = surface;
    this.badges = [];
    const placed = model.steps.map((step, n) => ({ step, n })).filter(({ step }) => step.entry !== null && layout.rowOf[model.lane[step.entry]] >= 0)
      .map(({ step, n }) => ({ ...this.point(step.entry), step, n }));
    if (placed.length === 0) return;
    ctx.globalAlpha = state.selected === NONE ? 0.85 : 0.18;
    ctx.strokeStyle = theme.accent;
    for (let k = 1; k < placed.length; k++) {
      // Solid where the one led to the other, dotted where it only came before.
      const isCause = this.led(placed[k - 1].step.entry, placed[k].step.entry);
      ctx.setLineDash(isCause ? [] : [1.5, 4]);
      ctx.lineWidth = isCause ? 2 : 1.4;
      ctx.beginPath();
      ctx.moveTo(placed[k - 1].x, placed[k - 1].y);
      ctx.lineTo(placed[k].x, placed[k].y);
      ctx.stroke();
    }
    ctx.setLineDash([]);
    ctx.globalAlpha = 1;
    // The failure has a sign of its own.
    const failing = placed.filter(({ step }) => step.kind === "failure");
    for (const badge of clustered(placed.filter(({ step }) => step.kind !== "failure"))) this.drawBadge(badge);
    for (const { x, y, n } of failing) this.badges.unshift({ x, y, steps: [n], w: 20 });
  }

  /** Whether one entry is among the causes of another. Asked once for each pair. */
  led(one, other) {
    const { model } = this.picture, key = `${one}>${other}`;
    if (!this.known.has(key)) this.known.set(key, model.ancestors(other).some(i => model.node[i] === model.node[one]));
    return this.known.get(key);
  }

  drawBadge(badge) {
    const { surface, theme, state } = this.picture, { ctx } = surface;
    const { steps } = badge, isRun = steps.every((n, k) => n === steps[0] + k);
    const label = steps.length > 1 && isRun ? `${steps[0] + 1}–${steps.at(-1) + 1}` : steps.map(n => n + 1).join("·");
    surface.font(10.5, 650);
    const w = Math.max(18, ctx.measureText(label).width + 10), isChosen = steps.includes(state.step);
    const colour = badge.isFault ? theme.alarm : theme.accent;
    surface.box(badge.x - w / 2 - 1.5, badge.y - 10.5, w + 3, 21, theme.paper, 11);
    surface.box(badge.x - w / 2, badge.y - 9, w, 18, colour, 9);
    if (!isChosen) surface.box(badge.x - w / 2 + 1.5, badge.y - 7.5, w - 3, 15, theme.paper, 8);
    surface.text(label, badge.x, badge.y + 0.5, isChosen ? theme.paper : colour, { align: "center" });
    this.badges.push({ ...badge, w });
  }

  drawFailure() {
    const { model, surface, theme } = this.picture;
    if (!model.failure || model.failure.entry === null) return;
    const { x, y } = this.point(model.failure.entry);
    surface.ctx.fillStyle = theme.paper;
    ICONS.stop(surface.ctx, x, y, 11);
    surface.ctx.fillStyle = theme.alarm;
    ICONS.stop(surface.ctx, x, y, 9);
    surface.font(11, 700);
    surface.text("!", x, y + 0.5, theme.paper, { align: "center" });
  }

  /** Names above the axis, as long as they do not cover each other; the failure's is always there. */
  drawFlags() {
    const { surface, theme, view, model } = this.picture;
    const taken = [];
    if (model.failure) {
      const x = this.failureX();
      if (x >= GUTTER && x <= surface.w) taken.push(this.drawFailureFlag(x));
    }
    const inSight = this.flags.map(flag => ({ ...flag, x: view.xOf(flag.entry) })).filter(({ x }) => x >= GUTTER && x <= surface.w);
    surface.font(11, 500);
    inSight.forEach((flag, k) => {
      const { ctx } = surface;
      const limit = Math.min(...taken.filter(([from]) => from > flag.x).map(([from]) => from), surface.w, k + 1 < inSight.length ? inSight[k + 1].x : Infinity);
      if (taken.some(([from, to]) => flag.x > from - 8 && flag.x < to)) return;
      const colour = flag.isGood ? theme.soft : theme.alarm;
      ctx.fillStyle = ctx.strokeStyle = colour;
      ICONS[iconFor(flag.label)](ctx, flag.x, 14, 5.5);
      surface.line(flag.x, 22, flag.x, 28, colour);
      const w = surface.text(flag.label, flag.x + 10, 14.5, colour, { width: Math.min(260, limit - flag.x - 26) });
      taken.push([flag.x - 8, flag.x + 14 + w]);
    });
    surface.box(0, 0, GUTTER - 1, 26, theme.paper);
    surface.font(11, 500);
    surface.text("disturbances", 14, 14.5, theme.faint);
  }

  drawFailureFlag(x) {
    const { surface, theme, model } = this.picture, label = model.failure.invariant;
    surface.font(11, 650);
    const w = surface.ctx.measureText(label).width + 16, left = Math.min(Math.max(GUTTER + 2, x - w / 2), surface.w - w - 4);
    surface.box(left, 5, w, 19, theme.alarm, 5);
    surface.text(label, left + 8, 15, theme.paper);
    surface.line(x, 24, x, AXIS, theme.alarm, 1.5);
    return [left - 4, left + w + 4];
  }

  /** The story's step whose badge is at a point. */
  stepAt(x, y) {
    const badge = this.badges.find(badge => Math.abs(badge.x - x) <= badge.w / 2 + 1 && Math.abs(badge.y - y) <= 10);
    return badge ? badge.steps[0] : NONE;
  }
}

/** Steps whose badges would overlap, joined. */
function clustered(placed) {
  const found = [];
  for (const { x, y, step, n } of placed) {
    const isFault = step.kind !== "step";
    const near = found.find(badge => Math.abs(badge.y - y) < 15 && Math.abs(badge.x - x) < 14 + 5 * badge.steps.length);
    if (near) {
      near.x = (near.x * near.steps.length + x) / (near.steps.length + 1);
      near.steps.push(n);
      near.isFault ||= isFault;
    } else {
      found.push({ x, y, steps: [n], isFault });
    }
  }
  return found;
}

/** What was done to whole processes: by the nemesis, or by nobody that it names. */
function disturbances(model) {
  const found = [];
  for (let i = 0; i < model.count; i++) {
    const lane = model.laneOf(i), label = plain(model.textOf(i)), isGood = iconFor(label) === "diamond";
    if (lane.owner === "nemesis" && (model.kind[i] === FAULT || isGood)) found.push({ entry: i, label, isGood });
    if (lane.owner !== "process" || model.kind[i] !== FAULT) continue;
    const cause = model.cause[i];
    if (cause === NONE || model.laneOf(cause).owner !== "nemesis" || model.kind[cause] !== FAULT) found.push({ entry: i, label: `${lane.process} ${label}`, isGood });
  }
  return found;
}
