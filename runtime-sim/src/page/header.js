// The page's head: what ran, how it ended, how to run it again, and what the shapes mean.

function fillHeader(model) {
  const { head, failure } = model, put = (id, text) => { document.getElementById(id).textContent = text; };
  document.getElementById("badge").classList.toggle("failed", failure !== null);
  put("badge", failure ? failure.invariant : "passed");
  put("title", head.title);
  put("message", failure ? failure.message : "");
  document.getElementById("message").title = failure ? failure.message : "";
  const facts = document.getElementById("facts");
  const fact = (name, value) => facts.append(make("span", {}, `${name} `, make("b", {}, value)));
  if (failure) fact("failed", `${seconds(failure.at, 6)}, event ${grouped(failure.event)}, ${failure.process ? failure.process + "/" : ""}${failure.component}`);
  if (failure && failure.site) fact("at", failure.site);
  fact("events", grouped(head.events));
  fact("simulated", seconds(head.at, 3));
  fact("hash", head.hash);
  if (head.leftOut > 0) fact("not shown", `the first ${grouped(head.leftOut)} entries of ${grouped(head.leftOut + model.count)}`);
  if (head.command === "") return;
  const copy = make("button", { title: "Copy the command", onclick: () => copyText(head.command, copy) }, "copy");
  facts.append(make("span", {}, "again ", make("code", {}, head.command), copy));
}

/** Pages that are opened from disk may not have the clipboard of secure ones. */
function copyText(text, button) {
  const done = () => { button.textContent = "copied"; setTimeout(() => { button.textContent = "copy"; }, 1200); };
  if (navigator.clipboard) { navigator.clipboard.writeText(text).then(done, () => {}); return; }
  const area = make("textarea", {}, text);
  document.body.append(area);
  area.select();
  if (document.execCommand("copy")) done();
  area.remove();
}

function fillLegend(theme) {
  const shapes = [
    ["event", ctx => { ctx.beginPath(); ctx.arc(8, 8, 3.2, 0, 7); ctx.fill(); }, theme["hue-0"]],
    ["message", ctx => { ctx.lineWidth = 1.3; ctx.beginPath(); ctx.moveTo(1, 3); ctx.lineTo(15, 13); ctx.stroke(); }, theme["hue-2"]],
    ["fault", ctx => ICONS.bolt(ctx, 8, 8, 7), theme.alarm],
    ["crash", ctx => ICONS.cross(ctx, 8, 8, 6), theme.alarm],
    ["causes", ctx => { ctx.lineWidth = 2.2; ctx.beginPath(); ctx.moveTo(1, 8); ctx.lineTo(15, 8); ctx.stroke(); }, theme.accent],
    ["consequences", ctx => { ctx.lineWidth = 1.6; ctx.beginPath(); ctx.moveTo(1, 8); ctx.lineTo(15, 8); ctx.stroke(); }, theme.after],
  ];
  document.getElementById("legend").replaceChildren(...shapes.map(([label, draw, colour]) => {
    const canvas = make("canvas", { width: 32, height: 32, style: "width:16px;height:16px;display:inline-block;vertical-align:-4px;margin-right:3px" });
    const ctx = canvas.getContext("2d");
    ctx.scale(2, 2);
    ctx.fillStyle = ctx.strokeStyle = colour;
    draw(ctx);
    return make("li", {}, canvas, label);
  }));
}
