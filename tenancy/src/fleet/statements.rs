//! Statements that cannot stand in a step, found before anything is run.
//!
//! A home's steps are one transaction, so what ends a transaction would leave half a home, and what refuses to run
//! in one would fail in every home. Text is cut into statements as psql does it: strings, comments, parentheses and
//! SQL-standard function bodies hide their semicolons.

/// A statement that a step may not hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// Counted from 1, in the step's text.
    pub(super) line: usize,
    /// Its first words.
    pub(super) statement: String,
    /// Why, and what to do.
    pub(super) why: &'static str,
}

/// The first statement of `sql` that cannot be part of a home's transaction.
pub(super) fn refused(sql: &str) -> Option<Refused> {
    statements(sql).into_iter().find_map(|statement| {
        let why = why_refused(&statement.words)?;
        let shown: Vec<_> = statement.words.iter().take(3).map(String::as_str).collect();
        Some(Refused { line: statement.line, statement: shown.join(" "), why })
    })
}

const TRANSACTION: &str = "a home's steps are one transaction, which no step may begin or end";
const OUTSIDE: &str = "it cannot run inside a transaction, and a home's steps are one: do it apart";
const SETTING: &str = "it would reach the next home: use `set local`";
const STREAM: &str = "a step has neither input nor output: use `insert`";

fn why_refused(words: &[String]) -> Option<&'static str> {
    let has = |word: &str| words.iter().any(|known| known == word);
    let (first, second) = (words.first()?.as_str(), words.get(1).map_or("", String::as_str));
    match first {
        "begin" | "start" | "commit" | "end" | "rollback" | "abort" => Some(TRANSACTION),
        "prepare" if second == "transaction" => Some(TRANSACTION),
        "vacuum" => Some(OUTSIDE),
        "create" | "drop" if matches!(second, "database" | "tablespace" | "subscription") => Some(OUTSIDE),
        "alter" if second == "system" => Some(OUTSIDE),
        // The one thing that Postgres does concurrently inside a transaction is to refresh a view.
        "create" | "drop" | "reindex" | "alter" if has("concurrently") => Some(OUTSIDE),
        "set" if !matches!(second, "local" | "constraints" | "transaction") => Some(SETTING),
        "reset" | "discard" | "listen" => Some(SETTING),
        "copy" if has("stdin") || has("stdout") => Some(STREAM),
        _ => None,
    }
}

/// Its words outside strings, parentheses and function bodies, in lower case.
struct Statement {
    line: usize,
    words: Vec<String>,
}

fn statements(sql: &str) -> Vec<Statement> {
    let mut found = Vec::new();
    let mut current = Statement { line: 0, words: Vec::new() };
    let (mut parentheses, mut bodies) = (0_usize, 0_usize);
    let mut rest = sql;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let length = token_length(rest, first);
        let (token, after) = rest.split_at(length);
        match first {
            '(' => parentheses += 1,
            ')' => parentheses = parentheses.saturating_sub(1),
            ';' if parentheses == 0 && bodies == 0 => {
                let done = std::mem::replace(&mut current, Statement { line: 0, words: Vec::new() });
                found.push(done);
            }
            _ if parentheses == 0 && is_word_start(first) => {
                let word = token.to_ascii_lowercase();
                match word.as_str() {
                    "begin" if makes_routine(&current.words) => bodies += 1,
                    "case" if bodies > 0 => bodies += 1,
                    "end" if bodies > 0 => bodies -= 1,
                    _ if bodies > 0 => {}
                    _ => {
                        if current.words.is_empty() {
                            current.line = line;
                        }
                        current.words.push(word);
                    }
                }
            }
            _ => {}
        }
        line += token.matches('\n').count();
        rest = after;
    }
    found.push(current);
    found.retain(|statement| !statement.words.is_empty());
    found
}

fn makes_routine(words: &[String]) -> bool {
    let routine = |word: Option<&String>| word.is_some_and(|word| word == "function" || word == "procedure");
    words.first().is_some_and(|word| word == "create") && (routine(words.get(1)) || routine(words.get(3)))
}

fn is_word_start(first: char) -> bool {
    first.is_alphabetic() || first == '_'
}

/// How many bytes belong together; never zero.
fn token_length(rest: &str, first: char) -> usize {
    let all = rest.len();
    match first {
        '\'' => quoted(rest, '\'', false),
        '"' => quoted(rest, '"', false),
        'e' | 'E' if rest.get(1..2) == Some("'") => 1 + quoted(rest.get(1..).unwrap_or_default(), '\'', true),
        '-' if rest.starts_with("--") => rest.find('\n').map_or(all, |end| end + 1),
        '/' if rest.starts_with("/*") => comment(rest),
        '$' => dollar_quoted(rest).unwrap_or(1),
        _ if is_word_start(first) || first.is_ascii_digit() => {
            rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).unwrap_or(all)
        }
        _ => first.len_utf8(),
    }
}

/// A doubled quote ends one string and begins the next, which comes to the same.
fn quoted(rest: &str, quote: char, backslash: bool) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if backslash && c == '\\' {
            escaped = true;
        } else if c == quote {
            return at + 1;
        }
    }
    rest.len()
}

/// Comments nest.
fn comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(left) = rest.get(at..) {
        if left.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if left.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            match left.chars().next() {
                Some(c) => at += c.len_utf8(),
                None => break,
            }
        }
    }
    rest.len()
}

fn dollar_quoted(rest: &str) -> Option<usize> {
    let tag = rest.get(..rest.get(1..)?.find('$')? + 2)?;
    let name = tag.get(1..tag.len() - 1)?;
    let is_tag = name.chars().all(|c| c.is_alphanumeric() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit());
    is_tag.then(|| {
        let body = rest.get(tag.len()..).unwrap_or_default();
        body.find(tag).map_or(rest.len(), |end| tag.len() + end + tag.len())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_or_refuses_a_transaction_is_refused() {
        for (sql, line, statement) in [
            ("select 1;\ncommit", 2, "commit"),
            ("/* a /* b */ ; */ BEGIN;", 1, "begin"),
            (
                "create table t (n int);\n\n-- x;\nCreate Unique Index Concurrently i on t (n)",
                4,
                "create unique index",
            ),
            ("vacuum t", 1, "vacuum t"),
            ("set search_path = x", 1, "set search_path x"),
            ("select E'\\'; '; reset role", 1, "reset role"),
            ("copy t from stdin", 1, "copy t from"),
            ("copy (select 1) to stdout", 1, "copy to stdout"),
            (
                "create function f() returns int language sql begin atomic select case when true then 1 end; end; end",
                1,
                "end",
            ),
            ("alter table t detach partition p concurrently", 1, "alter table t"),
            ("select $1; rollback", 1, "rollback"),
        ] {
            let found = refused(sql).unwrap();
            assert_eq!((found.line, found.statement.as_str()), (line, statement), "{sql}");
        }
    }

    #[test]
    fn what_only_looks_like_it_is_not() {
        for sql in [
            "",
            "select ';commit;', \"; vacuum\", $$; commit; $$, $x$ $$; end; $x$",
            "do $$ begin perform 1; end $$; set local lock_timeout = 1",
            "create or replace function f() returns int language sql begin atomic select 1; select 2; end; select 1",
            "create rule r as on insert to t do also (insert into u values (1); commit)",
            "refresh materialized view concurrently v; -- commit;",
            "create table commits (vacuum int); insert into commits values (1)",
            "savepoint a; release a",
            "select 'it''s; commit'",
        ] {
            assert_eq!(refused(sql), None, "{sql}");
        }
    }
}
