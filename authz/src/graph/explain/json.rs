//! An explanation for programs.

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::decision::Decision;
use crate::graph::explain::step::{Claim, Standing, Step};
use crate::graph::explain::{Explanation, Remedies};
use crate::relationship::Change;

impl Serialize for Explanation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let decision = match &self.decision {
            Decision::Allowed => "allowed",
            Decision::Denied => "denied",
            Decision::Conditional { .. } => "conditional",
        };
        map.serialize_entry("decision", decision)?;
        if let Decision::Conditional { missing } = &self.decision {
            map.serialize_entry("missing", missing)?;
        }
        map.serialize_entry("subject", &self.subject)?;
        map.serialize_entry("permission", &self.permission)?;
        map.serialize_entry("object", &self.object)?;
        map.serialize_entry("relationships", &self.relationships)?;
        map.serialize_entry("tree", &self.tree)?;
        map.end()
    }
}

impl Serialize for Step {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.claim.entries::<S>(&mut map)?;
        map.serialize_entry("holds", &self.holds)?;
        if !self.below.is_empty() {
            map.serialize_entry("below", &self.below)?;
        }
        map.end()
    }
}

impl Claim {
    fn entries<S: Serializer>(&self, map: &mut S::SerializeMap) -> Result<(), S::Error> {
        match self {
            Self::Permission { object, permission, rule, stored, again } => {
                map.serialize_entry("permission", permission)?;
                map.serialize_entry("object", object)?;
                match rule {
                    Some(rule) => map.serialize_entry("rule", rule)?,
                    None => map.serialize_entry("stored", stored)?,
                }
                if *again {
                    map.serialize_entry("again", again)?;
                }
                Ok(())
            }
            Self::Expression(text) => map.serialize_entry("expression", text),
            Self::Except => map.serialize_entry("but_not", &true),
            Self::Relationship { relationship, standing } => {
                map.serialize_entry("relationship", relationship)?;
                match standing {
                    Standing::Counts => Ok(()),
                    Standing::Expired => map.serialize_entry("expired", &true),
                    Standing::Unmet => map.serialize_entry("unmet", &true),
                    Standing::Missing(names) => map.serialize_entry("missing", names),
                    Standing::Fault(fault) => map.serialize_entry("fault", fault),
                }
            }
            Self::NothingStored { object, relation } => {
                map.serialize_entry("relation", relation)?;
                map.serialize_entry("object", object)?;
                map.serialize_entry("stored", &0)
            }
            Self::Condition { name, missing } => {
                map.serialize_entry("condition", name)?;
                if missing.is_empty() { Ok(()) } else { map.serialize_entry("missing", missing) }
            }
            Self::Itself => map.serialize_entry("itself", &true),
            Self::More(count) => map.serialize_entry("more", count),
        }
    }
}

impl Serialize for Remedies {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let of = |touched: bool| -> Vec<_> {
            let those = self.changes.iter().filter(|change| matches!(change, Change::Touch(_)) == touched);
            those.map(Change::relationship).collect()
        };
        map.serialize_entry("touch", &of(true))?;
        map.serialize_entry("delete", &of(false))?;
        map.serialize_entry("more", &self.more)?;
        map.end()
    }
}
