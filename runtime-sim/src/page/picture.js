// The space-time picture: lanes from top to bottom, time from left to right.

class Picture {
  constructor(canvas, state) {
    this.surface = new Surface(canvas);
    this.state = state;
    this.scroll = 0;
    this.marks = new Marks(this);
    this.highlights = new Highlights(this);
  }

  get model() { return this.state.model; }
  get view() { return this.state.view; }
  get layout() { return this.state.layout; }
  get theme() { return this.state.theme; }

  /** Where a lane's line is on the canvas. */
  laneY(lane) { return this.layout.yOf[lane] + AXIS + 2 - this.scroll; }
  rowY(row) { return row.y + AXIS + 2 - this.scroll; }

  draw() {
    const { surface, view, theme, layout } = this;
    surface.begin(theme);
    view.width = surface.w;
    this.spread();
    this.scroll = Math.max(0, Math.min(this.scroll, layout.height + AXIS + 12 - surface.h));
    const ticks = view.ticks(view.mode === "time" ? 118 : 150);
    this.drawRows();
    for (const tick of ticks.found) surface.line(view.x(tick.position), AXIS, view.x(tick.position), surface.h, theme.grid);
    this.drawLives();
    this.drawBands();
    this.highlights.drawBehind();
    this.marks.draw();
    this.highlights.drawAbove();
    this.drawGutter();
    this.drawAxis(ticks);
    this.highlights.drawFlags();
  }

  /** Rows take the height that there is, within reason. */
  spread() {
    const { layout, surface } = this;
    const lanes = layout.rows.filter(row => row.kind === "lane").length;
    const rest = layout.height - lanes * layout.rowHeight;
    const fair = Math.floor((surface.h - AXIS - 12 - rest) / Math.max(1, lanes));
    const height = Math.max(19, Math.min(38, fair));
    if (height !== layout.rowHeight) {
      layout.rowHeight = height;
      layout.arrange();
    }
  }

  drawRows() {
    const { surface, theme, layout } = this;
    for (const group of layout.groups) {
      if (group.from === undefined || !group.heading) continue;
      surface.box(0, group.from + AXIS + 2 - this.scroll, surface.w, group.to - group.from, theme.stripe);
    }
  }

  /** A line while a lane lives, hatching where its process is dead. */
  drawLives() {
    const { surface, theme, layout, view } = this;
    for (const row of layout.rows) {
      const y = this.rowY(row);
      if (row.kind !== "lane" || y > surface.h || y + row.h < AXIS) continue;
      for (const life of row.group.lives) {
        const from = Math.max(GUTTER, view.xOfTime(life.from));
        const to = Math.min(surface.w, view.xOfTime(this.endOf(row.group, life)));
        if (to > from && !row.isFolded) surface.line(from, y + row.h / 2, to, y + row.h / 2, theme.lane);
        if (to > from && row.isFolded) surface.box(from, y + 5, to - from, row.h - 10, mix(theme.lane, 0.22), 4);
      }
      for (const [from, to] of this.deaths(row.group)) {
        const left = Math.max(GUTTER, view.xOfTime(from)), right = Math.min(surface.w, view.xOfTime(to));
        surface.hatch(left, y, right - left, row.h, theme);
      }
    }
  }

  /** A process that nobody followed lives on to the end, unless it was the world's wish that it did not. */
  endOf(group, life) {
    return group.lives.length > 1 || group.bands.length > 0 ? (life === group.last ? this.model.head.at : life.to) : life.to;
  }

  /** From an incarnation's last sign of life to the next one's first. */
  deaths(group) {
    const gaps = [];
    for (let n = 1; n < group.lives.length; n++) gaps.push([group.lives[n - 1].to, group.lives[n].from]);
    return gaps;
  }

  /** Incarnations, epochs, terms and phases in the headings. */
  drawBands() {
    const { surface, theme, layout } = this;
    for (const row of layout.rows) {
      const y = this.rowY(row);
      if (row.kind !== "heading" || y > surface.h || y + row.h < AXIS) continue;
      if (row.group.lives.length > 1 && row.group.bands.length === 0) {
        for (const life of row.group.lives) this.drawBand(y + 4, life.from, this.endOf(row.group, life), life.process, theme["band-a"]);
      }
      const shades = new Map();
      for (const band of row.group.bands) {
        const kind = band.label.replace(/\d+/g, ""), n = shades.get(kind) || 0;
        shades.set(kind, n + 1);
        const isBad = isOutage(band.label);
        const colour = isBad ? theme["alarm-soft"] : n % 2 === 0 ? theme["band-a"] : theme["band-b"];
        this.drawBand(y + 4 + band.row * 17, band.from, band.to, band.label, colour, isBad);
      }
    }
  }

  drawBand(y, from, to, label, colour, isBad = false) {
    const { surface, theme, view } = this;
    const left = Math.max(GUTTER - 4, view.xOfTime(from)), right = Math.min(surface.w + 4, view.xOfTime(to));
    if (right < GUTTER || left > surface.w) return;
    const width = Math.max(2, right - left - 1);
    surface.box(left, y, width, 15, colour, 4);
    surface.font(10.5, 500);
    surface.text(label, Math.max(left, GUTTER) + 6, y + 8, isBad ? theme.alarm : theme.soft, { width: right - Math.max(left, GUTTER) - 10 });
  }

  drawGutter() {
    const { surface, theme, layout } = this;
    surface.box(0, 0, GUTTER, surface.h, theme.paper);
    for (const group of layout.groups) {
      if (group.from !== undefined && group.heading) {
        surface.box(0, group.from + AXIS + 2 - this.scroll, GUTTER, group.to - group.from, theme.stripe);
      }
    }
    for (const row of layout.rows) {
      const y = this.rowY(row);
      if (y > surface.h || y + row.h < AXIS) continue;
      if (row.kind === "heading") {
        surface.font(11.5, 650);
        surface.text(row.label, 14, y + 12, theme.ink, { width: GUTTER - 20 });
        continue;
      }
      const colour = theme.hues[layout.hue[row.lanes[0]]], middle = y + row.h / 2;
      const indent = row.group.heading ? 22 : 14;
      surface.box(indent - 8, middle - 5, 3, 10, colour, 1.5);
      surface.font(12, row.group.heading ? 400 : 600);
      const width = surface.text(row.label, indent, middle, row.group.heading ? theme.soft : theme.ink, { width: GUTTER - indent - 34 });
      if (row.isFolded) {
        surface.font(10.5);
        surface.text(`×${row.many}`, indent + width + 5, middle, theme.faint);
      }
      if (row.canFold) {
        surface.font(10);
        surface.text(row.isFolded ? "▸" : "▾", GUTTER - 18, middle, theme.faint);
      }
    }
    surface.line(GUTTER - 0.5, 0, GUTTER - 0.5, surface.h, theme.rule);
  }

  drawAxis(ticks) {
    const { surface, theme, view } = this;
    surface.box(0, 0, surface.w, AXIS, theme.paper);
    surface.line(0, AXIS - 0.5, surface.w, AXIS - 0.5, theme.rule);
    surface.font(11);
    for (const tick of ticks.found) {
      const x = view.x(tick.position);
      if (x < GUTTER + 2) continue;
      surface.line(x, AXIS - 6, x, AXIS, theme.faint);
      const half = surface.ctx.measureText(tick.label).width / 2;
      if (x - half > GUTTER && x + half < surface.w) surface.text(tick.label, x, AXIS - 15, theme.soft, { align: "center" });
    }
    surface.box(0, AXIS - 26, GUTTER, 25, theme.paper);
    const shown = view.mode === "time" ? duration(view.to - view.from) : `${grouped(Math.round(view.to - view.from))} events`;
    surface.font(11, 500);
    surface.text(`${shown} in view`, 14, AXIS - 15, theme.faint);
  }

  /** What is under a point: the row, and the nearest node in it. */
  at(x, y) {
    const { layout, view, model, state } = this;
    const inside = y - AXIS - 2 + this.scroll;
    const row = y < AXIS ? undefined : layout.rows.find(row => inside >= row.y && inside < row.y + row.h);
    if (!row || row.kind !== "lane" || x < GUTTER) return { row, node: NONE };
    const from = lowerBound(view.positions, view.positionAt(x - 9)), to = lowerBound(view.positions, view.positionAt(x + 9));
    let best = NONE, nearest = 150;
    for (let i = from; i < to; i++) {
      if (model.node[i] !== i || layout.rowOf[model.lane[i]] < 0 || layout.rows[layout.rowOf[model.lane[i]]] !== row) continue;
      if (state.dimmed && state.dimmed[i]) continue;
      const distance = (view.xOf(i) - x) ** 2 + (this.laneY(model.lane[i]) - y) ** 2 - (model.kind[i] === FAULT ? 9 : 0);
      if (distance < nearest) { nearest = distance; best = i; }
    }
    return { row, node: best };
  }
}

function isOutage(label) { return /outage|down|paus|stall|partition|full|dead|crash/i.test(label); }

/** A colour of the theme, thinner. */
function mix(colour, alpha) { return colour.replace(/^rgb\((.*)\)$/, `rgba($1, ${alpha})`); }
