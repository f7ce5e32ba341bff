//! A type with its relations and permissions, written in Rust.

use crate::schema::build::{Allowed, Rewrite};
use crate::schema::rule::Deprecation;

/// A type with its relations and permissions, written in Rust; see [`Module`](crate::Module).
///
/// [`documented`](Self::documented), [`deprecated`](Self::deprecated) and [`refused`](Self::refused) mark what was
/// declared last: the type itself as long as nothing was, then its relations and permissions.
///
/// ```
/// use formwork_authz::{Definition, Module, Schema};
///
/// let document = Definition::new("document")
///     .documented("A drawing, a plan, a letter.")
///     .relation("reader", ["user"])
///     .deprecated("say `viewer`")
///     .relation("viewer", ["user"]);
/// let schema = Schema::build(&[Module::new("all").definition(Definition::new("user")).definition(document)])?;
/// assert_eq!(schema.doc("document", None), Some("A drawing, a plan, a letter."));
/// assert_eq!(schema.relations("document").collect::<Vec<_>>(), ["reader", "viewer"]);
/// # Ok::<(), formwork_authz::SchemaError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Definition {
    pub(super) name: String,
    pub(super) extends: bool,
    pub(super) marks: Marks,
    pub(super) items: Vec<Item>,
    /// Something else than a permission was to announce types.
    pub(super) announces_itself: bool,
}

/// What can be said of anything that is declared.
#[derive(Debug, Clone, Default)]
pub(super) struct Marks {
    pub(super) doc: String,
    pub(super) deprecated: Option<Deprecation>,
}

#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) name: String,
    pub(super) marks: Marks,
    pub(super) body: Body,
}

#[derive(Debug, Clone)]
pub(super) enum Body {
    Relation(Vec<Allowed>),
    Permission { announced: Option<Vec<String>>, rewrite: Rewrite },
}

impl Definition {
    /// A type of its own.
    pub fn new(name: impl Into<String>) -> Self {
        let (name, marks) = (name.into(), Marks::default());
        Self { name, extends: false, marks, items: Vec::new(), announces_itself: false }
    }

    /// More relations and permissions for a type that another module defines.
    ///
    /// ```
    /// use formwork_authz::{Definition, Module, Schema};
    ///
    /// let core = Module::new("core")
    ///     .definition(Definition::new("user"))
    ///     .definition(Definition::new("project").relation("member", ["user"]));
    /// let links = Module::new("links").definition(Definition::extend("project").permission("link", "member"));
    /// let schema = Schema::build(&[core, links])?;
    /// assert_eq!(schema.permissions("project").collect::<Vec<_>>(), ["link"]);
    /// # Ok::<(), formwork_authz::SchemaError>(())
    /// ```
    pub fn extend(name: impl Into<String>) -> Self {
        Self { extends: true, ..Self::new(name) }
    }

    /// Declares a relation, and what it may hold.
    pub fn relation<A: Into<Allowed>>(
        self,
        name: impl Into<String>,
        allowed: impl IntoIterator<Item = A>,
    ) -> Self {
        self.item(name.into(), Body::Relation(allowed.into_iter().map(Into::into).collect()))
    }

    /// Declares a permission, and who holds it.
    pub fn permission(self, name: impl Into<String>, rewrite: impl Into<Rewrite>) -> Self {
        self.item(name.into(), Body::Permission { announced: None, rewrite: rewrite.into() })
    }

    fn item(mut self, name: String, body: Body) -> Self {
        self.items.push(Item { name, marks: Marks::default(), body });
        self
    }

    /// Announces which types of subject hold the permission that was declared last: others are then a fault, and so
    /// is this behind anything but a permission.
    pub fn announcing<T: Into<String>>(mut self, types: impl IntoIterator<Item = T>) -> Self {
        match self.items.last_mut() {
            Some(Item { body: Body::Permission { announced, .. }, .. }) => {
                *announced = Some(types.into_iter().map(Into::into).collect());
            }
            _ => self.announces_itself = true,
        }
        self
    }

    /// A doc comment.
    pub fn documented(mut self, doc: impl Into<String>) -> Self {
        self.last().doc = doc.into();
        self
    }

    /// To be used no more, and why: the schema warns where it is used.
    pub fn deprecated(mut self, why: impl Into<Box<str>>) -> Self {
        self.last().deprecated = Some(Deprecation { refused: false, message: why.into() });
        self
    }

    /// Used no more, and why: relationships that would use it are refused.
    pub fn refused(mut self, why: impl Into<Box<str>>) -> Self {
        self.last().deprecated = Some(Deprecation { refused: true, message: why.into() });
        self
    }

    fn last(&mut self) -> &mut Marks {
        match self.items.last_mut() {
            Some(item) => &mut item.marks,
            None => &mut self.marks,
        }
    }
}
