// The whole run in one strip: how busy it was, what was done to it, and which part is in view.

class Overview {
  constructor(canvas, state) {
    this.surface = new Surface(canvas);
    this.state = state;
  }

  x(position) { const { view } = this.state; return GUTTER + (position - view.begin) / (view.end - view.begin) * (this.surface.w - GUTTER - 12); }
  positionAt(x) { const { view } = this.state; return view.begin + (x - GUTTER) / (this.surface.w - GUTTER - 12) * (view.end - view.begin); }

  draw() {
    const { surface, state } = this, { theme, view, model } = state;
    surface.begin(theme);
    const bins = this.busyness(), base = surface.h - 5, most = Math.max(1, ...bins);
    surface.ctx.fillStyle = mix(theme.soft, 0.45);
    bins.forEach((n, k) => { if (n > 0) { const h = 2 + 22 * Math.sqrt(n / most); surface.ctx.fillRect(GUTTER + k * 3, base - h, 2, h); } });
    surface.ctx.fillStyle = theme.found;
    for (const i of state.matches) surface.ctx.fillRect(this.x(view.positions[i]) - 0.5, base - 6, 1.5, 8);
    for (const flag of state.picture.highlights.flags) if (!flag.isGood) surface.box(this.x(view.positions[flag.entry]) - 1, 5, 2, surface.h - 10, mix(theme.alarm, 0.6));
    if (model.failure) {
      const x = this.x(view.positionOfTime(model.failure.at));
      surface.line(x, 3, x, surface.h - 3, theme.alarm, 2);
      surface.ctx.fillStyle = theme.alarm;
      ICONS.stop(surface.ctx, x, 8, 5);
    }
    const left = Math.max(GUTTER, this.x(view.from)), right = Math.min(surface.w - 2, this.x(view.to));
    surface.box(GUTTER, 0, Math.max(0, left - GUTTER), surface.h, mix(theme.chrome, 0.72));
    surface.box(right, 0, surface.w - right, surface.h, mix(theme.chrome, 0.72));
    surface.ctx.strokeStyle = theme.accent;
    surface.ctx.lineWidth = 1.2;
    surface.ctx.strokeRect(left + 0.5, 1.5, Math.max(3, right - left - 1), surface.h - 3);
    surface.font(11, 500);
    surface.text("whole run", 14, surface.h / 2, theme.faint);
  }

  /** Events by place. Counted once for each width and mode. */
  busyness() {
    const { view, model } = this.state, key = `${view.mode}${this.surface.w}`;
    if (this.key !== key) {
      this.key = key;
      this.bins = new Array(Math.max(1, Math.floor((this.surface.w - GUTTER - 12) / 3) + 1)).fill(0);
      for (let i = 0; i < model.count; i++) {
        const bin = Math.floor((this.x(view.positions[i]) - GUTTER) / 3);
        if (model.node[i] === i && bin >= 0 && bin < this.bins.length) this.bins[bin]++;
      }
    }
    return this.bins;
  }
}
