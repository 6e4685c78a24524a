//! `karst config`: all keys, as a file that could be used.

use super::Config;
use super::keys::{KEYS, Key};
use super::layers::{FILE, Loaded};
use karst_core::wal::Wal;
use std::fmt::Write;

/// Columns of a remark.
const WIDTH: usize = 110;

/// Every key with its meaning, unit, range, default and other names: a file that changes nothing.
#[must_use]
pub fn reference() -> String {
    let mut out = remark(&format!(
        "All that can be set, at its default. Each key can be given in a file (karst --config FILE, or {FILE}), in the \
         environment and as a flag; the later override the earlier. Sizes are in bytes or have a unit (KiB, MiB, GiB, \
         TiB), times are in milliseconds or have a unit (ms, s, m, h, d); with a unit they are texts."
    ));
    let defaults = Config::default();
    for key in KEYS {
        out.push('\n');
        out += &remark(key.about);
        let flag = if key.is_secret() { String::new() } else { format!("; {}", key.flag()) };
        out += &remark(&format!("[{}; {}{flag}]", key.domain(), key.variable()));
        let _ = writeln!(out, "#{}", line(key, &defaults));
    }
    out
}

/// What holds for a broker that would be started like this, and for each key that was given, where.
#[must_use]
pub fn effective(loaded: &Loaded) -> String {
    let mut out = String::new();
    for key in KEYS {
        let mut from = loaded.origins.get(key.name).map_or_else(String::new, |origin| format!("  # {origin}"));
        if key.name == LARGEST_BATCH {
            from += &fitted(&loaded.config);
        }
        let is_set = key.show(&loaded.config).is_none_or(|value| !value.is_empty());
        let hash = if is_set && !key.is_secret() { "" } else { "#" };
        let _ = writeln!(out, "{hash}{}{from}", line(key, &loaded.config));
    }
    out
}

/// The key whose value may be more than holds.
const LARGEST_BATCH: &str = "record.batch.max.bytes";

/// What holds instead of the limit on batches, if that is less.
fn fitted(config: &Config) -> String {
    match Wal::fit(config.wal_length(), config.limits.clone()) {
        Ok(limits) if limits.largest_batch < config.limits.largest_batch => {
            format!("  # here {}, for the write-ahead log or the largest request", limits.largest_batch)
        }
        _ => String::new(),
    }
}

fn line(key: &Key, config: &Config) -> String {
    let value = match key.show(config) {
        None => "\"(set, and not shown)\"".into(),
        Some(value) if value.bytes().all(|byte| byte.is_ascii_digit()) && !value.is_empty() => value,
        Some(value) if key.is_switch() => value,
        Some(value) => quoted(&value),
    };
    format!("{} = {value}", key.name)
}

/// A TOML text.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Lines that begin with a hash.
fn remark(text: &str) -> String {
    let mut out = String::new();
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.len() + 1 + word.len() > WIDTH {
            let _ = writeln!(out, "{line}");
            line = "#".into();
        }
        line.push(' ');
        line += word;
    }
    out + &line + "\n"
}
