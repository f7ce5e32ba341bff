//! What an isolation test found, for whoever has to close it.

use std::fmt;

use crate::Isolation;

/// A way from one tenant to another's rows.
pub struct Leak {
    pub(super) attacker: Isolation,
    pub(super) victim: Isolation,
    pub(super) tables: Vec<String>,
    pub(super) what: String,
}

impl Leak {
    /// Where the attacker's home was, and the victim's.
    pub fn homes(&self) -> (Isolation, Isolation) {
        (self.attacker, self.victim)
    }

    /// The relation that leaks; where only an answer gave it away, those that the victim's rows stood in.
    pub fn tables(&self) -> &[String] {
        &self.tables
    }

    /// What came through.
    pub fn what(&self) -> &str {
        &self.what
    }
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "tenant A reached tenant B's rows")?;
        writeln!(f, "  homes:  A in `{}`, B in `{}`", self.attacker, self.victim)?;
        writeln!(f, "  tables: {}", self.tables.join(", "))?;
        write!(f, "  leaked: {}", self.what)
    }
}

/// As people read it: it is met in a failed test.
impl fmt::Debug for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Leak {}
