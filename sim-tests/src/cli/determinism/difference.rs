//! Where two runs of one seed part.

use core::fmt;
use core::iter::Peekable;
use core::str::FromStr;
use karst_runtime_sim::trace::Line;
use std::collections::VecDeque;

/// So many lines before the difference are shown.
const BEFORE: usize = 4;

/// A line of a run's log, as one process tells it to another: `HASH EVENT LINE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// The run's hash, this line included.
    hash: u64,
    event: u64,
    text: String,
}

impl Told {
    pub(super) fn of(line: &Line) -> Self {
        Self { hash: line.hash, event: line.event, text: line.to_string() }
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x} {} {}", self.hash, self.event, self.text)
    }
}

impl FromStr for Told {
    type Err = ();

    fn from_str(line: &str) -> Result<Self, ()> {
        let mut parts = line.splitn(3, ' ');
        let mut part = || parts.next().ok_or(());
        let hash = u64::from_str_radix(part()?, 16).map_err(drop)?;
        Ok(Self { hash, event: part()?.parse().map_err(drop)?, text: part()?.to_owned() })
    }
}

/// The first event in which two runs differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    event: u64,
    before: Vec<String>,
    /// The lines of that event, in the one run and in the other.
    sides: [Vec<String>; 2],
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the first difference is in event {}", self.event)?;
        self.before.iter().try_for_each(|line| writeln!(f, "    both   {line}"))?;
        for (side, lines) in ["the one", "other"].iter().zip(&self.sides) {
            lines.iter().try_for_each(|line| writeln!(f, "    {side:<7}{line}"))?;
            if lines.is_empty() {
                writeln!(f, "    {side:<7}has ended")?;
            }
        }
        if self.sides[0] == self.sides[1] {
            writeln!(
                f,
                "    They read alike: what differs is in bytes, of which lines tell only length and CRC, or in a part that is cut off."
            )?;
        }
        Ok(())
    }
}

/// Compares two runs line by line, by their hashes.
pub(super) fn first_difference(
    one: impl Iterator<Item = Told>,
    other: impl Iterator<Item = Told>,
) -> Option<Difference> {
    let (mut one, mut other) = (one.peekable(), other.peekable());
    let mut common: VecDeque<Told> = VecDeque::new();
    loop {
        match (one.peek(), other.peek()) {
            (None, None) => return None,
            (Some(line), Some(theirs)) if line.hash == theirs.hash => {}
            (line, theirs) => {
                let event = line.into_iter().chain(theirs).map(|line| line.event).min()?;
                // What of this event was still equal belongs to both.
                let [same, before]: [Vec<Told>; 2] = {
                    let (same, before) = common.into_iter().partition(|line| line.event == event);
                    [same, before]
                };
                let sides = [rest(same.clone(), &mut one, event), rest(same, &mut other, event)];
                let from = before.len().saturating_sub(BEFORE);
                let before = before.into_iter().skip(from).map(|line| line.text).collect();
                return Some(Difference { event, before, sides });
            }
        }
        common.extend(one.next());
        other.next();
        // An event may have many effects; before it, a few lines are enough.
        let newest = common.back().map(|line| line.event);
        while common.len() > BEFORE && common.front().map(|line| line.event) != newest {
            common.pop_front();
        }
    }
}

/// All lines of an event, the first of which were taken already.
fn rest(taken: Vec<Told>, lines: &mut Peekable<impl Iterator<Item = Told>>, event: u64) -> Vec<String> {
    let more = core::iter::from_fn(|| lines.next_if(|line| line.event == event));
    taken.into_iter().chain(more).map(|line| line.text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &[(u64, u64, &str)]) -> impl Iterator<Item = Told> + use<> {
        let lines: Vec<Told> =
            lines.iter().map(|(hash, event, text)| Told { hash: *hash, event: *event, text: (*text).into() }).collect();
        lines.into_iter()
    }

    const ONE: [(u64, u64, &str); 5] = [(1, 1, "a"), (2, 1, "b"), (3, 2, "c"), (4, 2, "d"), (5, 3, "e")];

    #[test]
    fn equal_runs_have_no_difference() {
        assert_eq!(first_difference(told(&ONE), told(&ONE)), None);
        assert_eq!(first_difference(told(&[]), told(&[])), None);
    }

    #[test]
    fn the_first_event_that_differs_is_shown_whole() {
        let other = [(1, 1, "a"), (2, 1, "b"), (3, 2, "c"), (9, 2, "D"), (8, 2, "DD"), (7, 3, "e")];
        let difference = first_difference(told(&ONE), told(&other)).expect("they differ");
        assert_eq!((difference.event, &difference.before[..]), (2, &["a".to_owned(), "b".to_owned()][..]));
        assert_eq!(difference.sides, [vec!["c", "d"], vec!["c", "D", "DD"]]);
        assert!(!difference.to_string().contains("read alike"));
    }

    #[test]
    fn a_run_that_ends_early_and_lines_that_read_alike_are_told() {
        let shorter = first_difference(told(&ONE), told(&ONE[..4])).expect("they differ").to_string();
        assert!(shorter.contains("event 3") && shorter.contains("other  has ended"), "{shorter}");
        let alike = first_difference(told(&ONE), told(&[(6, 1, "a")])).expect("they differ").to_string();
        assert!(alike.contains("event 1"), "{alike}");
        let alike = first_difference(told(&ONE[..1]), told(&[(6, 1, "a")])).expect("they differ").to_string();
        assert!(alike.contains("read alike"), "{alike}");
    }

    #[test]
    fn lines_survive_the_way_from_one_process_to_another() {
        let line = Told { hash: 0xfeed, event: 12, text: "      12 0.1s n1/wal < a  b".into() };
        assert_eq!(line.to_string().parse(), Ok(line));
        assert_eq!("".parse::<Told>(), Err(()));
        assert_eq!("x 1 y".parse::<Told>(), Err(()));
    }
}
