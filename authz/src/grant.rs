//! What an allowed check leaves behind: evidence for the audit trail.

use formwork_tenancy::Evidence;
use serde_json::json;
use uuid::Uuid;

use crate::object::Object;
use crate::relationship::Relationship;
use crate::subject::Subject;

/// That a subject was allowed something, and why: made by [`Authz::require`](crate::Authz::require)
/// and by nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    id: Uuid,
    subject: Subject,
    permission: String,
    object: Object,
    relationships: Vec<Relationship>,
}

impl Grant {
    pub(crate) fn new(
        subject: Subject,
        permission: &str,
        object: Object,
        relationships: Vec<Relationship>,
    ) -> Self {
        Self { id: Uuid::now_v7(), subject, permission: permission.to_owned(), object, relationships }
    }

    /// Identity of this decision.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Who was allowed.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// What they were allowed.
    pub fn permission(&self) -> &str {
        &self.permission
    }

    /// On what.
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// The relationships of one way from the object to the subject; empty when a userset was asked
    /// about itself.
    pub fn relationships(&self) -> &[Relationship] {
        &self.relationships
    }

    /// The grant in the form that the audit trail keeps.
    pub fn evidence(&self) -> Evidence {
        let proof = json!({
            "subject": self.subject,
            "permission": self.permission,
            "object": self.object,
            "relationships": self.relationships,
        });
        Evidence::new(self.id, proof)
    }
}

impl From<&Grant> for Evidence {
    fn from(grant: &Grant) -> Self {
        grant.evidence()
    }
}
