// What all drawing shares: colours from the style sheet, sharp canvases, texts that fit.

const COLOURS = ["paper", "chrome", "raised", "stripe", "rule", "grid", "ink", "soft", "faint", "lane", "hatch", "accent",
  "accent-soft", "after", "alarm", "alarm-soft", "found", "band-a", "band-b",
  "hue-0", "hue-1", "hue-2", "hue-3", "hue-4", "hue-5", "hue-6", "hue-7"];
const SANS = '"Inter","SF Pro Text","Segoe UI","Helvetica Neue",Arial,sans-serif';
const MONO = 'ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace';

/** The style sheet's colours as they are now, for a canvas. */
function readTheme() {
  const probe = document.createElement("i");
  document.body.append(probe);
  const theme = {};
  for (const name of COLOURS) {
    probe.style.color = `var(--${name})`;
    theme[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  theme.hues = Array.from({ length: 8 }, (_, n) => theme[`hue-${n}`]);
  return theme;
}

/** A canvas that is as sharp as the screen. */
class Surface {
  constructor(canvas) {
    this.canvas = canvas;
    this.ctx = canvas.getContext("2d");
    this.fits = new Map();
  }

  /** Clears it and takes on its box's size. Coordinates are CSS pixels. */
  begin(theme) {
    const ratio = window.devicePixelRatio || 1, { clientWidth: w, clientHeight: h } = this.canvas;
    if (this.canvas.width !== Math.round(w * ratio) || this.canvas.height !== Math.round(h * ratio)) {
      this.canvas.width = Math.round(w * ratio);
      this.canvas.height = Math.round(h * ratio);
    }
    this.w = w;
    this.h = h;
    this.ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.ctx.globalAlpha = 1;
    this.ctx.setLineDash([]);
    this.ctx.fillStyle = theme.paper;
    this.ctx.fillRect(0, 0, w, h);
  }

  line(x1, y1, x2, y2, colour, width = 1) {
    const { ctx } = this;
    ctx.strokeStyle = colour;
    ctx.lineWidth = width;
    ctx.beginPath();
    ctx.moveTo(x1, y1);
    ctx.lineTo(x2, y2);
    ctx.stroke();
  }

  box(x, y, w, h, colour, radius = 0) {
    const { ctx } = this;
    ctx.fillStyle = colour;
    if (radius === 0) { ctx.fillRect(x, y, w, h); return; }
    ctx.beginPath();
    ctx.roundRect(x, y, w, h, Math.min(radius, w / 2, h / 2));
    ctx.fill();
  }

  font(size, weight = 400, family = SANS) { this.ctx.font = `${weight} ${size}px ${family}`; }

  /** Writes a text, shortened to a width. Returns how wide it became. */
  text(text, x, y, colour, { width = Infinity, align = "left" } = {}) {
    const { ctx } = this;
    const shown = width === Infinity ? text : this.fit(text, width);
    if (shown === "") return 0;
    ctx.fillStyle = colour;
    ctx.textAlign = align;
    ctx.textBaseline = "middle";
    ctx.fillText(shown, x, y);
    return width === Infinity ? ctx.measureText(shown).width : Math.min(width, ctx.measureText(shown).width);
  }

  /** As much of a text as a width takes; nothing, if that would be next to nothing. */
  fit(text, width) {
    const key = `${this.ctx.font}|${text}|${width | 0}`, known = this.fits.get(key);
    if (known !== undefined) return known;
    if (this.fits.size > 5000) this.fits.clear();
    let low = 0, high = Math.min(text.length, 200);
    if (this.ctx.measureText(text.slice(0, high)).width <= width && high === text.length) low = high;
    else {
      while (low < high) {
        const middle = (low + high + 1) >> 1;
        if (this.ctx.measureText(text.slice(0, middle) + "…").width <= width) low = middle; else high = middle - 1;
      }
    }
    const shown = low === text.length ? text : low < 3 ? "" : text.slice(0, low) + "…";
    this.fits.set(key, shown);
    return shown;
  }

  /** Slanted lines over a place where nothing lives. */
  hatch(x, y, w, h, theme) {
    if (w <= 0) return;
    const { ctx } = this, apart = 7;
    ctx.save();
    ctx.beginPath();
    ctx.rect(x, y, w, h);
    ctx.clip();
    ctx.strokeStyle = theme.hatch;
    ctx.lineWidth = 1;
    ctx.beginPath();
    for (let at = Math.floor((x - h) / apart) * apart; at < x + w; at += apart) {
      ctx.moveTo(at, y + h);
      ctx.lineTo(at + h, y);
    }
    ctx.stroke();
    ctx.restore();
  }
}

/** Small shapes, so that nothing is told by colour alone. */
const ICONS = {
  bolt(ctx, x, y, r) {
    ctx.beginPath();
    ctx.moveTo(x + r * 0.25, y - r);
    ctx.lineTo(x - r * 0.7, y + r * 0.2);
    ctx.lineTo(x - r * 0.05, y + r * 0.2);
    ctx.lineTo(x - r * 0.25, y + r);
    ctx.lineTo(x + r * 0.7, y - r * 0.25);
    ctx.lineTo(x + r * 0.05, y - r * 0.25);
    ctx.closePath();
    ctx.fill();
  },
  cross(ctx, x, y, r) {
    ctx.lineWidth = r * 0.5;
    ctx.lineCap = "round";
    ctx.beginPath();
    ctx.moveTo(x - r * 0.7, y - r * 0.7); ctx.lineTo(x + r * 0.7, y + r * 0.7);
    ctx.moveTo(x + r * 0.7, y - r * 0.7); ctx.lineTo(x - r * 0.7, y + r * 0.7);
    ctx.stroke();
    ctx.lineCap = "butt";
  },
  stop(ctx, x, y, r) {
    ctx.beginPath();
    for (let n = 0; n < 8; n++) {
      const angle = Math.PI / 8 + n * Math.PI / 4;
      ctx.lineTo(x + r * Math.cos(angle), y + r * Math.sin(angle));
    }
    ctx.closePath();
    ctx.fill();
  },
  diamond(ctx, x, y, r) {
    ctx.beginPath();
    ctx.moveTo(x, y - r); ctx.lineTo(x + r, y); ctx.lineTo(x, y + r); ctx.lineTo(x - r, y);
    ctx.closePath();
    ctx.fill();
  },
};

/** Which shape says what a disturbance is. */
function iconFor(text) {
  if (/kill|crash|died|halt|poison/i.test(text)) return "cross";
  if (/heal|mend|start|resum|restor|\bend/i.test(text)) return "diamond";
  return "bolt";
}

/** What a quoted Debug text says, in few words: `"Kill { down: 3ms }"` is Kill down 3ms. */
function plain(text) { return text.replace(/^"(.*)"$/s, "$1").replace(/\\"/g, '"').replace(/[{}]/g, " ").replace(/(\w):\s/g, "$1 ").replace(/\s+/g, " ").trim(); }
