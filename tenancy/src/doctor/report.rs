//! What the doctor answers.

use std::fmt;

use serde::{Serialize, Serializer, ser::SerializeStruct};

use super::{Rule, Severity};
use crate::databases::MAIN;

/// One mistake at one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    #[serde(flatten)]
    rule: Rule,
    database: String,
    object: String,
    problem: String,
    sql: Option<String>,
}

impl Finding {
    pub(super) fn new(rule: Rule, object: String, problem: String, sql: Option<String>) -> Self {
        Self { rule, database: MAIN.to_owned(), object, problem, sql }
    }

    pub(super) fn in_database(mut self, name: &str) -> Self {
        self.database = name.to_owned();
        self
    }

    /// In which database, by the name that the control plane knows it by.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Stable name of the rule, such as `rls-not-forced`.
    pub fn code(&self) -> &'static str {
        self.rule.code()
    }

    /// Is the service still safe?
    pub fn severity(&self) -> Severity {
        self.rule.severity()
    }

    /// Where: a role, a table, `policy .. on ..`, `trigger .. on ..`.
    pub fn object(&self) -> &str {
        &self.object
    }

    /// What is wrong there.
    pub fn problem(&self) -> &str {
        &self.problem
    }

    /// What to do.
    pub fn remedy(&self) -> &'static str {
        self.rule.remedy()
    }

    /// Statements that do it, when no decision is left to people. Some need a superuser.
    pub fn sql(&self) -> Option<&str> {
        self.sql.as_deref()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity() {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{severity:<7} {:<24} {}", self.code(), self.object)?;
        match self.database.as_str() {
            MAIN => writeln!(f),
            other => writeln!(f, " (database {other})"),
        }?;
        writeln!(f, "        {}", self.problem)?;
        write!(f, "        remedy: {}", self.remedy())?;
        if let Some(sql) = &self.sql {
            write!(f, "\n        sql:    {}", sql.replace('\n', "\n                "))?;
        }
        Ok(())
    }
}

/// Everything that was found, errors first.
///
/// Printed it is for people; serialized it is `{"healthy": .., "findings": [..]}`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    findings: Vec<Finding>,
}

impl Report {
    /// In the order in which their SQL may be run.
    pub(super) fn new(mut findings: Vec<Finding>) -> Self {
        findings.sort_by(|a, b| {
            (a.severity(), &a.database, a.code(), &a.object, &a.problem).cmp(&(
                b.severity(),
                &b.database,
                b.code(),
                &b.object,
                &b.problem,
            ))
        });
        Self { findings }
    }

    /// Every mistake, errors first.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Are there no errors? Warnings may be there.
    pub fn is_healthy(&self) -> bool {
        self.count(Severity::Error) == 0
    }

    fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity() == severity).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        let verdict = if self.is_healthy() { "healthy" } else { "not healthy" };
        let errors = counted(self.count(Severity::Error), "error");
        let warnings = counted(self.count(Severity::Warning), "warning");
        write!(f, "{verdict}: {errors}, {warnings}")
    }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut report = serializer.serialize_struct("Report", 2)?;
        report.serialize_field("healthy", &self.is_healthy())?;
        report.serialize_field("findings", &self.findings)?;
        report.end()
    }
}
