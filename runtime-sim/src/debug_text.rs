//! Debug texts for people: cut to a headline, or laid out so that much of them fits on a screen.
//!
//! ```text
//!   Wal { rules: Rules { ring: 4096, .. }, phase: Open(Open { log: Log { .. }, trim: Lsn(0) }) }
//!
//!   Wal {                                         a part that fits into a line is one; where there is too much, the
//!       rules: Rules { ring: 4096, block: 512 },  deepest parts are folded, and what is folded can be asked for by
//!       phase: Open(Open {                        its path: `phase.log`
//!           log: Log {… 9 fields},
//!           trim: Lsn(0),
//!       }),
//!   }
//! ```
//! Texts may be cut anywhere, and hold anything: what can't be understood stays as it is.

use core::fmt::Write;
use std::collections::VecDeque;

/// Characters of a line.
const WIDTH: usize = 116;
/// Characters by which what is inside is set off.
const INDENT: usize = 4;
/// So many elements of a list are shown where it is not what was asked for.
const ELEMENTS: usize = 40;
/// Characters of one quoted string, number or word.
const LEAF: usize = 120;

/// A Debug text, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// What is in brackets, between commas.
    Inside {
        open: char,
        parts: Vec<Tree>,
        /// `None` where the text ends before.
        close: Option<char>,
    },
}

/// How much of a tree is shown.
#[derive(Clone, Copy)]
struct Shown {
    /// Brackets within brackets that are opened.
    depth: usize,
    elements: usize,
}

impl Shown {
    const ALL: Self = Self { depth: usize::MAX, elements: usize::MAX };
}

impl Tree {
    /// Takes a text apart.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut tokens = tokens(text);
        let mut whole = Self(Vec::new());
        while !tokens.is_empty() {
            let (mut parts, closed) = parts(&mut tokens, None, 0);
            debug_assert!(closed.is_none(), "nothing was open");
            if let Some(first) = parts.first_mut() {
                whole.0.append(&mut first.0);
            }
            for mut part in parts.drain(1.min(parts.len())..) {
                whole.0.push(Piece::Text(", ".into()));
                whole.0.append(&mut part.0);
            }
        }
        whole
    }

    /// The part at a path of fields, keys and places in lists, such as `phase.log` or `image.topics.0`: wrappers such as
    /// `Some(…)` need not be named.
    #[must_use]
    pub fn at(&self, path: &str) -> Option<&Self> {
        if path.is_empty() {
            return Some(self);
        }
        let parts = self.parts()?;
        let named = parts.iter().find_map(|part| {
            let rest = path.strip_prefix(part.key()?.trim())?;
            let rest = if rest.is_empty() { rest } else { rest.strip_prefix('.')? };
            Some((rest, part))
        });
        if let Some((rest, part)) = named {
            return part.at(rest);
        }
        let (place, rest) = path.split_once('.').unwrap_or((path, ""));
        parts.get(place.parse::<usize>().ok()?).and_then(|part| part.at(rest))
    }

    /// What can be asked for below this, by the first step of its path.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        let keys = self.parts().unwrap_or_default().iter().filter_map(Self::key);
        keys.map(|key| key.trim().to_owned()).collect()
    }

    /// In about so many lines at most, if that is possible at all: with the deepest parts folded.
    #[must_use]
    pub fn overview(&self, lines: usize) -> String {
        let mut best = self.shown(Shown { depth: 1, elements: ELEMENTS });
        for depth in 2..=32 {
            let deeper = self.shown(Shown { depth, elements: ELEMENTS });
            if deeper.lines().count() > lines {
                break;
            }
            best = deeper;
        }
        best
    }

    /// The whole of it.
    #[must_use]
    pub fn whole(&self) -> String {
        self.shown(Shown::ALL)
    }

    /// The parts of its last brackets, through wrappers of one nameless part.
    fn parts(&self) -> Option<&[Self]> {
        let Some(Piece::Inside { parts, open, .. }) = self.0.last() else { return None };
        match &parts[..] {
            [only] if *open == '(' && only.parts().is_some() => only.parts(),
            parts => Some(parts),
        }
    }

    /// What stands in front of its first `: `.
    fn key(&self) -> Option<String> {
        let mut key = String::new();
        for piece in &self.0 {
            if let Piece::Text(text) = piece
                && !text.starts_with('"')
                && let Some((before, _)) = text.split_once(": ")
            {
                return Some(key + before);
            }
            piece.flat(&mut key);
        }
        None
    }

    fn shown(&self, shown: Shown) -> String {
        let mut out = String::new();
        self.write(&mut out, 0, 1, shown);
        out
    }

    fn write(&self, out: &mut String, indent: usize, behind: usize, shown: Shown) {
        let flat = self.flat();
        let begun = out.len() - out.rfind('\n').map_or(0, |at| at + 1);
        if flat.chars().count() + begun.max(indent) + behind <= WIDTH && !self.is_folded(shown) {
            out.push_str(&flat);
            return;
        }
        let last = self.0.iter().rposition(|piece| matches!(piece, Piece::Inside { .. }));
        for (at, piece) in self.0.iter().enumerate() {
            match piece {
                Piece::Inside { open, parts, close } if Some(at) == last => {
                    open_up(out, (*open, parts, *close), indent, shown);
                }
                other => other.flat(out),
            }
        }
    }

    /// Whether a part of it is deeper than what is shown, or there are too many.
    fn is_folded(&self, shown: Shown) -> bool {
        self.0.iter().any(|piece| match piece {
            Piece::Text(_) => false,
            Piece::Inside { parts, .. } => {
                let inside = Shown { depth: shown.depth.saturating_sub(1), ..shown };
                shown.depth == 0 || parts.len() > shown.elements || parts.iter().any(|part| part.is_folded(inside))
            }
        }) && shown.depth != usize::MAX
            && self.flat().chars().count() > WIDTH / 2
    }

    fn flat(&self) -> String {
        let mut out = String::new();
        self.0.iter().for_each(|piece| piece.flat(&mut out));
        out
    }
}

fn open_up(out: &mut String, (open, parts, close): (char, &[Tree], Option<char>), indent: usize, shown: Shown) {
    out.push(open);
    let close: String = close.into_iter().collect();
    if shown.depth == 0 {
        let what = if open == '{' { "field" } else { "element" };
        let many = if parts.len() == 1 { "" } else { "s" };
        let _ = write!(out, "… {} {what}{many}{close}", parts.len());
        return;
    }
    let inside = Shown { depth: shown.depth.saturating_sub(1), ..shown };
    if let ([only], '(' | '[') = (parts, open) {
        // A wrapper: what it holds needs no line of its own.
        only.write(out, indent, 2, inside);
        return out.push_str(&close);
    }
    let kept = if parts.len() > shown.elements { shown.elements / 2 } else { parts.len() };
    let (inner, end) = (" ".repeat(indent + INDENT), " ".repeat(indent));
    let are_small = parts[..kept].iter().all(|part| part.flat().chars().count() <= 24);
    for (nth, part) in parts[..kept].iter().enumerate() {
        let line = out.len() - out.rfind('\n').map_or(0, |at| at + 1);
        let fits = are_small && nth > 0 && line + part.flat().chars().count() + 2 <= WIDTH;
        out.push_str(if fits { " " } else { "\n" });
        if !fits {
            out.push_str(&inner);
        }
        part.write(out, indent + INDENT, 1, inside);
        out.push(',');
    }
    if kept < parts.len() {
        let _ = write!(out, "\n{inner}… {} more,", parts.len() - kept);
    }
    let _ = write!(out, "\n{end}{close}");
}

impl Piece {
    fn flat(&self, out: &mut String) {
        match self {
            Self::Text(text) if text.chars().count() > LEAF => {
                out.extend(text.chars().take(LEAF));
                out.push('…');
            }
            Self::Text(text) => out.push_str(text),
            Self::Inside { open, parts, close } => {
                let pad = if *open == '{' && !parts.is_empty() { " " } else { "" };
                out.push(*open);
                out.push_str(pad);
                for (nth, part) in parts.iter().enumerate() {
                    out.push_str(if nth > 0 { ", " } else { "" });
                    part.0.iter().for_each(|piece| piece.flat(out));
                }
                out.push_str(pad);
                out.extend(*close);
            }
        }
    }
}

/// Brackets and commas, each alone, and what is between them; quotes hide both.
fn tokens(text: &str) -> VecDeque<String> {
    let mut found = VecDeque::new();
    let mut word = String::new();
    let (mut is_quoted, mut is_escaped) = (false, false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if !is_quoted && c == '\'' {
            // A character in quotes, perhaps a bracket.
            word.push(c);
            let inside: String = chars.clone().take(2).collect();
            if inside.ends_with('\'') || inside.starts_with('\\') {
                word.extend(chars.by_ref().take(2));
            }
            continue;
        }
        if !is_quoted && "{}[](),".contains(c) {
            if !word.trim().is_empty() {
                found.push_back(core::mem::take(&mut word));
            }
            word.clear();
            found.push_back(c.into());
            continue;
        }
        word.push(c);
        is_quoted ^= c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped && is_quoted;
    }
    if !word.trim().is_empty() {
        found.push_back(word);
    }
    found
}

/// Nothing that people write nests deeper.
const DEEPEST: usize = 200;

/// The parts up to a closing bracket, and that. Without an opening one everything is taken.
fn parts(tokens: &mut VecDeque<String>, closing: Option<char>, depth: usize) -> (Vec<Tree>, Option<char>) {
    let mut found = Vec::new();
    let mut part = Vec::new();
    let mut closed = None;
    while let Some(token) = tokens.pop_front() {
        let pair = [("{", '}'), ("[", ']'), ("(", ')')].into_iter().find(|(open, _)| *open == token);
        match (token.as_str(), pair) {
            (_, Some((open, close))) if depth < DEEPEST => {
                let (parts, closed) = parts(tokens, Some(close), depth + 1);
                let open = open.chars().next().unwrap_or('{');
                part.push(Piece::Inside { open, parts, close: closed });
            }
            (",", _) => found.push(Tree(core::mem::take(&mut part))),
            (token, _) if closing.is_some_and(|closing| token.chars().eq([closing])) => {
                closed = closing;
                break;
            }
            _ => {
                let text = if part.is_empty() { token.trim_start() } else { &token };
                part.push(Piece::Text(text.into()));
            }
        }
    }
    if !part.is_empty() {
        found.push(Tree(part));
    }
    for tree in &mut found {
        if let Some(Piece::Text(last)) = tree.0.last_mut() {
            last.truncate(last.trim_end().len());
        }
    }
    found.retain(|tree| !tree.0.is_empty());
    (found, closed)
}

/// A Debug text in few characters: what is deeply nested becomes `…`, and so does the end.
pub(crate) fn headline(text: &str, most: usize) -> String {
    let short = (1..=4).rev().map(|depth| without_depths(text, depth)).find(|short| short.chars().count() <= most);
    let short = short.unwrap_or_else(|| without_depths(text, 1));
    if short.chars().count() <= most {
        return short;
    }
    let mut cut: String = short.chars().take(most.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// Replaces what is inside more than so many braces. Parentheses are mere wrappers, and don't count.
fn without_depths(text: &str, most: usize) -> String {
    let mut out = String::new();
    let (mut depth, mut is_quoted, mut is_escaped) = (0_usize, false, false);
    for c in text.chars() {
        let is_structure = !is_quoted;
        if is_structure && "{[".contains(c) {
            depth += 1;
            if depth == most + 1 {
                out.push(c);
                out.push('…');
                continue;
            }
        }
        if depth <= most || (is_structure && depth == most + 1 && "}]".contains(c)) {
            out.push(c);
        }
        if is_structure && "}]".contains(c) {
            depth = depth.saturating_sub(1);
        }
        is_quoted ^= c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headlines_leave_out_what_is_deep() {
        let text = "Mail(Command(NodeCommand { node: NodeId(1), command: Register { wal: None, host: \"b}r\" } }))";
        assert_eq!(headline(text, 200), text);
        assert_eq!(headline(text, 80), "Mail(Command(NodeCommand { node: NodeId(1), command: Register {…} }))");
        assert_eq!(headline(text, 12), "Mail(Comman…");
        assert_eq!(headline("ääää", 3), "ää…");
        assert_eq!(headline("}}{[", 10), "}}{[");
    }

    const STATE: &str = "Wal { rules: Rules { ring: 4096, name: \"a}, {\" }, bytes: [1, 2, 3], phase: Open(Open { log: Log { \
                         head: Lsn(7), batches: {StreamId(1): Batch { at: Some(9) }, StreamId(2): Batch { at: None }} }, \
                         trim: Lsn(0) }), quote: '{', none: {} }";

    #[test]
    fn what_fits_into_a_line_is_one_and_the_rest_is_indented() {
        let whole = Tree::parse(STATE).whole();
        let expected = "\
Wal {
    rules: Rules { ring: 4096, name: \"a}, {\" },
    bytes: [1, 2, 3],
    phase: Open(Open {
        log: Log { head: Lsn(7), batches: { StreamId(1): Batch { at: Some(9) }, StreamId(2): Batch { at: None } } },
        trim: Lsn(0),
    }),
    quote: '{',
    none: {},
}";
        assert_eq!(whole, expected);
    }

    #[test]
    fn parts_are_found_by_their_path() {
        let tree = Tree::parse(STATE);
        let at = |path: &str| tree.at(path).map(Tree::whole);
        assert_eq!(at("rules.ring").as_deref(), Some("ring: 4096"));
        assert_eq!(at("phase.log.head").as_deref(), Some("head: Lsn(7)"), "wrappers need no name");
        assert_eq!(at("phase.log.batches.StreamId(2)").as_deref(), Some("StreamId(2): Batch { at: None }"));
        assert_eq!(at("bytes.1").as_deref(), Some("2"));
        assert_eq!((at("bytes.3"), at("phase.lo"), at("x")), (None, None, None));
        assert_eq!(tree.keys(), ["rules", "bytes", "phase", "quote", "none"]);
    }

    #[test]
    fn what_is_too_much_is_folded() {
        let many: Vec<(u32, Vec<u32>)> = (0..100).map(|n| (n, (0..n).collect())).collect();
        let tree = Tree::parse(&format!("{many:?}"));
        let overview = tree.overview(60);
        assert!(overview.lines().count() <= 60 && overview.contains("… 80 more,"), "{overview}");
        let deep = format!("{:?}", Some(Some(Some(many))));
        assert!(Tree::parse(&deep).overview(10).lines().count() <= 10, "{}", Tree::parse(&deep).overview(10));
        assert_eq!(tree.whole().matches("97").count(), 3, "nothing is left out of the whole");
    }

    #[test]
    fn whatever_the_text_it_is_shown() {
        for (text, shown) in [
            ("Mail(Append([Append { stream: Stre…", "Mail(Append([Append { stream: Stre…"),
            ("} ) x", "} ) x"),
            ("", ""),
            ("a, b", "a, b"),
            ("\"open (", "\"open ("),
        ] {
            let whole = Tree::parse(text).whole();
            assert_eq!(whole.replace(' ', ""), shown.replace(' ', ""), "{text}");
        }
        assert!(!Tree::parse(&"(".repeat(100_000)).whole().is_empty());
    }
}
