//! JSON to the declared types.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use cel::Value;
use serde_json::Value as Json;

use crate::condition::functions::address;
use crate::schema::rule::ParameterType;

/// Lists in lists; each level costs stack.
const MAX_DEPTH: usize = 32;

/// A value that is not of the parameter's type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    parameter: Box<str>,
    wanted: &'static str,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "parameter `{}` must be {}", self.parameter, self.wanted)
    }
}

pub(super) fn typed(name: &str, parameter: &ParameterType, json: &Json) -> Result<Value, Fault> {
    convert(parameter, json, 0).map_err(|wanted| Fault { parameter: name.into(), wanted })
}

fn convert(parameter: &ParameterType, json: &Json, depth: usize) -> Result<Value, &'static str> {
    if depth > MAX_DEPTH {
        return Err("less deep");
    }
    let text = || json.as_str();
    match parameter {
        ParameterType::Any => any(json, depth),
        ParameterType::Bool => match json {
            Json::Bool(value) => Some(*value),
            Json::String(text) => text.parse().ok(),
            _ => None,
        }
        .map(Value::Bool)
        .ok_or("a truth value"),
        ParameterType::String => {
            text().map(|text| Value::String(Arc::new(text.to_owned()))).ok_or("a string")
        }
        ParameterType::Int => int(json).map(Value::Int).ok_or("an integer of 64 bits"),
        ParameterType::Uint => {
            uint(json).map(Value::UInt).ok_or("an integer of 64 bits that is not negative")
        }
        ParameterType::Double => {
            let number =
                json.as_f64().or_else(|| text()?.parse().ok()).filter(|number: &f64| number.is_finite());
            number.map(Value::Float).ok_or("a number")
        }
        ParameterType::Bytes => text()
            .and_then(|text| base64::engine::general_purpose::STANDARD.decode(text).ok())
            .map(|bytes| Value::Bytes(Arc::new(bytes)))
            .ok_or("bytes in base64"),
        ParameterType::Duration => {
            text().and_then(duration).map(Value::Duration).ok_or("a duration as in `1h30m`")
        }
        ParameterType::Timestamp => text()
            .and_then(|text| chrono::DateTime::parse_from_rfc3339(text).ok())
            .map(Value::Timestamp)
            .ok_or("a time as in `2026-01-31T12:00:00Z`"),
        ParameterType::IpAddress => text().and_then(address).ok_or("an ip address"),
        ParameterType::List(of) => match json {
            Json::Array(items) => {
                let items: Result<Vec<Value>, _> =
                    items.iter().map(|item| convert(of, item, depth + 1)).collect();
                Ok(Value::List(Arc::new(items?)))
            }
            _ => Err("a list"),
        },
        ParameterType::Map(of) => match json {
            Json::Object(entries) => {
                let entries: Result<HashMap<String, Value>, &'static str> = entries
                    .iter()
                    .map(|(key, value)| Ok((key.clone(), convert(of, value, depth + 1)?)))
                    .collect();
                Ok(Value::Map(entries?.into()))
            }
            _ => Err("a map"),
        },
    }
}

fn any(json: &Json, depth: usize) -> Result<Value, &'static str> {
    Ok(match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::String(text) => Value::String(Arc::new(text.clone())),
        // As in the languages from which conditions come, a number of JSON is a double.
        Json::Number(number) => Value::Float(number.as_f64().ok_or("a number")?),
        Json::Array(_) => convert(&ParameterType::List(Box::new(ParameterType::Any)), json, depth)?,
        Json::Object(_) => convert(&ParameterType::Map(Box::new(ParameterType::Any)), json, depth)?,
    })
}

/// Whole floats and strings count: numbers of JSON are doubles to many.
fn int(json: &Json) -> Option<i64> {
    match json {
        Json::String(text) => text.parse().ok(),
        _ => json.as_i64().or_else(|| {
            // Above 2^53 a double is no exact integer any more.
            let float = json
                .as_f64()
                .filter(|float| float.fract() == 0.0 && float.abs() <= 9_007_199_254_740_992.0)?;
            Some(float as i64)
        }),
    }
}

fn uint(json: &Json) -> Option<u64> {
    match json {
        Json::String(text) => text.parse().ok(),
        _ => json.as_u64().or_else(|| u64::try_from(int(json)?).ok()),
    }
}

/// `1h30m`, `1.5s`, `-2ms`, as Go and CEL write it.
fn duration(text: &str) -> Option<chrono::Duration> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(chrono::Duration::zero());
    }
    let mut nanoseconds = 0.0_f64;
    let mut any = false;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at_checked(digits)?;
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(unit_end)?;
        let scale = match unit {
            "h" => 3.6e12,
            "m" => 6e10,
            "s" => 1e9,
            "ms" => 1e6,
            "us" | "µs" => 1e3,
            "ns" => 1.0,
            _ => return None,
        };
        nanoseconds += number.parse::<f64>().ok()? * scale;
        rest = after;
        any = true;
    }
    if !any || nanoseconds >= i64::MAX as f64 {
        return None;
    }
    let nanoseconds = nanoseconds.round() as i64;
    Some(chrono::Duration::nanoseconds(if negative { -nanoseconds } else { nanoseconds }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, milliseconds) in [("1h30m", 5_400_000), ("1.5s", 1_500), ("-2ms", -2), ("0", 0)] {
            assert_eq!(duration(text), Some(chrono::Duration::milliseconds(milliseconds)), "{text}");
        }
        for text in ["", "1", "h", "1x", "1h-2m", "99999999999999999h"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn integers_may_be_strings_and_whole_floats() {
        let read = |json: &str| int(&serde_json::from_str(json).unwrap());
        assert_eq!(read("7"), Some(7));
        assert_eq!(read("7.0"), Some(7));
        assert_eq!(read("\"-7\""), Some(-7));
        assert_eq!((read("7.5"), read("1e300"), read("\"x\""), read("true")), (None, None, None, None));
    }
}
