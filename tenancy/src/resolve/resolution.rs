//! What a request was resolved to, and by what.

use smallvec::SmallVec;
use uuid::Uuid;

use super::source::Source;
use crate::{Actor, Tenant};

/// A request's tenant, and who named it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Resolution {
    pub(super) tenant: Tenant,
    pub(super) named_by: SmallVec<[Source; 4]>,
    pub(super) api_key: Option<Uuid>,
    pub(super) rest_of_path: Option<Box<str>>,
}

impl Resolution {
    /// The tenant: active, and with a home that this program supports.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// All sources that named it, in the order of the chain. Membership stands at the end, since what it says depends
    /// on the others.
    pub fn named_by(&self) -> &[Source] {
        &self.named_by
    }

    /// The identity of the API key that was shown.
    pub fn api_key(&self) -> Option<Uuid> {
        self.api_key
    }

    /// The API key that was shown, as who acts.
    pub fn actor(&self) -> Option<Actor> {
        self.api_key.map(Actor::ApiKey)
    }

    /// What follows the slug in the path, with a slash at its beginning, when the path named the tenant.
    pub fn rest_of_path(&self) -> Option<&str> {
        self.rest_of_path.as_deref()
    }
}
