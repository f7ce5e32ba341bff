//! What a business row is called outside its table.

use std::borrow::Cow;

use uuid::Uuid;

/// A thing of a tenant, by kind and id: what permissions are asked of, events are about, links join.
pub trait Entity {
    /// Its kind: `rfi`.
    fn kind(&self) -> &str;
    /// Its identity inside the kind.
    fn id(&self) -> Cow<'_, str>;
}

impl Entity for (&str, Uuid) {
    fn kind(&self) -> &str {
        self.0
    }

    fn id(&self) -> Cow<'_, str> {
        Cow::Owned(self.1.to_string())
    }
}

impl<E: Entity + ?Sized> Entity for &E {
    fn kind(&self) -> &str {
        (**self).kind()
    }

    fn id(&self) -> Cow<'_, str> {
        (**self).id()
    }
}
