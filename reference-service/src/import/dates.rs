//! Dates as they are written, in the formats that the mapping lists and no others.
//!
//! A format is `strftime` text or `epoch_ms` or `epoch_s`. The day is taken as written: a time or
//! an offset may follow it, and is read and dropped, so that midnight in one zone never becomes the
//! day before. Only an epoch has no written day: its day is UTC's.

use chrono::format::{Fixed, Item, Numeric, ParseErrorKind, Parsed, StrftimeItems, parse};
use chrono::{DateTime, Datelike, NaiveDate};
use serde::Deserialize;

/// Years outside these are slips of the pen (`0084`, `20024`), not permits.
const YEARS: std::ops::RangeInclusive<i32> = 1800..=2200;

/// One way to write a date.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct DateFormat {
    text: String,
    form: Form,
}

#[derive(Debug, Clone)]
enum Form {
    Written(Vec<Item<'static>>),
    EpochSeconds,
    EpochMilliseconds,
}

enum Miss {
    /// The text has another shape.
    Shape,
    /// The shape fits, but there is no such day.
    Day,
}

impl TryFrom<String> for DateFormat {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let form = match text.as_str() {
            "epoch_s" => Form::EpochSeconds,
            "epoch_ms" => Form::EpochMilliseconds,
            _ => Form::Written(written(&text)?),
        };
        Ok(Self { text, form })
    }
}

/// The items of a `strftime` text that names a whole day.
fn written(text: &str) -> Result<Vec<Item<'static>>, String> {
    let items = StrftimeItems::new(text).parse_to_owned().map_err(|_| {
        format!("`{text}` is not a date format: write strftime such as `%m/%d/%Y`, `epoch_ms` or `epoch_s`")
    })?;
    let has = |wanted: &[Item<'static>]| items.iter().any(|item| wanted.contains(item));
    let number = |of: Numeric| {
        use chrono::format::Pad::{None, Space, Zero};
        [Item::Numeric(of.clone(), Zero), Item::Numeric(of.clone(), Space), Item::Numeric(of, None)]
    };
    let name = |of: Fixed| [Item::Fixed(of)];
    let year = has(&number(Numeric::Year)) || has(&number(Numeric::YearMod100));
    let month =
        has(&number(Numeric::Month)) || has(&name(Fixed::ShortMonthName)) || has(&name(Fixed::LongMonthName));
    let day = month && has(&number(Numeric::Day)) || has(&number(Numeric::Ordinal));
    if year && day {
        Ok(items)
    } else {
        Err(format!("date format `{text}` names no whole day: it needs `%Y`, `%m` and `%d`"))
    }
}

impl DateFormat {
    /// The format as the mapping wrote it.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    fn read(&self, text: &str) -> Result<NaiveDate, Miss> {
        let date = match &self.form {
            Form::Written(items) => {
                let mut parsed = Parsed::new();
                parse(&mut parsed, text, items.iter()).and_then(|()| parsed.to_naive_date()).map_err(|e| {
                    match e.kind() {
                        ParseErrorKind::OutOfRange | ParseErrorKind::Impossible => Miss::Day,
                        _ => Miss::Shape,
                    }
                })?
            }
            Form::EpochSeconds => {
                let seconds = text.parse().map_err(|_| Miss::Shape)?;
                DateTime::from_timestamp(seconds, 0).ok_or(Miss::Day)?.date_naive()
            }
            Form::EpochMilliseconds => {
                let milliseconds = text.parse().map_err(|_| Miss::Shape)?;
                DateTime::from_timestamp_millis(milliseconds).ok_or(Miss::Day)?.date_naive()
            }
        };
        if YEARS.contains(&date.year()) { Ok(date) } else { Err(Miss::Day) }
    }
}

/// The date that `text` (trimmed, not empty) writes in the first format that fits, or the reason
/// why it is none.
pub(super) fn read(text: &str, formats: &[DateFormat]) -> Result<NaiveDate, String> {
    let mut shaped = None;
    for format in formats {
        match format.read(text) {
            Ok(date) => return Ok(date),
            Err(Miss::Day) => shaped = shaped.or(Some(format)),
            Err(Miss::Shape) => {}
        }
    }
    if let Some(format) = shaped {
        let (first, last) = (YEARS.start(), YEARS.end());
        return Err(format!("read as `{}`, this is no day of the years {first} to {last}", format.as_str()));
    }
    let known: Vec<_> = formats.iter().map(|format| format!("`{}`", format.as_str())).collect();
    Err(format!("is not a date written as {}", known.join(" or ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formats(texts: &[&str]) -> Vec<DateFormat> {
        texts.iter().map(|text| DateFormat::try_from((*text).to_owned()).unwrap()).collect()
    }

    fn check(format: &str, text: &str, expected: &str) {
        let read = read(text, &formats(&[format]));
        assert_eq!(read.map(|date| date.to_string()), Ok(expected.to_owned()), "{text} as {format}");
    }

    #[test]
    fn reads_a_day_as_it_is_written() {
        check("%m/%d/%Y", "01/03/1984", "1984-01-03");
        check("%m/%d/%Y", "1/3/1984", "1984-01-03");
        check("%d/%m/%Y", "01/03/1984", "1984-03-01");
        check("%Y/%m/%d %H:%M:%S%#z", "2024/10/03 00:00:00+00", "2024-10-03");
        check("%Y/%m/%d %H:%M:%S%#z", "2024/10/03 00:00:00+05:30", "2024-10-03");
        check("%Y-%m-%dT%H:%M:%S%.f", "2013-07-08T00:00:00.000", "2013-07-08");
        check("%Y-%m-%dT%H:%M:%S%.f", "2013-07-08T00:00:00", "2013-07-08");
        check("%F", "2024-02-29", "2024-02-29");
        check("%d %b %Y", "8 Jul 2013", "2013-07-08");
        check("%Y%j", "2013189", "2013-07-08");
        check("epoch_ms", "1373241600000", "2013-07-08");
        check("epoch_s", "1373241600", "2013-07-08");
        check("epoch_ms", "-1", "1969-12-31");
    }

    #[test]
    fn tells_an_impossible_day_from_another_shape() {
        let refuse = |text: &str| read(text, &formats(&["%m/%d/%Y", "%Y-%m-%d"])).unwrap_err();
        for text in ["13/01/1984", "02/30/1984", "02/29/1983", "01/03/84", "2024-13-01", "01/03/9999"] {
            assert!(
                refuse(text).contains("this is no day of the years 1800 to 2200"),
                "{text}: {}",
                refuse(text)
            );
        }
        for text in ["soon", "1", "01/03/1984 12:00", "3 Jan 1984", "01/03/1984x"] {
            assert_eq!(refuse(text), "is not a date written as `%m/%d/%Y` or `%Y-%m-%d`", "{text}");
        }
        assert!(read("9".repeat(40).as_str(), &formats(&["epoch_ms"])).is_err());
        assert!(read(&i64::MAX.to_string(), &formats(&["epoch_s"])).is_err());
    }

    #[test]
    fn the_first_format_that_fits_decides() {
        let both = formats(&["%d/%m/%Y", "%m/%d/%Y"]);
        assert_eq!(read("03/04/2020", &both).unwrap().to_string(), "2020-04-03");
        assert_eq!(read("03/14/2020", &both).unwrap().to_string(), "2020-03-14");
    }

    #[test]
    fn a_format_must_name_a_whole_day() {
        for text in ["%Y", "%m/%d", "%H:%M", "", "%Q", "yyyy-mm-dd"] {
            assert!(DateFormat::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
