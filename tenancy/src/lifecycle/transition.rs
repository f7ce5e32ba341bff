//! From which status to which: the one table that says it.

use std::fmt;

use crate::Status;

macro_rules! transitions {
    ($($variant:ident $text:literal $event:literal $doc:literal),+ $(,)?) => {
        /// A change of a tenant's status.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Transition {
            $(#[doc = $doc] $variant),+
        }

        impl Transition {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// As the ledger and the command line have it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// What has happened, as the tenant's trail, the outbox and the security events have it.
            pub fn event(self) -> &'static str {
                match self { $(Self::$variant => $event),+ }
            }

            pub(super) fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

transitions! {
    Activate "activate" "tenant.activated" "Into service, for the first time or again.",
    Suspend "suspend" "tenant.suspended" "Out of service for now, by an operator's decision.",
    Archive "archive" "tenant.archived" "Out of service, kept to be looked at: nothing is written any more.",
    Restore "restore" "tenant.restored" "Out of the archive, into service.",
    Delete "delete" "tenant.deletion_begun" "Out of service; removed for good when a time of grace is over.",
    Undelete "undelete" "tenant.deletion_cancelled" "Back to what it was before it was to be deleted.",
    Purge "purge" "tenant.deleted" "Removed for good: its keys are destroyed, then its home goes.",
}

/// Every change that there is: which, from where, to where.
pub const EDGES: &[(Transition, Status, Status)] = &[
    (Transition::Activate, Status::Provisioning, Status::Active),
    (Transition::Activate, Status::Suspended, Status::Active),
    (Transition::Suspend, Status::Active, Status::Suspended),
    (Transition::Archive, Status::Active, Status::Archived),
    (Transition::Archive, Status::Suspended, Status::Archived),
    (Transition::Restore, Status::Archived, Status::Active),
    (Transition::Delete, Status::Provisioning, Status::Deleting),
    (Transition::Delete, Status::Active, Status::Deleting),
    (Transition::Delete, Status::Suspended, Status::Deleting),
    (Transition::Delete, Status::Archived, Status::Deleting),
    (Transition::Undelete, Status::Deleting, Status::Provisioning),
    (Transition::Undelete, Status::Deleting, Status::Active),
    (Transition::Undelete, Status::Deleting, Status::Suspended),
    (Transition::Undelete, Status::Deleting, Status::Archived),
    (Transition::Purge, Status::Deleting, Status::Deleted),
];

impl Transition {
    /// Where it leads from this status; more than one only for what goes back to where it came from.
    pub fn from(self, status: Status) -> impl Iterator<Item = Status> {
        EDGES.iter().filter(move |edge| edge.0 == self && edge.1 == status).map(|edge| edge.2)
    }

    /// Is a tenant in this status where this would have led it?
    pub(super) fn is_done(self, status: Status) -> bool {
        self != Self::Undelete && EDGES.iter().any(|edge| edge.0 == self && edge.2 == status)
    }
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_changes() {
        let line = |(transition, from, to): &(Transition, Status, Status)| {
            format!("{:<9} {:<13} -> {to}\n", transition.as_str(), from.as_str())
        };
        let table: String = EDGES.iter().map(line).collect();
        assert_eq!(table, include_str!("transitions.txt"));
    }

    #[test]
    fn nothing_leads_away_from_deleted_and_everything_leads_there() {
        assert!(EDGES.iter().all(|edge| edge.1 != Status::Deleted));
        for from in [Status::Provisioning, Status::Active, Status::Suspended, Status::Archived] {
            assert_eq!(Transition::Delete.from(from).collect::<Vec<_>>(), [Status::Deleting]);
            assert_eq!(Transition::Undelete.from(Status::Deleting).filter(|to| *to == from).count(), 1);
        }
    }

    #[test]
    fn a_name_reads_back() {
        for transition in Transition::ALL {
            assert_eq!(Transition::parse(transition.as_str()), Some(*transition));
        }
        assert_eq!(Transition::parse("vanish"), None);
    }
}
