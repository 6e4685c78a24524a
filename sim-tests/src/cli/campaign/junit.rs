//! A campaign as JUnit XML, which GitHub's and Jenkins' report readers accept: a test case for each defect, one for all
//! seeds that passed, and one for the marks.

use super::Campaign;
use super::defects::{Defect, replay_command};
use super::state::State;
use std::fmt::Write;

/// The file's text.
pub(super) fn text(campaign: &Campaign, state: &State) -> String {
    let totals = &state.totals;
    let unreached = totals.unreached();
    let misses_marks = campaign.require_marks && !unreached.is_empty();
    let tests = state.defects.iter().count() + 2;
    let failures = state.defects.iter().count() + usize::from(misses_marks);
    let time = totals.elapsed.as_secs_f64();
    let numbers = format!("tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" skipped=\"0\" time=\"{time:.3}\"");
    let name = escape(&state.what);
    let class = format!("karst-sim.{}", escape(&campaign.profile_name));
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(out, "<testsuites name=\"karst-sim\" {numbers}>");
    let _ = writeln!(out, "  <testsuite name=\"{name}\" {numbers}>");
    let passed = totals.seeds - totals.failed;
    let _ =
        writeln!(out, "    <testcase classname=\"{class}\" name=\"{passed} seeds that passed\" time=\"{time:.3}\"/>");
    for defect in state.defects.iter() {
        write_defect(&mut out, &class, &campaign.profile_name, defect);
    }
    let _ = write!(out, "    <testcase classname=\"{class}\" name=\"marks\" time=\"0\">");
    if misses_marks {
        let names: Vec<&str> = unreached.iter().map(|mark| mark.name()).collect();
        let _ = write!(out, "<failure type=\"marks\" message=\"{} were never reached\">", names.len());
        let _ = write!(out, "{}</failure>", escape(&names.join("\n")));
    }
    out += "</testcase>\n  </testsuite>\n</testsuites>\n";
    out
}

fn write_defect(out: &mut String, class: &str, profile: &str, defect: &Defect) {
    let Defect { fingerprint, verdict, seeds, quickest } = defect;
    let (invariant, message) = (escape(&quickest.invariant), escape(&quickest.message));
    let command = escape(&replay_command(quickest.seed, profile));
    let _ = writeln!(out, "    <testcase classname=\"{class}\" name=\"{invariant} {fingerprint:016x}\" time=\"0\">");
    let _ = writeln!(out, "      <failure type=\"{}\" message=\"{message}\">", verdict.name());
    let _ = writeln!(out, "{message}\n{seeds} seeds; quickest: seed {}\nagain: {command}</failure>", quickest.seed);
    let _ = writeln!(out, "    </testcase>");
}

/// As text or attribute. XML 1.0 can't say control characters at all.
fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&apos;",
            '\n' => out += "&#10;",
            '\t' => out.push(c),
            c if c < ' ' || c == '\u{fffe}' || c == '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn whatever_a_message_holds_the_file_stays_xml() {
        assert_eq!(escape("a<b> & \"c\"\n\0'"), "a&lt;b&gt; &amp; &quot;c&quot;&#10;\u{fffd}&apos;");
    }
}
