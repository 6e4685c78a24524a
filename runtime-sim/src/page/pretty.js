// Rust's Debug texts, broken into lines and coloured. Everything is put into the page as text, never as markup.

const LINE = 46;

/** A Debug text as lines that are indented like source. */
function pretty(text) {
  const out = [];
  let at = 0;
  // Reads up to the bracket that closes what is open at `at`; returns its pieces, cut at commas.
  const tokens = tokenize(text);
  const parse = closing => {
    const pieces = [[]];
    while (at < tokens.length && tokens[at] !== closing) {
      const token = tokens[at++];
      if (token === ",") { pieces.push([]); continue; }
      const close = { "{": "}", "(": ")", "[": "]" }[token];
      if (!close) { pieces[pieces.length - 1].push(token); continue; }
      const inner = parse(close);
      const isClosed = tokens[at] === close;
      at++;
      pieces[pieces.length - 1].push({ open: token, close: isClosed ? close : "", inner });
    }
    return pieces.map(piece => piece.filter((token, n) => typeof token !== "string" || token.trim() !== "" || (n > 0 && n < piece.length - 1)))
      .filter(piece => piece.length > 0);
  };
  const flat = piece => piece.map(token => typeof token === "string" ? token
    : `${token.open}${token.open === "{" ? " " : ""}${token.inner.map(part => flat(part).trim()).join(", ")}${token.open === "{" ? " " : ""}${token.close}`).join("");
  const write = (piece, indent, tail) => {
    const whole = flat(piece).trim();
    if (whole.length + indent <= LINE || piece.every(token => typeof token === "string")) { out.push(" ".repeat(indent) + whole + tail); return; }
    let line = "";
    for (const token of piece) {
      if (typeof token === "string") { line += line === "" ? token.trimStart() : token; continue; }
      // A wrapper around one thing stays on its line: Mail(Append { … }).
      if (token.inner.length === 1 && token.inner[0].length > 0 && token.open === "(" && typeof token.inner[0][token.inner[0].length - 1] !== "string") {
        const begin = out.length;
        write(token.inner[0], indent, "");
        out[begin] = " ".repeat(indent) + line + token.open + out[begin].trimStart();
        line = out.pop().slice(indent) + token.close;
        continue;
      }
      out.push(" ".repeat(indent) + line + token.open);
      token.inner.forEach(part => write(part, indent + 2, ","));
      line = token.close;
    }
    out.push(" ".repeat(indent) + line + tail);
  };
  while (at < tokens.length) {
    parse(null).forEach((piece, n, all) => write(piece, 0, n + 1 < all.length ? "," : ""));
    if (at < tokens.length) out.push(tokens[at++]);
  }
  return out.join("\n");
}

/** Brackets, commas, quoted strings and what lies between them. `<8192 B crc 90444623>` stays whole. */
function tokenize(text) { return text.match(/"(?:\\.|[^"\\])*"?|<[^<>]*>|[{}()[\],]|[^{}()[\],"<]+|</g) || []; }

/** Colours names, numbers and strings. */
function coloured(text) {
  const pre = document.createElement("pre");
  for (const part of text.match(/"(?:\\.|[^"\\])*"?|[A-Za-z_][\w]*|\d[\d_.a-f-]*|[^"A-Za-z_\d]+/g) || []) {
    const kind = part.startsWith('"') ? "string" : /^\d/.test(part) ? "number" : /^[A-Z]/.test(part) ? "name" : "";
    if (kind === "") { pre.append(part); continue; }
    pre.append(make("span", { class: kind }, part));
  }
  return pre;
}

/** An element with attributes and children; strings become text. */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter(child => child !== null && child !== undefined));
  return element;
}
