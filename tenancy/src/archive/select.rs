//! A table's rows of one tenant, as they stand in an archive: in the order of the key, and under the archive's identity.
//!
//! INVARIANT: every name comes from the catalogue; of an archive only identities stand in SQL, as UUIDs.

use crate::{TenantId, moves::tables::Table};

/// Which identity a tenant has in the archive, and which here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identities {
    pub(super) archive: TenantId,
    pub(super) here: TenantId,
}

impl Identities {
    pub(super) fn same(tenant: TenantId) -> Self {
        Self { archive: tenant, here: tenant }
    }

    pub(super) fn is_copy(self) -> bool {
        self.archive != self.here
    }

    /// The columns, as they are to stand here.
    pub(super) fn into_here(self, table: &Table) -> String {
        list(table, self.archive, self.here)
    }

    /// The rows, as they are to stand in the archive.
    pub(super) fn into_archive(self, table: &Table, schema: &str) -> String {
        let order = if table.key.is_empty() {
            table.columns.iter().map(|column| format!("{column}::text collate \"C\"")).collect()
        } else {
            table.key.iter().map(|part| self.key_part(table, part)).collect::<Vec<_>>()
        };
        format!(
            "select {} from {schema}.{} where tenant_id = '{}' order by {}",
            list(table, self.here, self.archive),
            table.name,
            self.here,
            order.join(", ")
        )
    }

    fn key_part(self, table: &Table, part: &str) -> String {
        let (column, collation) = part.strip_suffix(COLLATION).map_or((part, ""), |name| (name, COLLATION));
        let typed = table.columns.iter().zip(&table.types).find(|(name, _)| *name == column);
        let text = typed.map_or_else(
            || column.to_owned(),
            |(name, type_name)| value(name, type_name, self.here, self.archive),
        );
        format!("{text}{collation}")
    }
}

const COLLATION: &str = " collate \"C\"";

fn list(table: &Table, from: TenantId, to: TenantId) -> String {
    let values = table.columns.iter().zip(&table.types);
    values.map(|(name, type_name)| value(name, type_name, from, to)).collect::<Vec<_>>().join(", ")
}

/// A value that as a whole is the one identity becomes the other: no other value is ever equal to a UUID.
fn value(name: &str, type_name: &str, from: TenantId, to: TenantId) -> String {
    let may_hold = type_name == "uuid" || type_name == "text" || type_name.starts_with("character varying");
    match may_hold && !type_name.ends_with(']') && from != to {
        true => format!("(case {name} when '{from}' then '{to}' else {name} end)"),
        false => name.to_owned(),
    }
}

/// The statement by which rows go out.
pub(super) fn copy_out(select: &str) -> String {
    format!("copy ({select}) to stdout")
}
