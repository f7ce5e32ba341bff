//! The place of a sealed value.

use std::fmt;

use uuid::Uuid;

use super::encoding::joined;
use crate::TenantId;

/// Where a sealed value stands: table, column and row. Bound into the seal, together with the tenant.
///
/// The names are those under which it was sealed: when the table or the column is renamed, go on calling it by the old
/// name here. The table's name has no schema, so that a tenant can move to another home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    pub(super) table: &'a str,
    pub(super) column: &'a str,
    row: RowId<'a>,
}

/// The identity of a row inside its table, by the kind of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RowId<'a> {
    /// A UUID.
    Uuid(Uuid),
    /// A whole number.
    Number(i64),
    /// A text, such as a code.
    Text(&'a str),
}

impl<'a> Field<'a> {
    /// `column` of the row `row` of `table`.
    pub fn new(table: &'a str, column: &'a str, row: impl Into<RowId<'a>>) -> Self {
        Self { table, column, row: row.into() }
    }

    /// What the seal is bound to.
    pub(super) fn associated(&self, tenant: TenantId, header: &[u8]) -> Vec<u8> {
        const DOMAIN: &[u8] = b"formwork/field";
        let (uuid, number);
        let (kind, row): (&[u8], &[u8]) = match self.row {
            RowId::Uuid(id) => {
                uuid = id;
                (b"uuid", uuid.as_bytes())
            }
            RowId::Number(id) => {
                number = id.to_be_bytes();
                (b"number", &number)
            }
            RowId::Text(id) => (b"text", id.as_bytes()),
        };
        let tenant = tenant.as_uuid();
        joined(&[DOMAIN, header, tenant.as_bytes(), self.table.as_bytes(), self.column.as_bytes(), kind, row])
    }
}

impl fmt::Display for Field<'_> {
    /// Table and column; a row's identity could be personal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.table, self.column)
    }
}

impl From<Uuid> for RowId<'_> {
    fn from(id: Uuid) -> Self {
        Self::Uuid(id)
    }
}

impl From<i64> for RowId<'_> {
    fn from(id: i64) -> Self {
        Self::Number(id)
    }
}

impl<'a> From<&'a str> for RowId<'a> {
    fn from(id: &'a str) -> Self {
        Self::Text(id)
    }
}

/// The place of a sealed value, with its names written out: a [`Field`](crate::keys::Field).
///
/// ```
/// use formwork_tenancy::{field, keys::Field};
///
/// let id = uuid::Uuid::now_v7();
/// assert_eq!(field!("people", "passport", id), Field::new("people", "passport", id));
/// ```
#[macro_export]
macro_rules! field {
    ($table:literal, $column:literal, $row:expr) => {
        $crate::keys::Field::new($table, $column, $row)
    };
}
