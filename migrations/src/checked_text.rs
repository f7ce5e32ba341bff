//! Names and fragments that are put into SQL as they are, looked at first.
//!
//! A name needs no quoting and is none of the words that SQL keeps to itself. A fragment stands between
//! parentheses or at the end of a column, and must not be able to end that place: whoever writes it is trusted,
//! but a slip would become another statement. Both are checks of texts that the program holds, never a reason to
//! put in what a user has typed.

use crate::InvalidTable;

/// PostgreSQL manual, "SQL Key Words": reserved, and those reserved but for functions and types (versions 15 to 18).
const RESERVED: &str = " all analyse analyze and any array as asc asymmetric authorization binary both case cast \
    check collate collation column concurrently constraint create cross current_catalog current_date current_role \
    current_schema current_time current_timestamp current_user default deferrable desc distinct do else end except \
    false fetch for foreign freeze from full grant group having ilike in initially inner intersect into is isnull \
    join lateral leading left like limit localtime localtimestamp natural not notnull null offset on only or order \
    outer overlaps placing primary references returning right select session_user similar some symmetric system_user \
    table tablesample then to trailing true union unique user using variadic verbose when where window with ";

/// The longest name that Postgres keeps whole, in bytes.
pub(crate) const LONGEST: usize = 63;

/// A name of at most `longest` bytes that needs no quoting.
pub(crate) fn name(text: &str, longest: usize) -> Result<(), InvalidTable> {
    let refuse = |why| Err(InvalidTable::Name { name: text.to_owned(), why });
    let starts = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    if !text.bytes().next().is_some_and(starts)
        || !text.bytes().all(|byte| starts(byte) || byte.is_ascii_digit())
    {
        return refuse("use lower-case letters, digits and underscores, no digit first");
    }
    if text.len() > longest {
        return refuse("it is too long: Postgres keeps 63 bytes of a name, nine of a rule's are its hash");
    }
    if RESERVED.contains(&format!(" {text} ")) {
        return refuse("SQL keeps this word to itself: choose another");
    }
    Ok(())
}

/// `name`, or `schema.name`.
pub(crate) fn table_name(text: &str) -> Result<(), InvalidTable> {
    text.splitn(2, '.').try_for_each(|part| name(part, LONGEST))
}

/// What a fragment may hold besides.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Between parentheses of its own.
    Clause,
    /// Behind the name of a column, where a comma would begin another one.
    Column,
}

/// A fragment that cannot end the place that it stands in.
pub(crate) fn fragment(text: &str, place: Place) -> Result<(), InvalidTable> {
    match ends_its_place(text, place) {
        None => Ok(()),
        Some(why) => Err(InvalidTable::Text { text: text.to_owned(), why }),
    }
}

fn ends_its_place(text: &str, place: Place) -> Option<&'static str> {
    if text.trim().is_empty() {
        return Some("it is empty");
    }
    let mut depth = 0_usize;
    let mut quote = None;
    let mut last = ' ';
    for c in text.chars() {
        // A quote that is doubled closes and opens again, which comes to the same.
        match (quote, c) {
            (_, '\0') => return Some("it holds a zero byte"),
            (_, '\\') => return Some("a backslash means one thing or another by a setting: write `chr(92)`"),
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, ';') => return Some("a semicolon would end the statement"),
            (None, '$') => return Some("a dollar would begin a quoted text or a parameter"),
            (None, '-') if last == '-' => return Some("a comment would hide what follows"),
            (None, '*') if last == '/' => return Some("a comment would hide what follows"),
            (None, '(') => depth += 1,
            (None, ')') if depth == 0 => return Some("a parenthesis is closed that it did not open"),
            (None, ')') => depth -= 1,
            (None, ',') if depth == 0 && place == Place::Column => {
                return Some("a comma would begin another column");
            }
            (None, ',') if depth == 0 => return Some("a comma makes a row of it, not a condition"),
            (None, _) => {}
        }
        last = if quote.is_some() { ' ' } else { c };
    }
    match (quote, depth) {
        (Some(_), _) => Some("a quote is left open"),
        (None, 0) => None,
        (None, _) => Some("a parenthesis is left open"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_need_quoting_are_refused() {
        for good in ["notes", "_n1", "a_very_long_name_that_is_still_short_enough"] {
            assert_eq!(name(good, LONGEST), Ok(()), "{good}");
        }
        for bad in
            ["", "Notes", "1st", "na me", "a-b", "nötes", "a;b", "a\"b", "order", "user", &"x".repeat(64)]
        {
            assert!(name(bad, LONGEST).is_err(), "{bad}");
        }
        assert_eq!(table_name("shared.notes"), Ok(()));
        for bad in ["a.b.c", ".a", "a.", "shared.table"] {
            assert!(table_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn text_that_could_close_the_statement_is_refused() {
        for bad in [
            "",
            "  ",
            "true); drop table notes; --",
            "true) with check (true",
            "(true",
            "true -- and false",
            "true /* and */",
            "a = 'open",
            "a = \"open",
            "a = $1",
            "a = $$x$$",
            "a = E'\\'; drop table notes; '",
            "a = 1; b = 2",
            "true, false",
            "a = '\0'",
        ] {
            assert!(fragment(bad, Place::Clause).is_err(), "{bad:?}");
        }
        for good in [
            "created_by = (select current_setting('app.user', true))",
            "a in (1, 2)",
            "body <> '; ) -- /* '",
            "\"odd;name\" is null",
            "a = 'it''s'",
            "a - -1 > 0 and b * c / d = 1",
        ] {
            assert_eq!(fragment(good, Place::Clause), Ok(()), "{good}");
        }
        assert!(fragment("text, extra text", Place::Column).is_err());
        assert_eq!(fragment("numeric(10, 2) not null default 0", Place::Column), Ok(()));
    }
}
