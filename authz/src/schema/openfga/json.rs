//! JSON with places: every value knows where it stands, so that a fault can be shown there.

use crate::schema::code::Code;
use crate::schema::diagnostic::{Diagnostics, Span};

/// Values in values; each level costs stack.
const MAX_DEPTH: usize = 512;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Json {
    pub(crate) value: Value,
    pub(crate) span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    /// Numbers and truth values, as they are written: models have none that count.
    Plain,
    Text(String),
    List(Vec<Json>),
    /// In the order of the text, as pairs of key and value.
    Object(Vec<(Json, Json)>),
}

impl Json {
    /// The value of the first key that is present.
    pub(crate) fn get(&self, keys: &[&str]) -> Option<&Json> {
        let found = self.entries().find(|(key, _)| key.text().is_some_and(|key| keys.contains(&key)));
        found.map(|(_, value)| value).filter(|value| value.value != Value::Null)
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &(Json, Json)> {
        match &self.value {
            Value::Object(entries) => entries.iter(),
            _ => [].iter(),
        }
    }

    pub(crate) fn items(&self) -> &[Json] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }
}

impl From<Value> for Json {
    fn from(value: Value) -> Self {
        Self { value, span: Span::default() }
    }
}

impl Json {
    /// As text, on many lines. Recursion is bounded by what makes values.
    pub(crate) fn pretty(&self) -> String {
        let mut text = String::new();
        self.write(&mut text, 0);
        text.push('\n');
        text
    }

    fn write(&self, text: &mut String, depth: usize) {
        let line = |text: &mut String, depth: usize| {
            text.push('\n');
            text.push_str(&"  ".repeat(depth));
        };
        match &self.value {
            Value::Null | Value::Plain => text.push_str("null"),
            Value::Text(value) => text.push_str(&quoted(value)),
            Value::List(items) if items.is_empty() => text.push_str("[]"),
            Value::List(items) => {
                for (at, item) in items.iter().enumerate() {
                    text.push(if at == 0 { '[' } else { ',' });
                    line(text, depth + 1);
                    item.write(text, depth + 1);
                }
                line(text, depth);
                text.push(']');
            }
            Value::Object(entries) if entries.is_empty() => text.push_str("{}"),
            Value::Object(entries) => {
                for (at, (key, value)) in entries.iter().enumerate() {
                    text.push(if at == 0 { '{' } else { ',' });
                    line(text, depth + 1);
                    text.push_str(&quoted(key.text().unwrap_or("")));
                    text.push_str(": ");
                    value.write(text, depth + 1);
                }
                line(text, depth);
                text.push('}');
            }
        }
    }
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_else(|_| "\"\"".to_owned())
}

/// Reads one value; nothing when the text is no JSON, which is reported.
pub(crate) fn parse(source: usize, text: &str, faults: &mut Diagnostics<'_>) -> Option<Json> {
    let mut reader = Reader { source, text, at: 0 };
    let read = reader.value(0).and_then(|value| {
        reader.blank();
        match reader.peek() {
            None => Ok(value),
            Some(_) => Err(reader.fault("the end")),
        }
    });
    read.map_err(|(code, span, message)| faults.report(code, span, message)).ok()
}

type Fault = (Code, Span, String);

struct Reader<'a> {
    source: usize,
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> Result<Json, Fault> {
        self.blank();
        let start = self.at;
        if depth > MAX_DEPTH {
            let message = format!("values are nested more than {MAX_DEPTH} deep");
            return Err((Code::Nesting, self.span(start), message));
        }
        let value = match self.peek() {
            Some('{') => self.object(depth)?,
            Some('[') => self.list(depth)?,
            Some('"') => Value::Text(self.string()?),
            Some(c) if c.is_ascii_alphanumeric() || c == '-' => {
                let rest = self.text.get(self.at..).unwrap_or("");
                let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+');
                let length = rest.find(|c| !plain(c)).unwrap_or(rest.len());
                let word = rest.get(..length).unwrap_or("");
                let known = matches!(word, "true" | "false" | "null") || word.parse::<f64>().is_ok();
                if !known {
                    return Err(self.fault("a value"));
                }
                self.at += length;
                if word == "null" { Value::Null } else { Value::Plain }
            }
            _ => return Err(self.fault("a value")),
        };
        Ok(Json { value, span: self.span(start) })
    }

    fn object(&mut self, depth: usize) -> Result<Value, Fault> {
        self.at += 1;
        let mut entries = Vec::new();
        self.blank();
        if self.eat('}') {
            return Ok(Value::Object(entries));
        }
        loop {
            self.blank();
            let start = self.at;
            if self.peek() != Some('"') {
                return Err(self.fault("a key in quotes"));
            }
            let key = Json { value: Value::Text(self.string()?), span: self.span(start) };
            self.blank();
            if !self.eat(':') {
                return Err(self.fault("`:`"));
            }
            entries.push((key, self.value(depth + 1)?));
            self.blank();
            if self.eat('}') {
                return Ok(Value::Object(entries));
            }
            if !self.eat(',') {
                return Err(self.fault("`,` or `}`"));
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, Fault> {
        self.at += 1;
        let mut items = Vec::new();
        self.blank();
        if self.eat(']') {
            return Ok(Value::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.blank();
            if self.eat(']') {
                return Ok(Value::List(items));
            }
            if !self.eat(',') {
                return Err(self.fault("`,` or `]`"));
            }
        }
    }

    fn string(&mut self) -> Result<String, Fault> {
        let start = self.at;
        let bytes = self.text.as_bytes();
        let mut end = self.at + 1;
        loop {
            match bytes.get(end) {
                Some(b'"') => break,
                Some(b'\\') => end += 2,
                Some(_) => end += 1,
                None => {
                    let opening = Span { source: self.source, start, end: start + 1 };
                    return Err((
                        Code::Unclosed,
                        opening,
                        "the text is not closed, expected `\"`".to_owned(),
                    ));
                }
            }
        }
        self.at = end + 1;
        let quoted = self.text.get(start..self.at).unwrap_or("");
        // Escapes are read as everywhere else.
        serde_json::from_str(quoted).map_err(|_| {
            let message = "the text has an escape or a character that JSON does not know".to_owned();
            (Code::Unexpected, self.span(start), message)
        })
    }

    fn blank(&mut self) {
        let rest = self.text.get(self.at..).unwrap_or("");
        self.at += rest.find(|c: char| !matches!(c, ' ' | '\t' | '\n' | '\r')).unwrap_or(rest.len());
    }

    fn peek(&self) -> Option<char> {
        self.text.get(self.at..).and_then(|rest| rest.chars().next())
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn span(&self, start: usize) -> Span {
        Span { source: self.source, start, end: self.at.max(start) }
    }

    fn fault(&self, expected: &str) -> Fault {
        let found = match self.peek() {
            Some(c) => format!("`{}`", c.escape_debug()),
            None => "the end".to_owned(),
        };
        let length = self.peek().map_or(0, char::len_utf8);
        let span = Span { source: self.source, start: self.at, end: self.at + length };
        (Code::Unexpected, span, format!("expected {expected}, found {found}"))
    }
}
