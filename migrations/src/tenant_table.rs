//! The one generator of row-security text.
//!
//! Every table of a tenant home gets exactly one permissive policy for all commands. The setting is
//! read through a scalar sub-select, so that it is evaluated once a query and not once a row, and
//! through `nullif`, because after a transaction that used `SET LOCAL` the setting is the empty
//! string and not null (PostgreSQL manual, "SET"): without a tenant there are no rows, never an
//! error and never all rows.

/// A table of a tenant home, from which its row-security statements are generated.
///
/// ```
/// use formwork_migrations::TenantTable;
///
/// let sql = TenantTable::new("projects").sql();
/// assert!(sql.contains("alter table projects force row level security;"));
/// ```
#[derive(Debug, Clone)]
pub struct TenantTable {
    name: String,
    append_only: bool,
}

impl TenantTable {
    /// Whose column `tenant_id` names the tenant.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), append_only: false }
    }

    /// Grants the service login no UPDATE and no DELETE.
    #[must_use]
    pub fn append_only(mut self) -> Self {
        self.append_only = true;
        self
    }

    /// The statements that enable and force row security, create the policy and grant the rights.
    pub fn sql(&self) -> String {
        const TENANT: &str =
            "tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid)";
        let rights = if self.append_only { "select, insert" } else { "select, insert, update, delete" };
        format!(
            "alter table {name} enable row level security;\n\
             alter table {name} force row level security;\n\
             create policy tenant_isolation on {name} as permissive for all to public\n\
             \x20 using ({TENANT})\n\
             \x20 with check ({TENANT});\n\
             grant {rights} on {name} to formwork_app;\n",
            name = self.name,
        )
    }
}
