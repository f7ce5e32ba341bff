//! What a check is: one question to the catalogue, and the rules that its answers break.
//!
//! A query answers with rows of (code, object, what is wrong, SQL that repairs it) and takes the parameters
//! of [`Questions`]. INVARIANT: their number does not depend on how many tables or homes there are.

use serde::Serialize;
use sqlx::{Postgres, postgres::PgArguments, query::QueryAs};

use super::{DoctorConfig, Finding, probe::Expected, registered::Registered};

/// Is the service still safe?
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// A wall has a hole, or would not stand where it is asked to.
    Error,
    /// Slow, or one step away from a hole.
    Warning,
}

/// One thing that the doctor looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rule {
    code: &'static str,
    severity: Severity,
    remedy: &'static str,
}

impl Rule {
    pub(super) const fn error(code: &'static str, remedy: &'static str) -> Self {
        Self { code, severity: Severity::Error, remedy }
    }

    pub(super) const fn warning(code: &'static str, remedy: &'static str) -> Self {
        Self { code, severity: Severity::Warning, remedy }
    }

    /// Its stable name.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// What a finding of it means.
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// What to do.
    pub fn remedy(&self) -> &'static str {
        self.remedy
    }
}

/// A question and its rules.
pub(super) struct Check {
    pub(super) rules: &'static [Rule],
    pub(super) query: &'static str,
}

/// A question about logins alone: any login may ask it.
macro_rules! of_logins {
    ($query:literal) => {
        concat!(include_str!("logins.sql"), $query)
    };
}

/// A question about everything; the owner asks it.
macro_rules! of_catalogue {
    ($query:literal) => {
        concat!(include_str!("logins.sql"), include_str!("catalogue.sql"), $query)
    };
}

pub(super) use {of_catalogue, of_logins};

pub(super) type Row = (String, String, String, Option<String>);

/// The parameters that every query takes, in this order.
pub(super) struct Questions<'a> {
    pub(super) config: &'a DoctorConfig,
    pub(super) app_role: &'a str,
    pub(super) expected: &'a Expected,
    pub(super) registered: &'a Registered,
}

impl<'a> Questions<'a> {
    /// Never prepared by name: the connection may come through a pooler.
    pub(super) fn ask(&self, check: &Check) -> QueryAs<'a, Postgres, Row, PgArguments> {
        sqlx::query_as(check.query)
            .bind(self.app_role)
            .bind(&self.config.relay_role)
            .bind(&self.config.streams)
            .bind(&self.config.global_tables)
            .bind(&self.config.definers)
            .bind(&self.expected.policy)
            .bind(&self.expected.default)
            .bind(&self.expected.create_policy)
            .bind(&self.config.always_triggers)
            .bind(&self.expected.policy_name)
            .bind(&self.expected.restrictions)
            .bind(&self.registered.ids)
            .bind(&self.registered.slugs)
            .bind(&self.registered.schemas)
            .bind(&self.registered.epochs)
            .bind(&self.registered.own_roles)
            .bind(&self.registered.leaving)
            .persistent(false)
    }
}

impl Check {
    /// A row whose code no rule has would be a mistake of this crate; a test holds that there is none.
    pub(super) fn findings(&self, rows: Vec<Row>) -> impl Iterator<Item = Finding> {
        rows.into_iter().filter_map(|(code, object, problem, sql)| {
            let rule = self.rules.iter().find(|rule| rule.code == code)?;
            Some(Finding::new(*rule, object, problem, sql))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::{CHECKS, rules};

    #[test]
    fn every_rule_is_asked_for_by_its_query() {
        for check in CHECKS {
            for rule in check.rules {
                let quoted = format!("'{}'", rule.code);
                assert!(check.query.contains(&quoted), "{} is never reported", rule.code);
            }
        }
    }

    #[test]
    fn codes_are_unique() {
        let mut seen = HashSet::new();
        for rule in rules() {
            assert!(seen.insert(rule.code), "{} stands twice", rule.code);
            assert!(!rule.remedy.is_empty());
        }
    }
}
