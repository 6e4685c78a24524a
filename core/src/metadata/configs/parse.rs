//! Values of Kafka's types, out of what a client wrote; what is wrong is said in Kafka's words.

use alloc::format;
use alloc::string::{String, ToString};
use core::ops::RangeInclusive;

/// A whole number of 32 bits.
pub(super) fn int(name: &str, value: &str, legal: RangeInclusive<i32>) -> Result<i32, String> {
    let number: i32 = value.parse().map_err(|_| invalid(name, value, "Not a number of type INT"))?;
    within(name, number, &legal, i32::MAX)
}

/// A whole number of 64 bits.
pub(super) fn long(name: &str, value: &str, least: i64) -> Result<i64, String> {
    let number: i64 = value.parse().map_err(|_| invalid(name, value, "Not a number of type LONG"))?;
    within(name, number, &(least..=i64::MAX), i64::MAX)
}

/// A share, from 0 to 1.
pub(super) fn share(name: &str, value: &str) -> Result<f64, String> {
    let number: f64 = value.parse().map_err(|_| invalid(name, value, "Not a number of type DOUBLE"))?;
    within(name, number, &(0.0..=1.0), f64::MAX)
}

/// True or false, in letters of any size.
pub(super) fn boolean(name: &str, value: &str) -> Result<bool, String> {
    match value {
        _ if value.eq_ignore_ascii_case("true") => Ok(true),
        _ if value.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err(invalid(name, value, "Expected value to be either true or false")),
    }
}

fn within<N: PartialOrd + ToString>(name: &str, number: N, legal: &RangeInclusive<N>, largest: N) -> Result<N, String> {
    let why = match number {
        _ if legal.contains(&number) => return Ok(number),
        _ if *legal.end() == largest => format!("Value must be at least {}", legal.start().to_string()),
        _ => format!("Value must be from {} to {}", legal.start().to_string(), legal.end().to_string()),
    };
    Err(invalid(name, &number.to_string(), &why))
}

/// What Kafka says of a value that can't be. Of a long one its beginning is enough.
pub(super) fn invalid(name: &str, value: &str, why: &str) -> String {
    const ENOUGH: usize = 100;
    let value: String = value.chars().take(ENOUGH).collect();
    format!("Invalid value {value} for configuration {name}: {why}")
}
