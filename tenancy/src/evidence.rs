//! Why something was allowed, in a form that can be stored.

use serde_json::Value;
use uuid::Uuid;

/// The proof of a decision: made from a grant of `formwork-authz`, kept by `formwork-audit`.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    id: Uuid,
    proof: Value,
}

impl Evidence {
    /// From the decision's identity and its proof as JSON.
    pub fn new(id: Uuid, proof: Value) -> Self {
        Self { id, proof }
    }

    /// Identity of the decision.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// The proof: what was asked, and the tuples that answered it.
    pub fn proof(&self) -> &Value {
        &self.proof
    }
}
