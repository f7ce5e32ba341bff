//! An explanation for people who read text.

use std::fmt;

use crate::decision::Decision;
use crate::graph::explain::Explanation;
use crate::graph::explain::step::{Claim, Standing, Step};

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, permission, object, .. } = self;
        match &self.decision {
            Decision::Allowed => writeln!(f, "allowed: {subject} has `{permission}` on {object}")?,
            Decision::Denied => writeln!(f, "denied: {subject} does not have `{permission}` on {object}")?,
            Decision::Conditional { missing } => {
                let missing = missing.join("`, `");
                writeln!(
                    f,
                    "conditional: {subject} may have `{permission}` on {object}; it depends on `{missing}`"
                )?;
            }
        }
        writeln!(f)?;
        write_step(f, &self.tree, &mut String::new())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_step(f, self, &mut String::new())
    }
}

/// Recursion is bounded: trees are.
fn write_step(f: &mut fmt::Formatter<'_>, step: &Step, indent: &mut String) -> fmt::Result {
    let mark = mark(step);
    writeln!(f, "{mark}{}", step.claim)?;
    let before = indent.len();
    indent.push_str(&" ".repeat(mark.len()));
    for (at, below) in step.below.iter().enumerate() {
        let is_last = at + 1 == step.below.len();
        write!(f, "{indent}{}", if is_last { "└─ " } else { "├─ " })?;
        let inner = indent.len();
        indent.push_str(if is_last { "   " } else { "│  " });
        write_step(f, below, indent)?;
        indent.truncate(inner);
    }
    indent.truncate(before);
    Ok(())
}

fn mark(step: &Step) -> &'static str {
    match (&step.claim, step.holds) {
        (Claim::Except | Claim::More(_), _) => "",
        (_, Some(true)) => "yes  ",
        (_, Some(false)) => "no   ",
        (_, None) => "open ",
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Permission { object, permission, rule, stored, again } => {
                write!(f, "{object}#{permission}")?;
                match (rule, stored) {
                    (Some(rule), _) => write!(f, " = {rule}")?,
                    (None, 0) => f.write_str(", nothing stored")?,
                    (None, stored) => write!(f, ", {stored} stored")?,
                }
                f.write_str(if *again { " (see above)" } else { "" })
            }
            Self::Expression(text) => f.write_str(text),
            Self::Except => f.write_str("but not"),
            Self::Relationship { relationship, standing } => {
                write!(f, "{relationship}")?;
                match standing {
                    Standing::Counts => Ok(()),
                    Standing::Expired => f.write_str(", which has expired"),
                    Standing::Unmet => f.write_str(", whose condition is not met"),
                    Standing::Missing(names) => write!(f, ", which depends on `{}`", names.join("`, `")),
                    Standing::Fault(fault) => write!(f, ", whose condition cannot be evaluated: {fault}"),
                }
            }
            Self::NothingStored { object, relation } => write!(f, "{object}#{relation}, nothing stored"),
            Self::Condition { name, missing } if missing.is_empty() => write!(f, "the condition `{name}`"),
            Self::Condition { name, missing } => {
                write!(f, "the condition `{name}`, which depends on `{}`", missing.join("`, `"))
            }
            Self::Itself => f.write_str("the subject itself"),
            Self::More(count) => write!(f, "… and {count} more"),
        }
    }
}
