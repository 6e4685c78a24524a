// The panel beside the picture: the story in words, one event in full, the plan.

const MOST_LINKS = 12;

class Panel {
  constructor(state, actions) {
    this.state = state;
    this.actions = actions;
    this.sheets = ["story", "event", "plan"];
    for (const name of this.sheets) document.getElementById(`tab-${name}`).addEventListener("click", () => this.show(name));
    this.fillStory();
    this.fillPlan();
    this.fillEvent();
    this.show("story");
  }

  show(name) {
    this.shown = name;
    for (const sheet of this.sheets) {
      document.getElementById(sheet).hidden = sheet !== name;
      document.getElementById(`tab-${sheet}`).setAttribute("aria-selected", String(sheet === name));
    }
  }

  fillStory() {
    const { model } = this.state, sheet = document.getElementById("story"), { failure } = model;
    sheet.append(make("h2", {}, failure ? "How it came to this" : model.steps.length > 0 ? "What was done to it" : "Nothing was done to it"));
    if (failure) sheet.append(make("p", {}, `The shortest chain of events that leads to ${failure.invariant}. The numbers are in the picture, too.`));
    const list = make("ol", { class: "steps" });
    model.steps.forEach((step, n) => list.append(this.stepItem(step, n)));
    sheet.append(list);
    if (model.head.glossary.length === 0 || model.steps.length === 0) return;
    sheet.append(make("h3", {}, "Who and what"),
      make("dl", { class: "glossary" }, ...model.head.glossary.flatMap(([term, meaning]) => [make("dt", {}, term), make("dd", {}, meaning)])));
  }

  stepItem(step, n) {
    const isLost = step.entry === null;
    const item = make("li", { class: `${step.kind}${isLost ? " lost" : ""}`, "data-number": n + 1, "data-step": n },
      make("div", { class: "step-head" }, make("b", {}, step.who), make("span", {}, seconds(step.at, 6))),
      make("div", { class: "words" }, step.words));
    if (!isLost) item.addEventListener("click", () => this.actions.goToStep(n));
    return item;
  }

  markStep(chosen) {
    for (const item of document.querySelectorAll("ol.steps li")) {
      const isChosen = Number(item.dataset.step) === chosen;
      item.classList.toggle("chosen", isChosen);
      if (isChosen) item.scrollIntoView({ block: "nearest" });
    }
  }

  fillPlan() {
    const { head } = this.state.model, sheet = document.getElementById("plan");
    sheet.append(make("h2", {}, "The plan"), make("p", {}, "Everything that was drawn before the run began. Edit it and run it again."),
      ...(head.command === "" ? [] : [make("pre", { class: "whole" }, head.command)]), make("h3", {}, "Its text"), make("pre", { class: "whole" }, head.plan || "(none)"));
  }

  fillEvent() {
    const { state } = this, sheet = document.getElementById("event");
    sheet.replaceChildren();
    if (state.selected === NONE) {
      sheet.append(make("p", {}, "Click an event to see what it was, what caused it, and what it led to."));
      return;
    }
    const { model } = state, node = model.node[state.selected], parts = model.partsOf(node);
    sheet.append(make("h2", {}, model.nameOf(node)),
      make("p", {}, `${seconds(model.at[node], 9)}  ·  event ${grouped(model.event[node])}`));
    sheet.append(this.tagList(parts));
    parts.slice(0, 30).forEach(part => sheet.append(this.partOf(part, parts.length > 1 && part === state.selected)));
    if (parts.length > 30) sheet.append(make("p", {}, `and ${parts.length - 30} more effects`));
    this.addLinks(sheet, "Cause", model.causesOf(node), "None: a timer, the beginning, or a disturbance.");
    const birth = model.ancestors(node).at(-1);
    if (birth !== undefined && birth !== model.cause[node]) this.addLinks(sheet, "Where it began", [birth]);
    const consequences = parts.flatMap(part => [...model.consequences(part)]).filter(i => model.node[i] !== node);
    this.addLinks(sheet, "Consequences", consequences, "None was recorded.");
  }

  partOf(part, isChosen) {
    const { model } = this.state, kind = KINDS[model.kind[part]];
    return make("div", { class: `part${isChosen ? " chosen" : ""}` },
      make("h3", { class: `kind ${kind}` }, kind), model.hasWords(part) ? make("p", { class: "said" }, model.wordsOf(part)) : null,
      coloured(pretty(model.textOf(part))));
  }

  tagList(parts) {
    const { model } = this.state, seen = new Map();
    for (const part of parts) for (const [words, tag] of filtersOf(model.tagsOf(part))) seen.set(words, tag);
    const list = make("div", { class: "tags" });
    for (const [words, tag] of seen) {
      list.append(make("button", { title: `Show only what is about it: ${words}`, onclick: () => this.actions.setFilter(words) },
        make("i", {}, `${tag.key} `), String(tag.value)));
    }
    return list;
  }

  addLinks(sheet, title, entries, none = null) {
    if (entries.length === 0 && none === null) return;
    sheet.append(make("h3", {}, entries.length > 1 ? `${title} (${grouped(entries.length)})` : title));
    if (entries.length === 0) { sheet.append(make("p", {}, none)); return; }
    const links = make("div", { class: "links" });
    for (const entry of entries.slice(0, MOST_LINKS)) links.append(this.link(entry));
    sheet.append(links);
    if (entries.length > MOST_LINKS) sheet.append(make("p", {}, `and ${grouped(entries.length - MOST_LINKS)} more`));
  }

  link(entry) {
    const { model, selected } = this.state, apart = model.at[entry] - model.at[model.node[selected]];
    const when = apart === 0 ? "at once" : apart < 0 ? `${duration(-apart)} before` : `${duration(apart)} later`;
    return make("button", { "data-entry": entry, onclick: () => this.actions.select(entry) },
      make("div", { class: "who" }, make("span", {}, model.nameOf(entry)), make("span", {}, when)),
      make("div", { class: "what" }, model.wordsOf(entry).slice(0, 200)));
  }
}

/** What filters each of an entry's tags: a request is one of its connection, as others have requests of that number. */
function filtersOf(tags) {
  const found = new Map();
  let connection = "";
  for (const tag of tags) {
    const words = `${tag.key}=${tag.value}`.replace(/\u2009/g, "");
    if (tag.key === "connection") connection = `${words} `;
    found.set(tag.key === "request" ? connection + words : words, tag);
  }
  return found;
}
