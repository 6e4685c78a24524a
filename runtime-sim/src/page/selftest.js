// The page's checks of itself, for a headless browser: `#selftest` puts what they found into the document.

const errors = [];
window.addEventListener("error", event => errors.push(String(event.message)));

function selfTest(app, times) {
  const { model, state, view } = app, checks = {};
  const check = (name, act) => { try { checks[name] = act(); } catch (error) { checks[name] = `${error}`; } };
  const isEmpty = model.count === 0;
  check("has lanes", () => isEmpty || state.layout.rows.some(row => row.kind === "lane") && model.lanes.length > 0);
  const busy = busyProcesses(model);
  check("shows every lane", () => model.lanes.every((lane, id) => (state.layout.rowOf[id] >= 0) === busy.has(lane.process)));
  check("shows the whole story", () => model.steps.every(step => step.entry !== null && state.layout.rowOf[model.lane[step.entry]] >= 0));
  check("opens on the story", () => model.steps.length === 0 || model.failure === null || opensOnStory(app));
  check("causes come first", () => model.cause.every((cause, i) => cause < i));
  check("search finds it", () => {
    if (isEmpty) return true;
    const last = model.failure && model.failure.entry !== null ? model.failure.entry : model.count - 1;
    const word = model.textOf(last);
    app.setSearch(word);
    return state.matches.includes(model.node[last]) || word.trim() === "";
  });
  check("a match is selected", () => { app.goToMatch(1); return isEmpty || state.selected !== NONE; });
  check("a click shows details", () => isEmpty || clickOn(app, busiest(model)));
  check("a cause can be followed", () => followCause(app));
  check("both axes agree", () => {
    if (isEmpty) return true;
    const entry = model.count >> 1;
    return ["events", "time"].every(mode => { app.setMode(mode); app.view.fit(); app.drawNow(); return view.xOf(entry) >= GUTTER && view.xOf(entry) <= view.width; });
  });
  check("a request is found at both ends", () => requestAtBothEnds(app));
  check("a filter dims", () => {
    if (model.tags.length === 0) return true;
    const tag = model.tags[0];
    app.setFilter(`${tag.key}=${tag.name === null ? tag.low : tag.name}`);
    const some = state.dimmed !== null && state.dimmed.includes(0);
    app.setFilter("");
    return some && state.dimmed === null;
  });
  check("nothing became markup", () => document.querySelectorAll(".sheet script, .sheet img, header script, header img").length === 0);
  app.setSearch("");
  app.select(NONE);
  const isGood = errors.length === 0 && Object.values(checks).every(result => result === true);
  const result = { isGood, errors, checks, lanes: model.lanes.length, rows: state.layout.rows.length, entries: model.count,
    steps: model.steps.length, milliseconds: { ...rounded(times), ...frames(app) } };
  document.body.append(make("pre", { id: "selftest" }, JSON.stringify(result)));
}

/** The entry with most effects. */
function busiest(model) {
  let best = 0;
  for (let i = 0; i < model.count; i++) if (model.consequences(i).length > model.consequences(best).length && model.node[i] === i && model.kind[i] === INPUT) best = i;
  return best;
}

function clickOn(app, entry) {
  const { model, view, picture } = app;
  app.select(NONE);
  view.show(view.positions[entry] - view.least, view.positions[entry] + view.least);
  app.scrollTo(model.lane[entry]);
  app.drawNow();
  click(app, view.xOf(entry), picture.laneY(model.lane[entry]));
  const text = document.getElementById("event").textContent;
  // A step's number is in front of its event: it stays in the story.
  const isStep = model.steps.some(step => step.entry !== null && model.node[step.entry] === model.node[entry]);
  return app.state.selected !== NONE && (isStep || !document.getElementById("event").hidden) && text.includes("event ");
}

function followCause(app) {
  const { model, state } = app;
  const entry = model.cause.findIndex((cause, i) => cause !== NONE && model.node[i] === i);
  if (entry < 0) return true;
  app.select(entry);
  document.querySelector("#event .links button").click();
  return state.selected === model.cause[entry];
}

/** How long a frame takes, with everything in view and while moving about: the median of some, pixels included. */
function frames(app) {
  const { view, picture } = app;
  const one = act => {
    const from = performance.now();
    act();
    app.drawNow();
    picture.surface.ctx.getImageData(0, 0, 1, 1);
    return performance.now() - from;
  };
  const took = act => Array.from({ length: 15 }, () => one(act)).sort((a, b) => a - b)[7];
  view.fit();
  const whole = took(() => {});
  view.zoom(0.1, view.width / 2);
  const tenth = took(() => view.pan(15));
  view.zoom(0.02, view.width / 2);
  const near = took(() => view.pan(15));
  view.fit();
  app.drawNow();
  return rounded({ whole, tenth, near });
}

function rounded(times) { return Object.fromEntries(Object.entries(times).map(([name, value]) => [name, Math.round(value * 10) / 10])); }

/** What a filter by a request leaves is on the lanes of its client and of its server, or else it never arrived. */
function requestAtBothEnds(app) {
  const { model } = app;
  for (let i = 0; i < model.count; i++) {
    const words = [...filtersOf(model.tagsOf(i)).keys()].find(words => /^connection=\S+ request=/.test(words));
    if (words === undefined || model.kind[i] !== EFFECT || model.consequences(i).length === 0) continue;
    const { dimmed } = applyFilter(model, parseFilter(words));
    const lanes = new Set();
    for (let k = 0; k < model.count; k++) if (dimmed[k] === 0) lanes.add(model.laneOf(k).process);
    if (lanes.size < 2) return `${words} is of ${[...lanes]} only`;
    return true;
  }
  return true;
}

/** The first and the last step of a failure's story can be told apart when the page opens. */
function opensOnStory({ model, view }) {
  const all = model.steps.map(step => view.xOf(step.entry));
  return Math.min(...all) >= GUTTER && Math.max(...all) <= view.width && (new Set(model.steps.map(step => model.at[step.entry])).size === 1 || Math.max(...all) - Math.min(...all) > view.width / 8);
}
