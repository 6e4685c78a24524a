//! What is logged, to standard error: lines for people, or one JSON object a line.

use crate::config::LogFormat;
use crate::json::Object;
use std::fmt::{self, Debug};
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// Whether every line is JSON, also those that are not of `tracing`.
static JSON: AtomicBool = AtomicBool::new(false);

/// Begins to log.
pub fn start(what: Targets, format: LogFormat) {
    JSON.store(format == LogFormat::Json, Ordering::Relaxed);
    if format == LogFormat::Json {
        std::panic::set_hook(Box::new(|panic| error(&panic.to_string())));
    }
    let registry = tracing_subscriber::registry();
    // Errors of its own it would tell by a macro that panics: the broker outlives whoever read its log.
    let to = tracing_subscriber::fmt::layer().with_writer(io::stderr).log_internal_errors(false);
    let to = match format {
        LogFormat::Human => to.with_ansi(io::stderr().is_terminal()).boxed(),
        LogFormat::Json => to.with_ansi(false).event_format(Json).boxed(),
    };
    registry.with(to).with(what).init();
}

/// Tells why the process ends, whatever the filter says.
pub fn error(what: &str) {
    let line = if JSON.load(Ordering::Relaxed) {
        let mut line = begin("ERROR", "karst");
        line.text("message", what);
        line.end()
    } else {
        format!("karst: {what}")
    };
    // Not by a macro that would panic where nobody reads standard error.
    let _ = writeln!(io::stderr(), "{line}");
}

fn begin(level: &str, target: &str) -> Object {
    let mut line = Object::default();
    line.text("timestamp", &timestamp(SystemTime::now()));
    line.text("level", level);
    line.text("target", target);
    line
}

/// One event as one line: `{"timestamp": ..., "level": ..., "target": ..., "message": ..., FIELDS}`.
struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = begin(event.metadata().level().as_str(), event.metadata().target());
        event.record(&mut Fields(&mut line));
        writeln!(to, "{}", line.end())
    }
}

/// A field that is named as one of ours gets an underscore.
struct Fields<'a>(&'a mut Object);

impl Fields<'_> {
    fn name(field: &Field) -> String {
        let name = field.name();
        if matches!(name, "timestamp" | "level" | "target") { format!("{name}_") } else { name.into() }
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.text(&Self::name(field), &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.text(&Self::name(field), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.number(&Self::name(field), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.number(&Self::name(field), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.truth(&Self::name(field), value);
    }
}

/// RFC 3339, in UTC.
fn timestamp(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = date(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:06}Z",
        second / 3600,
        second / 60 % 60,
        second % 60,
        since.subsec_micros()
    )
}

/// The Gregorian date so many days after 1970-01-01.
fn date(mut days: u64) -> (u64, u64, u64) {
    let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;
    use tracing_subscriber::fmt::MakeWriter;

    #[derive(Clone, Default)]
    struct Shelf(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Shelf {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("one thread").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Shelf {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn an_event_is_one_object_in_one_line() {
        let shelf = Shelf::default();
        let layer = tracing_subscriber::fmt::layer().with_writer(shelf.clone()).event_format(Json);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::warn!(count = 7_u64, below = -1_i64, is = true, level = "x", what = %"a\"b\n", "said {}", "\u{1}");
        });
        let text = String::from_utf8(shelf.0.lock().expect("one thread").clone()).expect("UTF-8");
        let (timestamp, rest) = text.split_once(',').expect("fields");
        assert!(timestamp.starts_with("{\"timestamp\":\"2") && timestamp.ends_with("Z\""), "{timestamp}");
        let expected = "\"level\":\"WARN\",\"target\":\"karst::log::tests\",\"message\":\"said \\u0001\",\"count\":7,\
                        \"below\":-1,\"is\":true,\"level_\":\"x\",\"what\":\"a\\\"b\\n\"}\n";
        assert_eq!(rest, expected);
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        let at = |seconds| timestamp(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00.000000Z");
        assert_eq!(at(1_709_251_199), "2024-02-29T23:59:59.000000Z");
        assert_eq!(at(4_107_542_399), "2100-02-28T23:59:59.000000Z");
        assert_eq!(at(4_107_542_400), "2100-03-01T00:00:00.000000Z");
    }
}
