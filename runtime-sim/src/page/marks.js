// Events and the lines between them. Where many share a pixel they become one bar whose height says how many.

const SPARSE = 420;

class Marks {
  constructor(picture) {
    this.picture = picture;
    this.columns = new Map();
  }

  draw() {
    const { view, surface } = this.picture;
    const from = lowerBound(view.positions, view.positionAt(GUTTER - 12));
    const to = lowerBound(view.positions, view.positionAt(surface.w + 12));
    const { ctx } = surface;
    ctx.save();
    ctx.beginPath();
    ctx.rect(GUTTER, AXIS, surface.w - GUTTER, surface.h - AXIS);
    ctx.clip();
    this.drawLinks(from, to);
    this.drawNodes(from, to);
    this.drawFaults(from, to);
    ctx.restore();
    this.shown = to - from;
  }

  drawLinks(from, to) {
    const { model, view, layout, state, theme, surface } = this.picture;
    const rows = layout.rows.length;
    const last = new Float32Array(rows * rows).fill(-1e9);
    const strokes = Array.from({ length: 8 }, () => []);
    // Where there are far too many to tell apart, fewer say the same.
    const apart = Math.max(0.8, Math.min(3, (to - from) / 4000));
    let count = 0;
    const add = (cause, i) => {
      if (state.dimmed && (state.dimmed[model.node[i]] || state.dimmed[model.node[cause]])) return;
      const a = layout.rowOf[model.lane[cause]], b = layout.rowOf[model.lane[i]];
      if (a < 0 || b < 0) return;
      const x2 = view.xOf(i), key = a * rows + b;
      if (x2 - last[key] < apart) return;
      const x1 = view.xOf(cause);
      if (a === b && x2 - x1 < 6) return;
      last[key] = x2;
      strokes[layout.hue[model.lane[cause]]].push(x1, this.picture.laneY(model.lane[cause]), x2, this.picture.laneY(model.lane[i]));
      count++;
    };
    for (let i = from; i < to; i++) {
      if (model.node[i] === i) for (const cause of model.causesOf(i)) add(cause, i);
      // Consequences are in order: only those of an entry whose last one is out of sight are looked at.
      const end = model.childEnd[i + 1];
      if (end === model.childEnd[i] || model.child[end - 1] < to) continue;
      for (const child of model.consequences(i)) if (child >= to && model.node[child] === child) add(i, child);
    }
    const dim = state.selected === NONE ? 1 : 0.45;
    surface.ctx.globalAlpha = Math.max(0.07, Math.min(0.5, 0.5 * Math.sqrt(300 / (count + 1)))) * dim;
    strokes.forEach((lines, hue) => this.strokeLinks(lines, theme.hues[hue], count < SPARSE));
    surface.ctx.globalAlpha = 1;
  }

  strokeLinks(lines, colour, hasHeads) {
    if (lines.length === 0) return;
    const { ctx } = this.picture.surface, sag = this.picture.layout.rowHeight * 0.36;
    ctx.strokeStyle = ctx.fillStyle = colour;
    ctx.lineWidth = 1.1;
    ctx.beginPath();
    for (let n = 0; n < lines.length; n += 4) traceLink(ctx, lines[n], lines[n + 1], lines[n + 2], lines[n + 3], sag);
    ctx.stroke();
    if (!hasHeads) return;
    ctx.beginPath();
    for (let n = 0; n < lines.length; n += 4) traceHead(ctx, lines[n], lines[n + 1], lines[n + 2], lines[n + 3]);
    ctx.fill();
  }

  /** Counts nodes by lane and pixel, then draws dots and bars. */
  drawNodes(from, to) {
    const { model, view, state, layout } = this.picture;
    const { positions, scale } = view, origin = GUTTER - view.from * scale;
    this.columns.clear();
    for (let i = from; i < to; i++) {
      if (model.node[i] !== i || model.kind[i] === FAULT) continue;
      const lane = model.lane[i];
      if (layout.rowOf[lane] < 0) continue;
      const isDim = state.dimmed && state.dimmed[i] ? 1 : 0, key = lane * 2 + isDim;
      let column = this.columns.get(key);
      if (!column) this.columns.set(key, column = { x: [], n: [], first: [] });
      const x = Math.round(origin + positions[i] * scale), end = column.x.length - 1;
      if (end >= 0 && column.x[end] >= x) column.n[end]++;
      else { column.x.push(x); column.n.push(1); column.first.push(i); }
    }
    const isRoomy = to - from < 1500;
    for (const [key, column] of this.columns) this.drawColumn(key >> 1, (key & 1) === 1, column);
    if (isRoomy) this.drawLabels();
  }

  drawColumn(lane, isDim, { x, n }) {
    const { picture } = this, { surface, layout, theme } = picture;
    const { ctx } = surface, y = picture.laneY(lane);
    if (y < AXIS - 10 || y > surface.h + 10) return;
    const row = layout.rows[layout.rowOf[lane]];
    const most = row.isFolded ? 12 : row.h * 0.62, radius = row.isFolded ? 2.2 : 3;
    ctx.fillStyle = theme.hues[layout.hue[lane]];
    ctx.globalAlpha = isDim ? 0.13 : picture.state.selected === NONE ? 0.95 : 0.62;
    ctx.beginPath();
    for (let k = 0; k < x.length; k++) {
      const isAlone = n[k] === 1 && (k === 0 || x[k] - x[k - 1] > 3) && (k + 1 === x.length || x[k + 1] - x[k] > 3);
      if (isAlone) {
        ctx.moveTo(x[k] + radius, y);
        ctx.arc(x[k], y, radius, 0, 6.2832);
      } else {
        const h = Math.min(most, 4 + 3 * Math.log2(1 + n[k]));
        // Not part of the path: thousands of rectangles in one are slow to fill.
        ctx.fillRect(x[k] - 1, Math.round(y - h / 2), 2, Math.round(h));
      }
    }
    ctx.fill();
    ctx.globalAlpha = 1;
  }

  /** What happened, where there is room before the next event of the row. */
  drawLabels() {
    const { surface, theme, model, layout, highlights } = this.picture, rows = new Map();
    for (const [key, { x, first }] of this.columns) {
      const row = layout.rowOf[model.lane[first[0]]];
      if ((key & 1) === 1 || layout.rows[row].isFolded) continue;
      if (!rows.has(row)) rows.set(row, []);
      x.forEach((x, k) => rows.get(row).push({ x, entry: first[k] }));
    }
    surface.font(10, 400, MONO);
    for (const events of rows.values()) {
      events.sort((a, b) => a.x - b.x);
      events.forEach(({ x, entry }, k) => {
        const indent = highlights.told.has(entry) ? 13 : 6;
        const room = Math.min((k + 1 < events.length ? events[k + 1].x : surface.w) - x - indent - 8, 210);
        if (room > 40 && x > GUTTER - 4) surface.text(plain(model.wordsOf(entry)), x + indent, this.picture.laneY(model.lane[entry]) - 8, theme.faint, { width: room });
      });
    }
  }

  /** Faults on the lanes that they hit, as bolts. */
  drawFaults(from, to) {
    const { model, view, layout, surface, theme, state } = this.picture;
    const last = new Float32Array(layout.rows.length).fill(-1e9);
    for (let i = from; i < to; i++) {
      if (model.kind[i] !== FAULT || model.node[i] !== i) continue;
      const row = layout.rowOf[model.lane[i]], x = view.xOf(i), y = this.picture.laneY(model.lane[i]);
      if (row < 0 || x - last[row] < 7) continue;
      last[row] = x;
      surface.ctx.globalAlpha = state.dimmed && state.dimmed[i] ? 0.2 : 1;
      surface.ctx.fillStyle = theme.paper;
      surface.ctx.beginPath();
      surface.ctx.arc(x, y, 7, 0, 6.2832);
      surface.ctx.fill();
      surface.ctx.fillStyle = surface.ctx.strokeStyle = theme.alarm;
      ICONS[iconFor(model.textOf(i))](surface.ctx, x, y, 6);
    }
    surface.ctx.globalAlpha = 1;
  }
}

/** A line between lanes, or an arc below its own. */
function traceLink(ctx, x1, y1, x2, y2, sag) {
  ctx.moveTo(x1, y1);
  if (Math.abs(y1 - y2) > 0.5) { ctx.lineTo(x2, y2); return; }
  const depth = Math.min(sag, 3 + (x2 - x1) * 0.1), shoulder = Math.min(28, (x2 - x1) * 0.35);
  ctx.bezierCurveTo(x1 + shoulder * 0.5, y1 + depth, x1 + shoulder, y1 + depth, x1 + shoulder + 1, y1 + depth);
  ctx.lineTo(x2 - shoulder - 1, y2 + depth);
  ctx.bezierCurveTo(x2 - shoulder, y2 + depth, x2 - shoulder * 0.5, y2 + depth, x2, y2);
}

function traceHead(ctx, x1, y1, x2, y2) {
  const dx = x2 - x1, dy = y2 - y1, length = Math.hypot(dx, dy);
  if (Math.abs(dy) < 0.5 || length < 22) return;
  const ux = dx / length, uy = dy / length, tipX = x2 - ux * 3.4, tipY = y2 - uy * 3.4;
  ctx.moveTo(tipX, tipY);
  ctx.lineTo(tipX - ux * 6.5 - uy * 2.6, tipY - uy * 6.5 + ux * 2.6);
  ctx.lineTo(tipX - ux * 6.5 + uy * 2.6, tipY - uy * 6.5 - ux * 2.6);
  ctx.closePath();
}
