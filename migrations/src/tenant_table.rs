//! The one generator of a tenant's tables.
//!
//! Every table of a tenant home gets exactly one permissive policy for all commands, and whatever else is declared
//! narrows it: policies that are permissive are joined by OR (PostgreSQL manual, "Row Security Policies"), so rules
//! are RESTRICTIVE. Keys, references and indexes lead with the tenant: constraints are checked for all rows,
//! whoever asks, and a query of one tenant has its column in every condition.

use crate::{
    Policy,
    checked_text::{LONGEST, Place, fragment, name, table_name},
    policy::ISOLATION,
};

/// Why a table cannot be written out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTable {
    /// A name that would need quoting, or that SQL keeps to itself.
    #[error("`{name}` cannot be a name: {why}")]
    Name {
        /// As given.
        name: String,
        /// What is wrong, and what to do.
        why: &'static str,
    },
    /// A fragment that could end the place where it is put.
    #[error("`{text}` cannot be put into a statement: {why}")]
    Text {
        /// As given.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A key, a reference or an index of a column that the table is not created with.
    #[error("table `{table}` has no column `{column}`: declare it with `column`")]
    NoColumn {
        /// The table.
        table: String,
        /// As given.
        column: String,
    },
    /// Two columns or two rules of one name.
    #[error("`{name}` is declared twice for table `{table}`")]
    Twice {
        /// The table.
        table: String,
        /// As given.
        name: String,
    },
}

/// A table of a tenant home, from which the SQL of a migration is written.
///
/// With [`column`](Self::column)s the table is created; without, it stands already (a `create table` before it in
/// the same migration) and is altered. Either way it is walled off and granted to the service. Names are put into
/// the text unquoted and unqualified, so that one text serves every home; what is wrong with them is an
/// [`InvalidTable`], never broken SQL.
///
/// # How do I write a migration of my own?
///
/// Print the text once, check it in, and let a test compare the two, as here:
///
/// ```
/// use formwork_migrations::TenantTable;
///
/// let notes = TenantTable::new("notes")
///     .column("id", "uuid not null")
///     .column("project_id", "uuid")
///     .column("author", "text not null")
///     .column("body", "text not null")
///     .column("is_private", "boolean not null default false")
///     .column("created_at", "timestamptz not null default now()")
///     .key("id")
///     .references("project_id", "projects")
///     .unique(&["project_id", "body"])
///     .index(&["created_at"])
///     .restrict(
///         "own_rows",
///         "not is_private or author = (select current_setting('app.author', true))",
///         "author = (select current_setting('app.author', true))",
///     )
///     .sql()?;
/// assert_eq!(notes, include_str!("../tests/notes.sql"));
/// # Ok::<_, formwork_migrations::InvalidTable>(())
/// ```
///
/// # How do I wall off a table that I have written by hand?
///
/// ```
/// use formwork_migrations::{TENANT_COLUMN, TenantTable};
///
/// let sql = format!(
///     "create table tags ({TENANT_COLUMN}, id uuid not null, note_id uuid, label text not null);\n{}",
///     TenantTable::new("tags").key("id").references("note_id", "notes").index(&["label"]).sql()?
/// );
/// assert!(sql.contains("alter table tags add primary key (tenant_id, id);"));
/// assert!(sql.contains("foreign key (tenant_id, note_id) references notes (tenant_id, id);"));
/// assert!(sql.contains("create index tags_by_label on tags (tenant_id, label);"));
/// assert!(sql.contains("alter table tags force row level security;"));
/// # Ok::<_, formwork_migrations::InvalidTable>(())
/// ```
///
/// # What happens to a name that would break the statement?
///
/// ```
/// use formwork_migrations::{InvalidTable, TenantTable};
///
/// let refused = TenantTable::new("order").sql().unwrap_err();
/// assert!(matches!(refused, InvalidTable::Name { .. }), "{refused}");
/// let refused = TenantTable::new("notes").restrict("open", "true); drop table notes; --", "true").sql();
/// assert!(matches!(refused, Err(InvalidTable::Text { .. })));
/// ```
#[derive(Debug, Clone)]
pub struct TenantTable {
    name: String,
    append_only: bool,
    columns: Vec<(String, String)>,
    key: Option<String>,
    references: Vec<Reference>,
    indexes: Vec<Index>,
    restrictions: Vec<Policy>,
}

#[derive(Debug, Clone)]
struct Reference {
    column: String,
    parent: String,
}

#[derive(Debug, Clone)]
struct Index {
    unique: bool,
    columns: Vec<String>,
}

/// The column by which a row is a tenant's, for a `create table` that is written by hand: never null, and by default
/// the tenant of the transaction.
pub const TENANT_COLUMN: &str =
    "tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid";

impl TenantTable {
    /// Named so in every home; `schema.name` for a table of one schema, such as a stream of the platform.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            append_only: false,
            columns: Vec::new(),
            key: None,
            references: Vec::new(),
            indexes: Vec::new(),
            restrictions: Vec::new(),
        }
    }

    /// Grants the service login no UPDATE and no DELETE.
    #[must_use]
    pub fn append_only(mut self) -> Self {
        self.append_only = true;
        self
    }

    /// The table is created, with this column behind `tenant_id`. `definition` is its type and what belongs to it:
    /// `text not null default ''`.
    #[must_use]
    pub fn column(mut self, name: &str, definition: &str) -> Self {
        self.columns.push((name.to_owned(), definition.trim().to_owned()));
        self
    }

    /// The primary key `(tenant_id, column)`.
    #[must_use]
    pub fn key(mut self, column: &str) -> Self {
        self.key = Some(column.to_owned());
        self
    }

    /// A foreign key `(tenant_id, column)` to `parent (tenant_id, id)`: a row of another tenant cannot be referenced,
    /// and so neither seen nor cascaded into. An index for the way back is made with it.
    #[must_use]
    pub fn references(mut self, column: &str, parent: &str) -> Self {
        self.references.push(Reference { column: column.to_owned(), parent: parent.to_owned() });
        self
    }

    /// An index on `(tenant_id, columns..)`, named `table_by_columns`.
    #[must_use]
    pub fn index(mut self, columns: &[&str]) -> Self {
        self.indexes.push(Index { unique: false, columns: columns.iter().map(|&c| c.to_owned()).collect() });
        self
    }

    /// A unique index on `(tenant_id, columns..)`: a refusal tells nothing of other tenants.
    #[must_use]
    pub fn unique(mut self, columns: &[&str]) -> Self {
        self.indexes.push(Index { unique: true, columns: columns.iter().map(|&c| c.to_owned()).collect() });
        self
    }

    /// One more rule, as a RESTRICTIVE policy named `rule_<hash>`: rows are the tenant's *and* fulfil it. `using`
    /// decides which rows are seen and changed, `with_check` which may be written. Read settings in a sub-select, so
    /// that they are evaluated once a query.
    ///
    /// Tell the doctor of it ([`DoctorConfig::table`](https://docs.rs/formwork-tenancy)), which then looks whether
    /// every home has it, with this text.
    #[must_use]
    pub fn restrict(mut self, rule: &str, using: &str, with_check: &str) -> Self {
        self.restrictions.push(Policy::restrictive(rule, using, with_check));
        self
    }

    /// Its name, as given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The rules beside the tenant's own, in the order of their declaration.
    pub fn restrictions(&self) -> &[Policy] {
        &self.restrictions
    }

    /// All statements: the table where it is to be created, keys, indexes, row security enabled and forced, the
    /// policies, and the rights of the service.
    ///
    /// # Errors
    ///
    /// [`InvalidTable`] names what cannot be put into SQL.
    pub fn sql(&self) -> Result<String, InvalidTable> {
        self.check()?;
        let table = &self.name;
        let mut statements = Vec::new();
        if self.columns.is_empty() {
            let constraints = self.constraints().into_iter();
            statements.extend(constraints.map(|text| format!("alter table {table} add {text}")));
        } else {
            let columns = self.columns.iter().map(|(name, definition)| format!("{name} {definition}"));
            let parts: Vec<_> =
                [TENANT_COLUMN.to_owned()].into_iter().chain(columns).chain(self.constraints()).collect();
            statements.push(format!("create table {table} (\n  {}\n)", parts.join(",\n  ")));
        }
        statements.extend(self.all_indexes().map(|index| self.index_sql(&index)));
        statements.push(format!("alter table {table} enable row level security"));
        statements.push(format!("alter table {table} force row level security"));
        statements.push(Policy::isolation().sql(table));
        statements.extend(self.restrictions.iter().map(|policy| policy.sql(table)));
        let rights = if self.append_only { "select, insert" } else { "select, insert, update, delete" };
        statements.push(format!("grant {rights} on {table} to formwork_app"));
        Ok(statements.join(";\n") + ";\n")
    }

    fn constraints(&self) -> Vec<String> {
        let key = self.key.iter().map(|column| format!("primary key (tenant_id, {column})"));
        let references = self.references.iter().map(|Reference { column, parent }| {
            format!("foreign key (tenant_id, {column}) references {parent} (tenant_id, id)")
        });
        key.chain(references).collect()
    }

    /// Those asked for, and one for each reference that no other serves.
    fn all_indexes(&self) -> impl Iterator<Item = Index> {
        let served = |column: &str| {
            self.indexes.iter().any(|index| index.columns.first().is_some_and(|c| c == column))
        };
        let back = self.references.iter().filter(move |reference| !served(&reference.column));
        let back = back.map(|reference| Index { unique: false, columns: vec![reference.column.clone()] });
        self.indexes.iter().cloned().chain(back)
    }

    fn index_sql(&self, index: &Index) -> String {
        let unique = if index.unique { "unique " } else { "" };
        format!(
            "create {unique}index {} on {} (tenant_id, {})",
            self.index_name(index),
            self.name,
            index.columns.join(", ")
        )
    }

    fn index_name(&self, index: &Index) -> String {
        let table = self.name.rsplit('.').next().unwrap_or_default();
        format!("{table}_by_{}", index.columns.join("_"))
    }

    fn check(&self) -> Result<(), InvalidTable> {
        table_name(&self.name)?;
        let mut columns: Vec<&str> = vec!["tenant_id"];
        for (column, definition) in &self.columns {
            name(column, LONGEST)?;
            fragment(definition, Place::Column)?;
            self.once(&mut columns, column)?;
        }
        for reference in &self.references {
            table_name(&reference.parent)?;
        }
        let indexed = self.indexes.iter().flat_map(|index| &index.columns);
        let used =
            self.key.iter().chain(self.references.iter().map(|reference| &reference.column)).chain(indexed);
        for column in used {
            name(column, LONGEST)?;
            if !self.columns.is_empty() && !columns.contains(&column.as_str()) {
                return Err(InvalidTable::NoColumn { table: self.name.clone(), column: column.clone() });
            }
        }
        let mut indexes: Vec<String> = Vec::new();
        for index in self.all_indexes() {
            if index.columns.is_empty() {
                name("", LONGEST)?;
            }
            let index_name = self.index_name(&index);
            name(&index_name, LONGEST)?;
            if indexes.contains(&index_name) {
                return Err(InvalidTable::Twice { table: self.name.clone(), name: index_name });
            }
            indexes.push(index_name);
        }
        let mut rules = vec![ISOLATION];
        for policy in &self.restrictions {
            name(policy.rule(), LONGEST - "_12345678".len())?;
            fragment(policy.using(), Place::Clause)?;
            fragment(policy.with_check(), Place::Clause)?;
            self.once(&mut rules, policy.rule())?;
        }
        Ok(())
    }

    fn once<'a>(&self, known: &mut Vec<&'a str>, name: &'a str) -> Result<(), InvalidTable> {
        if known.contains(&name) {
            return Err(InvalidTable::Twice { table: self.name.clone(), name: name.to_owned() });
        }
        known.push(name);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{InvalidTable, TenantTable};

    #[test]
    fn what_is_declared_twice_or_not_at_all_is_refused() {
        let table = || TenantTable::new("notes").column("id", "uuid not null").key("id");
        let twice =
            |name: &str| Err(InvalidTable::Twice { table: "notes".to_owned(), name: name.to_owned() });
        assert_eq!(table().column("id", "text").sql(), twice("id"));
        assert_eq!(table().column("tenant_id", "uuid").sql(), twice("tenant_id"));
        assert_eq!(table().restrict("tenant_isolation", "true", "true").sql(), twice("tenant_isolation"));
        assert_eq!(table().restrict("a", "true", "true").restrict("a", "true", "true").sql(), twice("a"));
        assert_eq!(table().index(&["id"]).unique(&["id"]).sql(), twice("notes_by_id"));
        for other in [table().index(&["body"]), table().references("body", "texts"), table().key("body")] {
            assert!(matches!(other.sql(), Err(InvalidTable::NoColumn { column, .. }) if column == "body"));
        }
    }

    #[test]
    fn names_are_checked_wherever_they_stand() {
        let bad = "x; drop table y";
        for table in [
            TenantTable::new(bad),
            TenantTable::new("a").key(bad),
            TenantTable::new("a").column(bad, "text"),
            TenantTable::new("a").references(bad, "b"),
            TenantTable::new("a").references("b", bad),
            TenantTable::new("a").index(&["b", bad]),
            TenantTable::new("a").index(&[&"b".repeat(60)]),
            TenantTable::new("a").index(&[]),
            TenantTable::new("a").restrict(bad, "true", "true"),
            TenantTable::new("a").restrict(&"r".repeat(55), "true", "true"),
        ] {
            assert!(matches!(table.sql(), Err(InvalidTable::Name { .. })), "{table:?}");
        }
        for table in [
            TenantTable::new("a").column("b", "text); drop table y; --"),
            TenantTable::new("a").restrict("r", bad, "true"),
            TenantTable::new("a").restrict("r", "true", bad),
        ] {
            assert!(matches!(table.sql(), Err(InvalidTable::Text { .. })), "{table:?}");
        }
    }
}
