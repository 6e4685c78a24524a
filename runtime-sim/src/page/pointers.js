// What the pointer does: drag to move, wheel to zoom, click to select, hover to read.

const STILL = 4;

function connectPointers(app) {
  connectPicture(app);
  connectCurves(app);
  connectOverview(app);
  connectSplitter(app);
}

function connectPicture(app) {
  const { canvas } = app.picture.surface;
  canvas.addEventListener("wheel", event => wheel(app, event, app.picture), { passive: false });
  dragged(canvas, {
    move: (dx, dy) => { app.picture.scroll -= dy; app.pan(-dx); hideTip(); },
    click: event => click(app, event.offsetX, event.offsetY),
    hover: event => hover(app, event),
  });
  canvas.addEventListener("pointerleave", () => { app.state.pointer = null; hideTip(); app.redraw(); });
  canvas.addEventListener("dblclick", event => app.zoom(0.3, event.offsetX));
}

function wheel(app, event, part) {
  event.preventDefault();
  const step = event.deltaMode === 1 ? 30 : 1, dy = event.deltaY * step, dx = event.deltaX * step;
  if (event.offsetX < GUTTER) { part.scroll += dy; app.redraw(); }
  else if (event.shiftKey || Math.abs(dx) > Math.abs(dy)) app.pan(dx || dy);
  else app.zoom(Math.exp(Math.max(-120, Math.min(120, dy)) * 0.0022), event.offsetX);
}

function click(app, x, y) {
  const { picture, state } = app, step = picture.highlights.stepAt(x, y);
  if (step !== NONE) { app.panel.show("story"); app.goToStep(step); return; }
  const flag = y < 26 ? picture.highlights.flags.find(flag => Math.abs(app.view.xOf(flag.entry) - x) < 9) : undefined;
  if (flag) { app.select(flag.entry); return; }
  const { row, node } = picture.at(x, y);
  if (x < GUTTER && row && row.canFold) { state.layout.toggle(row); app.redraw(); return; }
  app.select(node);
}

function hover(app, event) {
  const { state, picture, model } = app, { offsetX: x, offsetY: y } = event;
  state.pointer = x;
  const { row, node } = picture.at(x, y);
  picture.surface.canvas.style.cursor = node !== NONE || (x < GUTTER && row && row.canFold) ? "pointer" : x < GUTTER ? "default" : "grab";
  if (node === NONE) hideTip();
  else showTip(event, `${model.nameOf(node)}  ·  ${seconds(model.at[node], 6)}  ·  event ${grouped(model.event[node])}`, model.wordsOf(node));
  app.curves.draw();
}

function showTip(event, who, what) {
  const tip = document.getElementById("tip");
  tip.replaceChildren(make("div", { class: "who" }, who), make("div", { class: "mono" }, what.slice(0, 600)));
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.min(event.clientX + 14, window.innerWidth - width - 8)}px`;
  tip.style.top = `${event.clientY + 18 + height > window.innerHeight ? event.clientY - height - 12 : event.clientY + 18}px`;
}

function hideTip() { document.getElementById("tip").hidden = true; }

function connectCurves(app) {
  const { canvas } = app.curves.surface;
  canvas.addEventListener("wheel", event => wheel(app, event, app.curves), { passive: false });
  dragged(canvas, {
    move: (dx, dy) => { app.curves.scroll -= dy; app.pan(-dx); },
    click: event => {
      const strip = event.offsetX < GUTTER ? app.curves.stripAt(event.offsetY) : undefined;
      if (strip) { strip.isOpen = !strip.isOpen; app.redraw(); }
    },
    hover: event => { app.state.pointer = event.offsetX; app.curves.draw(); },
  });
  canvas.addEventListener("pointerleave", () => { app.state.pointer = null; app.redraw(); });
}

function connectOverview(app) {
  const go = event => {
    const middle = app.overview.positionAt(event.offsetX), half = (app.view.to - app.view.from) / 2;
    app.view.show(middle - half, middle + half);
    app.redraw();
  };
  app.overview.surface.canvas.addEventListener("wheel", event => { event.preventDefault(); app.zoom(Math.exp(event.deltaY * 0.0022)); }, { passive: false });
  dragged(app.overview.surface.canvas, { move: (dx, dy, event) => go(event), click: go, hover: () => {} });
}

function connectSplitter(app) {
  const below = document.getElementById("below");
  dragged(document.getElementById("splitter"), {
    move: (dx, dy) => { below.style.height = `${Math.max(30, below.clientHeight - dy)}px`; app.redraw(); },
    click: () => {}, hover: () => {},
  });
}

/** Tells drags from clicks and from a pointer that only passes. */
function dragged(element, { move, click, hover }) {
  let last = null, moved = 0;
  element.addEventListener("pointerdown", event => {
    if (event.button !== 0) return;
    last = { x: event.clientX, y: event.clientY };
    moved = 0;
    element.setPointerCapture(event.pointerId);
  });
  element.addEventListener("pointermove", event => {
    if (!last) { hover(event); return; }
    const dx = event.clientX - last.x, dy = event.clientY - last.y;
    moved += Math.abs(dx) + Math.abs(dy);
    if (moved < STILL) return;
    move(dx, dy, event);
    last = { x: event.clientX, y: event.clientY };
  });
  element.addEventListener("pointerup", event => {
    if (last && moved < STILL) click(event);
    last = null;
  });
  element.addEventListener("pointercancel", () => { last = null; });
}
