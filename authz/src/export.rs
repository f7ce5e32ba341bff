//! All relationships of a tenant on their way out, as a stream: COPY, which row security allows in this direction.
//!
//! INVARIANT: of one moment, and complete: an export that was cut short is an error, or was not read to its end.

use std::fmt;

use chrono::DateTime;
use formwork_tenancy::{StorageError, TenantTx};
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};

use crate::authz::Authz;
use crate::object::Object;
use crate::relationship::Relationship;
use crate::subject::Subject;

/// An export, made by [`Authz::export`]: relationships come one by one, in the order of their text's parts.
///
/// Given up in the middle, the transaction cannot go on, and its connection is closed.
///
/// ```no_run
/// # async fn example(
/// #     authz: formwork_authz::Authz,
/// #     tx: &mut formwork_tenancy::TenantTx,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// let mut export = authz.export(tx).await?;
/// while let Some(relationship) = export.next().await? {
///     println!("{relationship}");
///     if export.exported() % 100_000 == 0 {
///         eprintln!("{} of {}", export.exported(), export.expected());
///     }
/// }
/// # Ok(()) }
/// ```
#[must_use = "an export gives what it is asked for"]
pub struct Export<'t> {
    rows: BoxStream<'t, Result<Vec<u8>, sqlx::Error>>,
    /// What has come and was not given out, from `at` on.
    buffer: Vec<u8>,
    at: usize,
    exported: u64,
    expected: u64,
}

impl Authz {
    /// Begins an export of all that is stored, whether or not the schema has a place for it.
    ///
    /// # Errors
    ///
    /// [`StorageError`] when the database failed.
    pub async fn export<'t>(&self, tx: &'t mut TenantTx) -> Result<Export<'t>, StorageError> {
        const COPY: &str = "copy (
            select namespace, object_id, relation, subject_ns, subject_id, subject_rel,
                   condition, context::text, (extract(epoch from expires_at) * 1000000)::bigint
              from permission_tuples
             order by namespace, object_id, relation, subject_ns, subject_id, subject_rel nulls first) to stdout";
        let expected: i64 =
            sqlx::query_scalar("select count(*) from permission_tuples").fetch_one(&mut **tx).await?;
        let rows = tx.raw_connection_unguarded().copy_out_raw(COPY).await?;
        let rows = rows.map_ok(|bytes| bytes.to_vec()).boxed();
        Ok(Export { rows, buffer: Vec::new(), at: 0, exported: 0, expected: expected.unsigned_abs() })
    }
}

impl Export<'_> {
    /// The next relationship; none at the end.
    ///
    /// # Errors
    ///
    /// [`StorageError`] when the database failed.
    pub async fn next(&mut self) -> Result<Option<Relationship>, StorageError> {
        loop {
            let waiting = self.buffer.get(self.at..).unwrap_or_default();
            if let Some(end) = waiting.iter().position(|&byte| byte == b'\n') {
                let read = relationship(waiting.get(..end).unwrap_or_default());
                self.at += end + 1;
                self.exported += 1;
                return Ok(Some(
                    read.ok_or_else(|| sqlx::Error::Decode("a line of COPY that is none".into()))?,
                ));
            }
            self.buffer.drain(..self.at);
            self.at = 0;
            match self.rows.try_next().await? {
                Some(bytes) => self.buffer.extend(bytes),
                None => return Ok(None),
            }
        }
    }

    /// How many have been given out.
    pub fn exported(&self) -> u64 {
        self.exported
    }

    /// How many there were just before it began.
    pub fn expected(&self) -> u64 {
        self.expected
    }
}

impl fmt::Debug for Export<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Export").field("exported", &self.exported).finish_non_exhaustive()
    }
}

/// A line of COPY's text format (PostgreSQL manual, "COPY", "Text Format").
fn relationship(line: &[u8]) -> Option<Relationship> {
    let mut columns = std::str::from_utf8(line).ok()?.split('\t').map(column);
    let mut next = || columns.next().flatten();
    let (namespace, object_id, relation) = (next()??, next()??, next()??);
    let (subject_type, subject_id, subject_relation) = (next()??, next()??, next()?);
    let subject = match subject_relation {
        Some(relation) => Subject::userset(subject_type, subject_id, relation),
        None => Subject::new(subject_type, subject_id),
    };
    let (condition, context, expires_at) = (next()?, next()?, next()?);
    let context = match context {
        Some(text) => Some(serde_json::from_str::<serde_json::Value>(&text).ok()?.to_string()),
        None => None,
    };
    let expires_at = match expires_at {
        Some(micros) => Some(DateTime::from_timestamp_micros(micros.parse().ok()?)?),
        None => None,
    };
    let plain = Relationship::new(Object::new(namespace, object_id), relation, subject);
    Some(plain.with_terms(condition, context, expires_at))
}

/// One column; the outer `None` when it is malformed, the inner one for null.
fn column(text: &str) -> Option<Option<String>> {
    if text == r"\N" {
        return Some(None);
    }
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        plain.push(match letter {
            '\\' => match letters.next()? {
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'v' => '\u{b}',
                other => other,
            },
            plain => plain,
        });
    }
    Some(Some(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_read_as_copy_writes_it() {
        assert_eq!(column(r"\N"), Some(None));
        assert_eq!(column(r"a\\b\tc\nN"), Some(Some("a\\b\tc\nN".to_owned())));
        assert_eq!(column("broken\\"), None);
    }
}
