//! Who wants it, and why: no change of a tenant's status without both.

use crate::Actor;

/// Who orders a change, and for what reason.
///
/// ```
/// use formwork_tenancy::{Actor, lifecycle::Order};
///
/// let order = Order::new(&Actor::system("billing"), "three invoices are unpaid");
/// assert_eq!(order.actor(), "system:billing");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    actor: String,
    reason: String,
}

impl Order {
    /// Of `actor`, because of `reason`, which the tenant reads in its own trail. An empty one is refused.
    pub fn new(actor: &Actor, reason: impl Into<String>) -> Self {
        Self { actor: actor.to_string(), reason: reason.into().trim().to_owned() }
    }

    /// Who, as `kind:id`.
    pub fn actor(&self) -> &str {
        &self.actor
    }

    /// Why.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}
