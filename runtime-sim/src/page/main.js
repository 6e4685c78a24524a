// Puts it together: the state, what keys and pointers do to it, and when it is drawn.

const KEYS = [
  ["w / s", "zoom in, out"], ["a / d, ← →", "move"], ["↑ ↓", "scroll the lanes"], ["f", "the whole run"], ["x", "to the failure"],
  ["c", "the whole story"], ["[ / ]", "to the cause, to the first consequence"], [", / .", "previous, next event of the lane"],
  ["e", "time or event numbers"], ["/", "search"], ["n / N", "next, previous match"], ["t", "light or dark"], ["Esc", "select nothing, end the search"],
  ["wheel", "zoom; with Shift, move; over the names, scroll"], ["drag", "move"],
];

class App {
  constructor(model) {
    const view = new View(model), layout = new Layout(model);
    this.search = new Search(model);
    this.state = { model, view, layout, theme: null, selected: NONE, step: NONE, matches: [], match: NONE, dimmed: null, pointer: null };
    const canvas = id => document.getElementById(id);
    this.picture = this.state.picture = new Picture(canvas("picture"), this.state);
    this.curves = new Curves(canvas("curves"), this.state);
    this.overview = new Overview(canvas("overview"), this.state);
    this.panel = new Panel(this.state, {
      select: entry => this.select(entry), goToStep: n => this.goToStep(n), setFilter: text => this.setFilter(text),
    });
    fillHeader(model);
    for (const id of ["below", "splitter"]) document.getElementById(id).classList.toggle("empty", this.curves.strips.length === 0);
    this.fitCurves();
    this.connect();
    this.setTheme(null);
  }

  get model() { return this.state.model; }
  get view() { return this.state.view; }

  fitCurves() {
    const most = window.innerHeight * 0.3;
    document.getElementById("below").style.height = `${Math.min(most, Math.max(40, this.curves.height))}px`;
  }

  /** Draws once before the next frame, however much has changed. */
  redraw() {
    if (this.isDue) return;
    this.isDue = true;
    requestAnimationFrame(() => this.drawNow());
  }

  drawNow() {
    this.isDue = false;
    this.picture.draw();
    this.curves.draw();
    this.overview.draw();
  }

  // What can be done

  select(entry, isQuiet = false) {
    const { state, model } = this;
    state.selected = entry;
    state.step = model.steps.findIndex(step => step.entry !== null && entry !== NONE && model.node[step.entry] === model.node[entry]);
    this.panel.markStep(state.step);
    if (entry !== NONE) {
      this.view.reveal(this.view.positions[entry]);
      this.scrollTo(model.lane[entry]);
    }
    this.panel.fillEvent();
    if (!isQuiet) this.panel.show(entry === NONE ? "story" : "event");
    this.redraw();
  }

  scrollTo(lane) {
    const { layout } = this.state, inside = layout.yOf[lane], height = this.picture.surface.h - AXIS;
    if (inside < this.picture.scroll + 20 || inside > this.picture.scroll + height - 30) this.picture.scroll = inside - height / 2;
  }

  goToStep(n) {
    const { entry } = this.model.steps[n];
    if (entry !== null) this.select(entry, true);
  }

  showStory() {
    const placed = this.storyPositions();
    if (placed.length === 0) { this.view.fit(); } else this.view.show(Math.min(...placed), Math.max(...placed), 0.08);
    this.select(NONE);
  }

  storyPositions() {
    return this.model.steps.filter(step => step.entry !== null).map(step => this.view.positions[step.entry]);
  }

  /** A failure is looked at from the beginning, unless its story is most of the run anyway. */
  open() {
    const placed = this.storyPositions(), span = Math.max(...placed) - Math.min(...placed);
    if (this.model.failure && placed.length > 0 && span < (this.view.end - this.view.begin) / 4) this.showStory();
  }

  showFailure() {
    const { failure } = this.model;
    if (!failure) return;
    const at = failure.entry === null ? this.view.positionOfTime(failure.at) : this.view.positions[failure.entry];
    const half = this.view.mode === "time" ? Math.min(5e6, (this.view.end - this.view.begin) / 2) : 40;
    this.view.show(at - half * 1.5, at + half * 0.5);
    if (failure.entry === null) this.redraw(); else this.select(failure.entry, true);
  }

  setMode(mode) {
    this.view.setMode(mode);
    for (const name of ["time", "events"]) document.getElementById(`mode-${name}`).setAttribute("aria-pressed", String(name === mode));
    this.redraw();
  }

  setTheme(wanted) {
    if (wanted) document.documentElement.dataset.theme = wanted;
    this.state.theme = readTheme();
    fillLegend(this.state.theme);
    this.redraw();
  }

  toggleTheme() {
    const isDark = getComputedStyle(document.documentElement).getPropertyValue("color-scheme").trim() === "dark" ||
      (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
    this.setTheme(isDark ? "light" : "dark");
  }

  setSearch(words) {
    const { state } = this;
    document.getElementById("search").value = words;
    state.matches = this.search.find(words);
    state.match = NONE;
    this.tellMatches(words);
    this.redraw();
  }

  tellMatches(words) {
    const { matches, match } = this.state;
    document.getElementById("found").textContent = words === "" ? "" : match === NONE ? grouped(matches.length) : `${grouped(match + 1)}/${grouped(matches.length)}`;
  }

  goToMatch(by) {
    const { state, view } = this, { matches } = state;
    if (matches.length === 0) return;
    if (state.match === NONE) {
      const middle = lowerBound(matches.map(i => view.positions[i]), (view.from + view.to) / 2);
      state.match = by > 0 ? middle % matches.length : (middle - 1 + matches.length) % matches.length;
    } else {
      state.match = (state.match + by + matches.length) % matches.length;
    }
    this.tellMatches(document.getElementById("search").value);
    this.select(matches[state.match]);
  }

  setFilter(text) {
    const { state } = this, field = document.getElementById("filter");
    field.value = text;
    const { dimmed, hidden, kept } = applyFilter(this.model, parseFilter(text));
    state.dimmed = dimmed;
    state.layout.hidden = hidden;
    state.layout.arrange();
    document.getElementById("kept").textContent = kept === null ? "" : `${grouped(kept)} events`;
    this.redraw();
  }

  /** The neighbour on the selected event's lane. */
  step(by) {
    const { state, model } = this;
    if (state.selected === NONE) return;
    for (let i = state.selected + by; i >= 0 && i < model.count; i += by) {
      if (model.lane[i] === model.lane[state.selected] && model.node[i] === i && i !== model.node[state.selected]) { this.select(i); return; }
    }
  }

  toCause() {
    const { state, model } = this, cause = state.selected === NONE ? NONE : model.cause[model.node[state.selected]];
    if (cause !== NONE) this.select(model.node[cause]);
  }

  toConsequence() {
    const { state, model } = this;
    if (state.selected === NONE) return;
    const next = model.partsOf(model.node[state.selected]).flatMap(part => [...model.consequences(part)]).find(i => model.node[i] !== model.node[state.selected]);
    if (next !== undefined) this.select(next);
  }

  zoom(factor, x = (this.picture.surface.w + GUTTER) / 2) { this.view.zoom(factor, x); this.redraw(); }
  pan(pixels) { this.view.pan(pixels); this.redraw(); }

  // How it is asked for

  connect() {
    const on = (id, event, act) => document.getElementById(id).addEventListener(event, act);
    on("mode-time", "click", () => this.setMode("time"));
    on("mode-events", "click", () => this.setMode("events"));
    on("zoom-in", "click", () => this.zoom(0.6));
    on("zoom-out", "click", () => this.zoom(1 / 0.6));
    on("fit", "click", () => { this.view.fit(); this.redraw(); });
    on("show-story", "click", () => this.showStory());
    on("show-failure", "click", () => this.showFailure());
    on("theme", "click", () => this.toggleTheme());
    on("help", "click", () => this.help());
    on("next", "click", () => this.goToMatch(1));
    on("previous", "click", () => this.goToMatch(-1));
    on("search", "input", event => this.setSearch(event.target.value));
    on("search", "keydown", event => { if (event.key === "Enter") this.goToMatch(event.shiftKey ? -1 : 1); });
    on("filter", "input", event => this.setFilter(event.target.value));
    on("message", "click", event => event.currentTarget.classList.toggle("open"));
    document.getElementById("filters").append(...proposals(this.model).map(value => make("option", { value })));
    document.getElementById("show-failure").hidden = !this.model.failure;
    window.addEventListener("keydown", event => this.key(event));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.setTheme(null));
    const observer = new ResizeObserver(() => this.redraw());
    for (const id of ["left", "stage", "below"]) observer.observe(document.getElementById(id));
    connectPointers(this);
  }

  key(event) {
    const isTyping = event.target instanceof HTMLInputElement;
    if (event.key === "Escape") {
      if (isTyping) event.target.blur();
      this.setSearch("");
      this.select(NONE);
      return;
    }
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    const scroll = by => { this.picture.scroll += by; this.redraw(); };
    const acts = {
      w: () => this.zoom(0.75), "+": () => this.zoom(0.75), "=": () => this.zoom(0.75), s: () => this.zoom(1 / 0.75), "-": () => this.zoom(1 / 0.75),
      a: () => this.pan(-120), ArrowLeft: () => this.pan(-120), d: () => this.pan(120), ArrowRight: () => this.pan(120),
      ArrowUp: () => scroll(-60), ArrowDown: () => scroll(60), f: () => { this.view.fit(); this.redraw(); },
      x: () => this.showFailure(), c: () => this.showStory(), e: () => this.setMode(this.view.mode === "time" ? "events" : "time"),
      t: () => this.toggleTheme(), n: () => this.goToMatch(1), N: () => this.goToMatch(-1), "?": () => this.help(),
      "/": () => document.getElementById("search").focus(), "[": () => this.toCause(), "]": () => this.toConsequence(),
      ",": () => this.step(-1), ".": () => this.step(1),
    };
    const act = acts[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  help() {
    const dialog = document.getElementById("keys");
    const list = make("dl");
    for (const [keys, what] of KEYS) list.append(make("dt", {}, make("kbd", {}, keys)), make("dd", {}, what));
    dialog.replaceChildren(make("h2", {}, "Keys"), list);
    dialog.addEventListener("click", () => dialog.close(), { once: true });
    dialog.showModal();
  }
}

/** `#mode=events&theme=dark&from=1&to=2&select=17&search=kill&filter=lane%3Dwal`: a view that can be sent to somebody. */
function readAddress(app) {
  const wanted = new URLSearchParams(location.hash.slice(1));
  if (wanted.has("theme")) app.setTheme(wanted.get("theme"));
  app.setMode(wanted.get("mode") === "events" ? "events" : "time");
  if (wanted.has("filter")) app.setFilter(wanted.get("filter"));
  if (wanted.has("search")) app.setSearch(wanted.get("search"));
  app.drawNow();
  app.open();
  if (wanted.get("at") === "failure") app.showFailure();
  if (wanted.get("at") === "story") app.showStory();
  if (wanted.has("from") && wanted.has("to")) app.view.show(Number(wanted.get("from")), Number(wanted.get("to")));
  if (wanted.has("select")) app.select(Math.min(Number(wanted.get("select")), app.model.count - 1));
  app.redraw();
  return wanted;
}

const begun = performance.now();
const app = new App(new Model(JSON.parse(document.getElementById("recording").textContent)));
const wanted = readAddress(app);
app.drawNow();
const loaded = performance.now();
if (wanted.has("selftest")) selfTest(app, { parsed: loaded - begun, loaded });
