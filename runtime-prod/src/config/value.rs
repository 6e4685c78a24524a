//! What an operator writes, read: sizes, times, numbers, addresses, log filters. An error says what is wrong, to be put
//! behind the name and the value.

use super::Endpoint;
use crate::config::Secret;
use std::fmt::Display;
use std::net::Ipv6Addr;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

/// A count of bytes, with a binary unit or none.
pub(crate) fn bytes(value: &str) -> Result<u64, String> {
    let unit = |unit: &str| match unit {
        "" | "b" => Some(1),
        "k" | "kib" => Some(1 << 10),
        "m" | "mib" => Some(1 << 20),
        "g" | "gib" => Some(1 << 30),
        "t" | "tib" => Some(1 << 40),
        _ => None,
    };
    scaled(value, unit).ok_or_else(|| "is not a size: use bytes, KiB, MiB, GiB or TiB, such as 512MiB".into())
}

/// A time in milliseconds, with a unit or none.
pub(crate) fn millis(value: &str) -> Result<u64, String> {
    let unit = |unit: &str| match unit {
        "" | "ms" => Some(1),
        "s" => Some(1000),
        "m" | "min" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        _ => None,
    };
    scaled(value, unit).ok_or_else(|| "is not a time: use ms, s, m, h or d, such as 30s; a bare number is ms".into())
}

/// A number without a unit.
pub(crate) fn number(value: &str) -> Result<u64, String> {
    scaled(value, |unit| unit.is_empty().then_some(1)).ok_or_else(|| "is not a number".into())
}

/// `true` or `false`.
pub(crate) fn switch(value: &str) -> Result<bool, String> {
    value.parse().map_err(|_| "is neither true nor false".into())
}

/// HOST:PORT.
pub(crate) fn endpoint(value: &str) -> Result<Endpoint, String> {
    let bad = || String::from("is not HOST:PORT, such as localhost:9092 or [::1]:9092");
    let (host, port) = value.rsplit_once(':').ok_or_else(bad)?;
    // `parse` alone would take "+9092".
    let port = port.parse().ok().filter(|_| port.bytes().all(|byte| byte.is_ascii_digit())).ok_or_else(bad)?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = bare.map_or_else(|| is_name(host), is_ip6);
    if is_host { Ok(Endpoint { host: bare.unwrap_or(host).into(), port }) } else { Err(bad()) }
}

/// HOST:PORT to which somebody can connect.
pub(crate) fn reachable(value: &str) -> Result<Endpoint, String> {
    let endpoint = endpoint(value)?;
    if endpoint.port == 0 || matches!(endpoint.host.as_str(), "0.0.0.0" | "::") {
        return Err("is not an address that a client can connect to".into());
    }
    Ok(endpoint)
}

/// Something.
pub(crate) fn not_empty(value: &str) -> Result<&str, String> {
    if value.is_empty() { Err("needs a value".into()) } else { Ok(value) }
}

/// Letters, digits and other visible characters, without spaces.
pub(crate) fn identifier(value: &str) -> Result<String, String> {
    let is_legal = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic());
    if is_legal { Ok(value.into()) } else { Err("is empty, or has spaces or other strange characters".into()) }
}

/// The same, which nobody is shown.
pub(crate) fn secret(value: &str) -> Result<Option<Secret>, String> {
    identifier(value).map(|value| Some(Secret::new(&value)))
}

/// Levels, alone or of a module. A bare word that is no level would be a module of which everything is logged, and of
/// others nothing: a typing error, which would leave the operator without a log.
pub(crate) fn filter(value: &str) -> Result<Targets, String> {
    let is_level = |text: &str| !text.is_empty() && text.parse::<LevelFilter>().is_ok();
    let is_legal = |part: &str| is_level(part.rsplit_once('=').map_or(part, |(_, level)| level));
    let filter = value.split(',').all(is_legal).then(|| value.parse().ok()).flatten();
    filter.ok_or_else(|| {
        "is not a log filter: use error, warn, info, debug, trace or off, alone or for a module, such as \
         info,karst_core::wal=debug"
            .into()
    })
}

/// A size or a time as an operator would write it: in the largest unit that it is a whole number of.
pub(crate) fn sized(count: u64, units: &[(u64, &str)]) -> String {
    let largest = units.iter().rev().find(|(unit, _)| count >= *unit && count.is_multiple_of(*unit));
    largest.map_or_else(|| count.to_string(), |(unit, name)| format!("{}{name}", count / unit))
}

/// What is between two bounds, both included.
pub(crate) fn within<T: PartialOrd + Display>(value: T, (least, most): (T, T), unit: &str) -> Result<T, String> {
    if (&least..=&most).contains(&&value) {
        return Ok(value);
    }
    let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
    Err(format!("is out of range: from {least} to {most}{unit}"))
}

fn scaled(value: &str, unit: impl Fn(&str) -> Option<u64>) -> Option<u64> {
    let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = unit(&value[digits.len()..].to_ascii_lowercase())?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse::<u64>().ok()).flatten()?.checked_mul(unit)
}

/// A host name or an IPv4 address: labels of letters, digits, hyphens and, as many have them, underscores.
fn is_name(host: &str) -> bool {
    let is_label = |label: &str| {
        let legal = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        legal && (1..=63).contains(&label.len()) && !label.starts_with('-')
    };
    host.len() <= 253 && host.strip_suffix('.').unwrap_or(host).split('.').all(is_label)
}

/// An IPv6 address, perhaps with the zone of a link-local one.
fn is_ip6(host: &str) -> bool {
    let (address, zone) = host.split_once('%').map_or((host, None), |(address, zone)| (address, Some(zone)));
    address.parse::<Ipv6Addr>().is_ok() && zone.is_none_or(|zone| !zone.is_empty() && is_name(zone))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address() {
        for good in ["h:1", "a-b.c_d.example.:1", "127.0.0.1:1", "[::1]:1", "[fe80::1%eth0]:1"] {
            assert!(endpoint(good).is_ok(), "{good}");
        }
        let long = format!("{}:1", "a.".repeat(127));
        for bad in
            ["a b:1", " h:1", "h/x:1", "-h:1", "h\n:1", "h\u{e9}:1", "[::1%]:1", ".:1", ":1", "h:+1", "h:", &long]
        {
            assert!(endpoint(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn sizes_and_times_have_units() {
        for (text, expected) in [("4096", 4096), ("1k", 1 << 10), ("3MiB", 3 << 20), ("1gib", 1 << 30), ("0", 0)] {
            assert_eq!(bytes(text), Ok(expected));
        }
        for (text, expected) in [("7", 7), ("7ms", 7), ("30s", 30_000), ("10m", 600_000), ("1h", 3_600_000)] {
            assert_eq!(millis(text), Ok(expected));
        }
        for bad in ["", "-1", "+1", "1.5GiB", "512MB", "KiB", "1 KiB", "99999999999999TiB", "1\u{e9}"] {
            assert!(bytes(bad).is_err() && millis(bad).is_err() && number(bad).is_err(), "{bad:?}");
        }
        assert!(number("1k").is_err() && millis("1k").is_err() && bytes("1s").is_err());
    }

    #[test]
    fn what_is_shown_is_read_as_the_same() {
        for count in [0, 1, 1000, 1 << 10, (1 << 20) + 12, 512 << 20, u64::MAX] {
            let shown = sized(count, super::super::keys::SIZES);
            assert_eq!(bytes(&shown), Ok(count), "{shown}");
            let shown = sized(count, super::super::keys::TIMES);
            assert_eq!(millis(&shown), Ok(count), "{shown}");
        }
    }
}
