//! Which events go to a sink, of each tenant by its own rule.

use std::collections::{BTreeMap, BTreeSet};

use formwork_tenancy::TenantId;

use super::SinkEvent;
use crate::Outcome;

/// Which events of a tenant: every condition that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventRule {
    actions: Vec<String>,
    except: Vec<String>,
    outcomes: Vec<Outcome>,
}

impl EventRule {
    /// All of them.
    pub fn all() -> Self {
        Self::default()
    }

    /// Of these actions: `member.added`, or `member.*` for all that begin so.
    #[must_use]
    pub fn actions<S: Into<String>>(mut self, patterns: impl IntoIterator<Item = S>) -> Self {
        self.actions.extend(patterns.into_iter().map(Into::into));
        self
    }

    /// Not of these actions, even if they are named otherwise.
    #[must_use]
    pub fn except<S: Into<String>>(mut self, patterns: impl IntoIterator<Item = S>) -> Self {
        self.except.extend(patterns.into_iter().map(Into::into));
        self
    }

    /// That ended in one of these ways.
    #[must_use]
    pub fn outcomes(mut self, outcomes: impl IntoIterator<Item = Outcome>) -> Self {
        self.outcomes.extend(outcomes);
        self
    }

    /// Does an event with this action and outcome go?
    pub fn takes(&self, action: &str, outcome: &str) -> bool {
        let is_named = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, action));
        (self.actions.is_empty() || is_named(&self.actions))
            && !is_named(&self.except)
            && (self.outcomes.is_empty() || self.outcomes.iter().any(|one| one.as_str() == outcome))
    }
}

fn matches(pattern: &str, action: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => action.starts_with(beginning),
        None => pattern == action,
    }
}

/// Which events go to a sink.
///
/// ```
/// use formwork_audit::{Outcome, sink::{EventRule, SinkFilter}};
/// # let (acme, bolt) = (uuid::Uuid::from_u128(1).into(), uuid::Uuid::from_u128(2).into());
///
/// // What was denied at any tenant, all of acme, and nothing of bolt.
/// let filter = SinkFilter::new(EventRule::all().outcomes([Outcome::Denied]))
///     .for_tenant(acme, EventRule::all())
///     .without_tenant(bolt);
/// assert!(filter.has_tenant(acme) && !filter.has_tenant(bolt));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SinkFilter {
    rule: EventRule,
    only: Option<BTreeSet<TenantId>>,
    own: BTreeMap<TenantId, Option<EventRule>>,
}

impl SinkFilter {
    /// Of every tenant, what this rule takes.
    pub fn new(rule: EventRule) -> Self {
        Self { rule, ..Self::default() }
    }

    /// Everything of these tenants alone.
    #[must_use]
    pub fn only_tenants(mut self, tenants: impl IntoIterator<Item = TenantId>) -> Self {
        self.only.get_or_insert_default().extend(tenants);
        self
    }

    /// A rule for one tenant, in place of that for all.
    #[must_use]
    pub fn for_tenant(mut self, tenant: TenantId, rule: EventRule) -> Self {
        self.own.insert(tenant, Some(rule));
        self
    }

    /// Nothing of this tenant.
    #[must_use]
    pub fn without_tenant(mut self, tenant: TenantId) -> Self {
        self.own.insert(tenant, None);
        self
    }

    /// May any event of the tenant go?
    pub fn has_tenant(&self, tenant: TenantId) -> bool {
        self.rule_of(tenant).is_some()
    }

    pub(crate) fn takes(&self, event: &SinkEvent) -> bool {
        self.rule_of(event.tenant()).is_some_and(|rule| rule.takes(event.action(), event.outcome()))
    }

    fn rule_of(&self, tenant: TenantId) -> Option<&EventRule> {
        match self.own.get(&tenant) {
            Some(own) => own.as_ref(),
            None => Some(&self.rule).filter(|_| self.only.as_ref().is_none_or(|only| only.contains(&tenant))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_takes_what_all_of_its_conditions_allow() {
        let rule = EventRule::all().actions(["member.*", "auth.failed"]).except(["member.viewed"]);
        for (action, taken) in [
            ("member.added", true),
            ("member.viewed", false),
            ("membership.added", false),
            ("auth.failed", true),
            ("auth.failed_twice", false),
        ] {
            assert_eq!(rule.takes(action, "success"), taken, "{action}");
        }
        let denied = rule.outcomes([Outcome::Denied]);
        assert!(denied.takes("member.added", "denied") && !denied.takes("member.added", "success"));
        assert!(EventRule::all().takes("any.thing", "failure"));
    }

    #[test]
    fn a_tenants_own_rule_stands_before_that_for_all() {
        let [a, b, c] = [1, 2, 3].map(|n| TenantId::from(uuid::Uuid::from_u128(n)));
        let filter = SinkFilter::new(EventRule::all()).only_tenants([a]).for_tenant(b, EventRule::all());
        assert!(filter.has_tenant(a) && filter.has_tenant(b) && !filter.has_tenant(c));
        assert!(!filter.without_tenant(a).has_tenant(a));
    }
}
