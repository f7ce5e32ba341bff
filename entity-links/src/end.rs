//! One end of a link.

use std::{borrow::Cow, fmt};

use formwork_authz::Object;
use formwork_tenancy::Entity;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// An entity that a link may join: its kind and its id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// Kind of entity: `rfi`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its identity.
    pub id: Uuid,
}

impl End {
    /// An entity by kind and id.
    pub fn new(kind: impl Into<String>, id: Uuid) -> Self {
        Self { kind: kind.into(), id }
    }

    pub(crate) fn object(&self) -> Object {
        Object::new(self.kind.clone(), self.id)
    }
}

impl From<(&str, Uuid)> for End {
    fn from((kind, id): (&str, Uuid)) -> Self {
        Self::new(kind, id)
    }
}

impl Entity for End {
    fn kind(&self) -> &str {
        &self.kind
    }

    fn id(&self) -> Cow<'_, str> {
        Cow::Owned(self.id.to_string())
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.id)
    }
}
