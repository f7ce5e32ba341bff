//! Money as it is written: `$20,000.00`, `20000`, `USD 1.234,50`.
//!
//! Amounts are stored as `NUMERIC(18,3)`. More digits than that (`12345.6700000001`) come from the
//! floating point of the system that exported them, never from a price, so they are rounded, half
//! to even, and not refused. A digit group that is not three digits long is refused: `1,5` may mean
//! one and a half.

use rust_decimal::{Decimal, RoundingStrategy};
use serde::Deserialize;

/// Digits after the sign that `NUMERIC(18,3)` keeps.
const SCALE: u32 = 3;
/// The first amount with more than 15 digits before the sign.
const LIMIT: Decimal = Decimal::from_parts(0xA4C6_8000, 0x0003_8D7E, 0, false, 0);
/// Longer text than any amount: stops before it is worked on.
const LONGEST: usize = 64;

/// The sign before the decimals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(super) enum DecimalSign {
    #[default]
    #[serde(rename = ".")]
    Point,
    #[serde(rename = ",")]
    Comma,
}

/// Symbols and the currencies that write them.
const SYMBOLS: [(&str, &[&str]); 8] = [
    ("US$", &["USD"]),
    ("CA$", &["CAD"]),
    ("C$", &["CAD"]),
    ("A$", &["AUD"]),
    ("$", &["USD", "CAD", "AUD", "NZD", "SGD", "HKD", "MXN", "CLP", "COP", "ARS"]),
    ("€", &["EUR"]),
    ("£", &["GBP", "EGP"]),
    ("¥", &["JPY", "CNY"]),
];

/// The amount that `text` (trimmed, not empty) writes in `currency`, or the reason why it is none.
pub(super) fn read(text: &str, currency: &str, sign: DecimalSign) -> Result<Decimal, String> {
    if text.len() > LONGEST {
        return Err("is too long for an amount".to_owned());
    }
    let (inner, bracketed) = match text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        Some(inner) => (inner.trim(), true),
        None => (text, false),
    };
    let (inner, minus) = without_minus(inner);
    let inner = without_currency(inner, currency)?;
    let (inner, second_minus) = without_minus(inner);
    let amount = digits(inner, sign).ok_or_else(|| {
        let written = match sign {
            DecimalSign::Point => "1,234.50",
            DecimalSign::Comma => "1.234,50",
        };
        format!("is not an amount written as `{written}` (the mapping's `decimal`)")
    })?;
    let amount = amount.round_dp_with_strategy(SCALE, RoundingStrategy::MidpointNearestEven);
    if (bracketed || minus || second_minus) && !amount.is_zero() {
        return Err("is negative: a valuation is zero or more".to_owned());
    }
    if amount >= LIMIT {
        return Err("has more than 15 digits before the decimals".to_owned());
    }
    Ok(amount.normalize())
}

fn without_minus(text: &str) -> (&str, bool) {
    let strip = |minus: char| text.strip_prefix(minus).or_else(|| text.strip_suffix(minus));
    match strip('-').or_else(|| strip('\u{2212}')) {
        Some(rest) => (rest.trim(), true),
        None => (text, false),
    }
}

/// Takes a currency's code or symbol from either end; another currency than the mapping's is refused.
fn without_currency<'a>(text: &'a str, currency: &str) -> Result<&'a str, String> {
    for (symbol, currencies) in SYMBOLS {
        if let Some(rest) = text.strip_prefix(symbol).or_else(|| text.strip_suffix(symbol)) {
            return if currencies.contains(&currency) {
                Ok(rest.trim())
            } else {
                Err(other(symbol, currency))
            };
        }
    }
    let Some((code, rest)) = code_before(text).or_else(|| code_after(text)) else { return Ok(text) };
    if code.eq_ignore_ascii_case(currency) { Ok(rest.trim()) } else { Err(other(code, currency)) }
}

/// `USD 5`: three letters, and no fourth.
fn code_before(text: &str) -> Option<(&str, &str)> {
    let (code, rest) = text.split_at_checked(3)?;
    (is_code(code) && rest.starts_with(|next: char| !next.is_alphabetic())).then_some((code, rest))
}

/// `5 USD`.
fn code_after(text: &str) -> Option<(&str, &str)> {
    let (rest, code) = text.split_at_checked(text.len().checked_sub(3)?)?;
    (is_code(code) && rest.ends_with(|before: char| !before.is_alphabetic())).then_some((code, rest))
}

fn is_code(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphabetic())
}

fn other(written: &str, currency: &str) -> String {
    format!("is written in `{written}`, and the mapping's currency is `{currency}`")
}

/// Plain, grouped or exponent digits.
fn digits(text: &str, sign: DecimalSign) -> Option<Decimal> {
    let (decimal, group) = match sign {
        DecimalSign::Point => ('.', ','),
        DecimalSign::Comma => (',', '.'),
    };
    if text.contains(['e', 'E']) {
        let exponent = text.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
        return (exponent && sign == DecimalSign::Point).then(|| Decimal::from_scientific(text).ok())?;
    }
    let (whole, fraction) = text.split_once(decimal).unwrap_or((text, ""));
    let groups = |c: char| c == group || c == '\'' || c == '\u{2019}' || c.is_whitespace();
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let mut parts = whole.split(groups);
    let first = parts.next()?;
    let mut plain = first.to_owned();
    for part in parts {
        if part.len() != 3 || first.is_empty() || first.len() > 3 {
            return None;
        }
        plain.push_str(part);
    }
    if !is_digits(&plain) || !is_digits(fraction) || (plain.is_empty() && fraction.is_empty()) {
        return None;
    }
    let zero = if plain.is_empty() { "0" } else { "" };
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{zero}{plain}{point}{fraction}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::DecimalSign::{Comma, Point};
    use super::*;

    fn check(text: &str, currency: &str, sign: DecimalSign, expected: &str) {
        assert_eq!(
            read(text, currency, sign).map(|amount| amount.to_string()),
            Ok(expected.to_owned()),
            "{text}"
        );
    }

    #[test]
    fn reads_an_amount_as_it_is_written() {
        for (text, expected) in [
            ("20000", "20000"),
            ("20000.00", "20000"),
            ("$20,000.00", "20000"),
            ("$ 20,000", "20000"),
            ("US$20,000", "20000"),
            ("20,000 USD", "20000"),
            ("usd 20000", "20000"),
            ("201872.88", "201872.88"),
            ("246089.8", "246089.8"),
            (".5", "0.5"),
            ("5.", "5"),
            ("0", "0"),
            ("-0.00", "0"),
            ("20 000", "20000"),
            ("20\u{a0}000", "20000"),
            ("20'000.5", "20000.5"),
            ("2.46E+05", "246000"),
            ("12345.6700000001", "12345.67"),
            ("48.0595", "48.06"),
            ("48.0585", "48.058"),
            ("0.0005", "0"),
            ("999999999999999.999", "999999999999999.999"),
        ] {
            check(text, "USD", Point, expected);
        }
        check("EUR 1.234,50", "EUR", Comma, "1234.5");
        check("1.234,50 €", "EUR", Comma, "1234.5");
        check("1.234.567", "EUR", Comma, "1234567");
        check("10.250", "KWD", Point, "10.25");
    }

    #[test]
    fn refuses_what_is_no_amount_with_its_reason() {
        for (text, reason) in [
            ("-5", "is negative"),
            ("($5.00)", "is negative"),
            ("5.00-", "is negative"),
            ("$-5", "is negative"),
            ("-$5", "is negative"),
            ("€5", "is written in `€`, and the mapping's currency is `USD`"),
            ("CAD 5", "is written in `CAD`"),
            ("1,5", "is not an amount written as `1,234.50`"),
            ("1.234,50", "is not an amount"),
            ("1,2345", "is not an amount"),
            ("1234,567", "is not an amount"),
            (",500", "is not an amount"),
            ("1.2.3", "is not an amount"),
            ("$", "is not an amount"),
            (".", "is not an amount"),
            ("unknown", "is not an amount"),
            ("12 apples", "is not an amount"),
            ("NaN", "is not an amount"),
            ("1e99", "is not an amount"),
            ("٣", "is not an amount"),
            ("1000000000000000", "has more than 15 digits"),
            ("999999999999999.9996", "has more than 15 digits"),
            ("99999999999999999999999999999999", "is not an amount"),
        ] {
            let refused = read(text, "USD", Point).unwrap_err();
            assert!(refused.starts_with(reason), "{text}: {refused}");
        }
        assert!(read(&"9".repeat(65), "USD", Point).is_err());
    }
}
