//! What one request is under.
//!
//! INVARIANT: every key of a call begins with its anchor, a tenant or an address: in memory they lie under one lock,
//! in a Redis cluster in one slot, and no two tenants have a key in common.

use std::{
    fmt,
    hash::{Hash, Hasher},
    net::{IpAddr, Ipv6Addr},
};

use smallvec::SmallVec;

use super::Limit;
use crate::{Actor, TenantId};

/// The limits that one request is under, all of which must have room. See [the module](super) for an example.
///
/// Two limits on the same thing, as ten a second and a thousand a day, are two keys; the same limit twice is one. A
/// limit that is changed begins anew.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    anchor: Anchor,
    cost: u32,
    items: Items<'a>,
}

type Items<'a> = SmallVec<[Item<'a>; 4]>;

/// Whose the keys of a call are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Anchor {
    Tenant(TenantId),
    Network(Network),
}

/// One limit and what it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Item<'a> {
    pub(super) subject: Subject<'a>,
    pub(super) limit: Limit,
}

impl Anchor {
    /// What tells it from the others of its kind.
    pub(super) fn bits(self) -> u128 {
        match self {
            Self::Tenant(tenant) => tenant.as_uuid().as_u128(),
            Self::Network(network) => network.bits(),
        }
    }
}

/// What makes a key, in as few pieces as it can be told in. Two limits that let through the same are one.
impl Hash for Item<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let kind = match self.subject {
            Subject::Anchor => 0,
            Subject::Network(_) => 1,
            Subject::User(_) => 2,
            Subject::Endpoint(_) => 3,
            Subject::UserEndpoint(..) => 4_u128,
        };
        let (interval, burst) = (self.limit.interval(), self.limit.most_at_once());
        state.write_u128(kind << 96 | u128::from(burst) << 64 | u128::from(interval));
        match self.subject {
            Subject::Anchor => {}
            Subject::Network(network) => state.write_u128(network.bits()),
            Subject::User(user) => user.hash(state),
            Subject::Endpoint(name) => name.hash(state),
            Subject::UserEndpoint(user, name) => {
                user.hash(state);
                name.hash(state);
            }
        }
    }
}

/// What is counted, inside the anchor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject<'a> {
    Anchor,
    Network(Network),
    User(&'a Actor),
    Endpoint(&'a str),
    UserEndpoint(&'a Actor, &'a str),
}

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// All calls of the tenant.
    Tenant,
    /// All calls from an address.
    Ip,
    /// All calls of a user.
    User,
    /// All calls to an endpoint.
    Endpoint,
    /// A user's calls to an endpoint.
    UserEndpoint,
}

impl Scope {
    /// As it stands in keys and headers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Ip => "ip",
            Self::User => "user",
            Self::Endpoint => "endpoint",
            Self::UserEndpoint => "user-endpoint",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<'a> Call<'a> {
    /// A request of this tenant. What else it names (users, addresses, endpoints) is counted inside the tenant.
    pub fn of_tenant(tenant: TenantId) -> Self {
        Self { anchor: Anchor::Tenant(tenant), cost: 1, items: SmallVec::new() }
    }

    /// A request whose tenant is not known yet, as at the login: what else it names is counted for the address. An
    /// IPv6 address counts as its /64, which one customer has all of; an IPv4 address inside IPv6 as itself.
    pub fn from_ip(ip: IpAddr) -> Self {
        Self { anchor: Anchor::Network(Network::of(ip)), cost: 1, items: SmallVec::new() }
    }

    /// Limits all calls of the tenant, or, of a call [from an address](Self::from_ip), all from there.
    #[must_use]
    pub fn overall(self, limit: Limit) -> Self {
        self.and(Subject::Anchor, limit)
    }

    /// Limits the calls from an address.
    #[must_use]
    pub fn ip(self, ip: IpAddr, limit: Limit) -> Self {
        self.and(Subject::Network(Network::of(ip)), limit)
    }

    /// Limits the calls of a user.
    #[must_use]
    pub fn user(self, user: &'a Actor, limit: Limit) -> Self {
        self.and(Subject::User(user), limit)
    }

    /// Limits the calls to an endpoint. Give it its name (`GET /tasks/{id}`), never the path that was asked for, of
    /// which there are as many as a client likes.
    #[must_use]
    pub fn endpoint(self, name: &'a str, limit: Limit) -> Self {
        self.and(Subject::Endpoint(name), limit)
    }

    /// Limits a user's calls to an endpoint.
    #[must_use]
    pub fn user_endpoint(self, user: &'a Actor, name: &'a str, limit: Limit) -> Self {
        self.and(Subject::UserEndpoint(user, name), limit)
    }

    /// Units that the call takes of each limit: 1, if nothing is said. None looks without taking.
    #[must_use]
    pub fn cost(mut self, units: u32) -> Self {
        self.cost = units;
        self
    }

    fn and(mut self, subject: Subject<'a>, limit: Limit) -> Self {
        let item = Item { subject, limit };
        if !self.items.contains(&item) {
            self.items.push(item);
        }
        self
    }

    pub(super) fn anchor(&self) -> Anchor {
        self.anchor
    }

    pub(super) fn items(&self) -> &[Item<'a>] {
        &self.items
    }

    pub(super) fn units(&self) -> u32 {
        self.cost
    }

    pub(super) fn scope_of(&self, item: &Item<'_>) -> Scope {
        match item.subject {
            Subject::Anchor => match self.anchor {
                Anchor::Tenant(_) => Scope::Tenant,
                Anchor::Network(_) => Scope::Ip,
            },
            Subject::Network(_) => Scope::Ip,
            Subject::User(_) => Scope::User,
            Subject::Endpoint(_) => Scope::Endpoint,
            Subject::UserEndpoint(..) => Scope::UserEndpoint,
        }
    }

    /// With each limit as `change` makes it.
    #[cfg(feature = "redis")]
    pub(super) fn with_limits(&self, change: impl Fn(Limit) -> Limit) -> Self {
        let items = self.items.iter().map(|item| Item { limit: change(item.limit), ..*item });
        Self { anchor: self.anchor, cost: self.cost, items: items.collect() }
    }

    /// The text of a key: the anchor first, in braces, which is what a Redis cluster makes the slot of; the subject
    /// last, so that nothing in it can be taken for something else.
    #[cfg(feature = "redis")]
    pub(super) fn key_text(&self, prefix: &str, item: &Item<'_>) -> String {
        let Item { subject, limit } = item;
        let (interval, burst) = (limit.interval() / 1_000, limit.most_at_once());
        let anchor = match self.anchor {
            Anchor::Tenant(tenant) => tenant.to_string(),
            Anchor::Network(network) => network.to_string(),
        };
        let head = format!("{{{anchor}}}:{prefix}:{interval}:{burst}");
        match subject {
            Subject::Anchor => format!("{head}:all"),
            Subject::Network(network) => format!("{head}:ip:{network}"),
            Subject::User(user) => format!("{head}:user:{user}"),
            Subject::Endpoint(name) => format!("{head}:endpoint:{name}"),
            Subject::UserEndpoint(user, name) => {
                let user = user.to_string();
                format!("{head}:user-endpoint:{}:{user}:{name}", user.len())
            }
        }
    }
}

/// An IPv4 address, or the /64 of an IPv6 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Network(IpAddr);

impl Network {
    fn of(ip: IpAddr) -> Self {
        Self(match ip.to_canonical() {
            IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64))),
            ip @ IpAddr::V4(_) => ip,
        })
    }

    /// An IPv4 address as it is written inside IPv6, which is no /64.
    fn bits(self) -> u128 {
        match self.0 {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
            IpAddr::V6(ip) => ip.to_bits(),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(ip) => ip.fmt(f),
            IpAddr::V6(ip) => write!(f, "{ip}/64"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_counts_as_what_one_customer_has() {
        let of = |text: &str| Network::of(text.parse().unwrap()).to_string();
        assert_eq!(of("203.0.113.7"), "203.0.113.7");
        assert_eq!(of("::ffff:203.0.113.7"), "203.0.113.7");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
    }

    #[cfg(feature = "redis")]
    #[test]
    fn no_name_makes_one_key_look_like_another() {
        let limit = Limit::per_second(1);
        let (a, b) = (Actor::system("a:b"), Actor::system("a"));
        let tenant = TenantId::generate();
        let text = |call: Call<'_>| call.items().iter().map(|item| call.key_text("p", item)).next().unwrap();
        let keys = [
            text(Call::of_tenant(tenant).user_endpoint(&a, "c", limit)),
            text(Call::of_tenant(tenant).user_endpoint(&b, "b:c", limit)),
            text(Call::of_tenant(tenant).endpoint("all", limit)),
            text(Call::of_tenant(tenant).overall(limit)),
            text(Call::of_tenant(tenant).user(&b, limit)),
            text(Call::of_tenant(tenant).endpoint("}{x}", limit)),
            text(Call::of_tenant(tenant).overall(limit.burst(2))),
        ];
        let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
        assert!(keys.iter().all(|key| key.starts_with(&format!("{{{tenant}}}:p:"))), "{keys:?}");
    }
}
