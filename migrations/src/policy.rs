//! A policy's text, and the name that carries the hash of it.
//!
//! Two homes whose policies have one name have one text, and a text that was changed by hand under its name is
//! told from the generator's: the name says what should be there. INVARIANT: the hash is of the text as it is
//! written here, with the clauses' surrounding space removed, and does not depend on the table.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// True for the rows of the transaction's tenant. The setting is read through a sub-select, so that it is
/// evaluated once a query; through `nullif`, since after `SET LOCAL` has ended it is the empty string.
const TENANT: &str = "tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid)";

/// What of a policy's name comes before the hash, for the one that every table has.
pub(crate) const ISOLATION: &str = "tenant_isolation";

/// A row-security policy as the generator writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    rule: String,
    permissive: bool,
    using: String,
    with_check: String,
}

impl Policy {
    /// The one permissive policy of every tenant's table.
    pub fn isolation() -> Self {
        Self {
            rule: ISOLATION.to_owned(),
            permissive: true,
            using: TENANT.to_owned(),
            with_check: TENANT.to_owned(),
        }
    }

    pub(crate) fn restrictive(rule: &str, using: &str, with_check: &str) -> Self {
        Self {
            rule: rule.to_owned(),
            permissive: false,
            using: using.trim().to_owned(),
            with_check: with_check.trim().to_owned(),
        }
    }

    /// What it is for; its name without the hash.
    pub fn rule(&self) -> &str {
        &self.rule
    }

    pub(crate) fn using(&self) -> &str {
        &self.using
    }

    pub(crate) fn with_check(&self) -> &str {
        &self.with_check
    }

    /// Its name: the rule and eight hexadecimal digits, the beginning of the SHA-256 of its text.
    pub fn name(&self) -> String {
        let mut name = self.rule.clone();
        name.push('_');
        for byte in Sha256::digest(self.text()).iter().take(4) {
            let _ = write!(name, "{byte:02x}");
        }
        name
    }

    /// The statement that creates it on `table`, a name that may be put into SQL as it is; no semicolon behind it.
    pub fn sql(&self, table: &str) -> String {
        format!("create policy {} on {table} {}", self.name(), self.text())
    }

    fn text(&self) -> String {
        let Self { permissive, using, with_check, .. } = self;
        let kind = if *permissive { "permissive" } else { "restrictive" };
        format!("as {kind} for all to public\n  using ({using})\n  with check ({with_check})")
    }
}

#[cfg(test)]
mod tests {
    use super::Policy;

    #[test]
    fn the_name_follows_the_text_and_nothing_else() {
        let own = Policy::restrictive("own", "true", "a = 1");
        assert_eq!(own.name(), Policy::restrictive("own", " true\n", "a = 1").name());
        for other in
            [Policy::restrictive("own", "true", "a = 2"), Policy::restrictive("own", "a = 1", "true")]
        {
            assert_ne!(own.name(), other.name());
        }
        assert_eq!(own.name().len(), "own_".len() + 8);
    }

    /// Whoever changes the text changes the name: every table of every home then needs a migration.
    #[test]
    fn the_isolation_policy_of_this_version() {
        let sql = Policy::isolation().sql("notes");
        assert_eq!(
            sql,
            "create policy tenant_isolation_8c2860cb on notes as permissive for all to public\n  \
             using (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid))\n  \
             with check (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid))"
        );
    }
}
