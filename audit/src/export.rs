//! The trail as a file, piece by piece: CSV for a spreadsheet, NDJSON for a program.
//!
//! INVARIANT: a cell of the CSV is never a formula. Whoever can write an event's text writes no code for the spreadsheet of
//! whoever reads it.

use std::fmt;

use formwork_tenancy::{Cursor, TenantTx};
use serde_json::{Value, json};

use crate::{Audit, AuditError, Event, Filter, StoredEvent, access::EXPORTED};

/// Events in one piece.
const PIECE: u64 = 200;

/// How events are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExportFormat {
    /// RFC 4180, every cell quoted, with a first line of names. A cell that a spreadsheet would take for a formula has an
    /// apostrophe before it.
    Csv,
    /// An object a line, as [`StoredEvent`] is serialized.
    Ndjson,
}

impl ExportFormat {
    /// As HTTP names it.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8",
            Self::Ndjson => "application/x-ndjson",
        }
    }
}

impl fmt::Display for ExportFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
        })
    }
}

/// An export under way: what was stored when it was begun, the newest first.
///
/// Each piece may be read in a transaction of its own, so that a slow reader holds no connection. The trail only grows, so
/// the pieces are those of one state of it.
///
/// ```no_run
/// # async fn example(audit: formwork_audit::Audit, tenants: formwork_tenancy::Tenants,
/// #   session: formwork_tenancy::Session) -> Result<(), Box<dyn std::error::Error>> {
/// use formwork_audit::{Export, ExportFormat, Filter};
///
/// let mut tx = tenants.begin(&session).await?;
/// let mut export = Export::begin(&audit, &mut tx, ExportFormat::Csv, Filter::default()).await?;
/// tx.commit().await?;
/// loop {
///     let mut tx = tenants.begin_read(&session).await?;
///     let Some(piece) = export.next(&audit, &mut tx).await? else { break };
///     eprintln!("{} of {}", export.written(), export.total());
///     print!("{piece}");
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Export {
    format: ExportFormat,
    filter: Filter,
    next: Next,
    written: u64,
    total: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Begins with the line of names.
    Head(Cursor),
    Behind(Cursor),
    End,
}

impl Export {
    /// Counts what there is, and tells the trail who exports what: commit the transaction before anything is shown.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn begin(
        audit: &Audit,
        tx: &mut TenantTx,
        format: ExportFormat,
        filter: Filter,
    ) -> Result<Self, AuditError> {
        let total = audit.count(tx, &filter).await?;
        let after = json!({"format": format.to_string(), "filter": filter, "events": total});
        // Its own event is the first that is not in it.
        let event = Event::of(&EXPORTED).after(after);
        let end = Cursor::after(event.id());
        audit.tell_access(tx, event).await?;
        Ok(Self { format, filter, next: Next::Head(end), written: 0, total })
    }

    /// The next piece of the file, some hundred events; none when it is whole.
    ///
    /// # Errors
    ///
    /// When the database fails; the piece can be asked for again.
    pub async fn next(&mut self, audit: &Audit, tx: &mut TenantTx) -> Result<Option<String>, AuditError> {
        let (cursor, mut piece) = match self.next {
            Next::End => return Ok(None),
            Next::Behind(cursor) => (cursor, String::new()),
            Next::Head(cursor) => (cursor, self.head()),
        };
        let page = audit.list(tx, &self.filter, Some(cursor), PIECE).await?;
        for event in &page.events {
            self.line(event, &mut piece);
        }
        self.written += page.events.len() as u64;
        self.next = page.next.map_or(Next::End, Next::Behind);
        Ok(Some(piece))
    }

    /// Events in the pieces until now.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Events that were there when it began. What commits late may come to it.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// How it is written.
    pub fn format(&self) -> ExportFormat {
        self.format
    }

    fn head(&self) -> String {
        match self.format {
            ExportFormat::Ndjson => String::new(),
            ExportFormat::Csv => {
                let mut line = String::new();
                cells(NAMES.iter().map(|name| (*name).to_owned()), &mut line);
                line
            }
        }
    }

    fn line(&self, event: &StoredEvent, into: &mut String) {
        match self.format {
            ExportFormat::Ndjson => {
                into.push_str(&serde_json::to_string(event).unwrap_or_default());
                into.push('\n');
            }
            ExportFormat::Csv => cells(values(event), into),
        }
    }
}

const NAMES: [&str; 19] = [
    "id",
    "at",
    "actor_type",
    "actor_id",
    "action",
    "targets",
    "outcome",
    "reason",
    "before",
    "after",
    "evidence",
    "request_id",
    "ip",
    "user_agent",
    "impersonator",
    "on_behalf_of",
    "trace_id",
    "region",
    "personal",
];

/// In the order of [`NAMES`].
fn values(event: &StoredEvent) -> impl Iterator<Item = String> {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let json = |value: &Option<Value>| value.as_ref().map(Value::to_string).unwrap_or_default();
    [
        event.id.to_string(),
        event.at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
        event.actor_type.clone(),
        event.actor_id.clone(),
        event.action.clone(),
        event.targets.to_string(),
        event.outcome.clone(),
        text(&event.reason),
        json(&event.before),
        json(&event.after),
        json(&event.evidence),
        text(&event.request_id),
        text(&event.ip),
        text(&event.user_agent),
        text(&event.impersonator),
        text(&event.on_behalf_of),
        text(&event.trace_id),
        text(&event.region),
        json(&event.personal),
    ]
    .into_iter()
}

fn cells(values: impl Iterator<Item = String>, into: &mut String) {
    for (nr, value) in values.enumerate() {
        if nr > 0 {
            into.push(',');
        }
        into.push('"');
        // OWASP, "CSV Injection": these, also in their wide forms, and what a program strips before it looks.
        if value.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'])
            || value.trim_start().starts_with(['=', '+', '-', '@'])
        {
            into.push('\'');
        }
        into.push_str(&value.replace('"', "\"\""));
        into.push('"');
    }
    into.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_never_a_formula_and_never_ends_early() {
        let line = |text: &str| {
            let mut line = String::new();
            cells([text.to_owned(), "b".to_owned()].into_iter(), &mut line);
            line
        };
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1", "＝1", "－1"] {
            assert_eq!(line(formula), format!("\"'{formula}\",\"b\"\r\n"));
        }
        assert_eq!(line("a,\"b\"\r\nc"), "\"a,\"\"b\"\"\r\nc\",\"b\"\r\n");
        assert_eq!(line(r#"{"a": "=1"}"#), "\"{\"\"a\"\": \"\"=1\"\"}\",\"b\"\r\n");
        assert_eq!(line(""), "\"\",\"b\"\r\n");
    }
}
