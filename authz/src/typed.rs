//! Objects and permissions that the compiler knows; [`schema!`](crate::schema!) makes their types.
//!
//! A type costs nothing: it is a name that was written once. What a handle's own schema does not have is an error
//! when it is asked, as a text would be.

use std::fmt;
use std::marker::PhantomData;

use crate::object::Object;

/// A type of objects that a schema has, made by [`schema!`](crate::schema!).
pub trait ObjectType: AsRef<Object> {
    /// What the schema calls it.
    const NAME: &'static str;

    /// The object with an id.
    fn from_id(id: &str) -> Self;
}

/// A relation or permission of one type of objects, `Document::CAN.view`.
pub struct Permission<T> {
    name: &'static str,
    of: PhantomData<fn() -> T>,
}

impl<T> Permission<T> {
    /// For [`schema!`](crate::schema!), which knows that the schema has it.
    #[doc(hidden)]
    pub const fn of_schema(name: &'static str) -> Self {
        Self { name, of: PhantomData }
    }

    /// What the schema calls it.
    pub fn name(&self) -> &'static str {
        self.name
    }
}

impl<T> Clone for Permission<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Permission<T> {}

impl<T: ObjectType> fmt::Debug for Permission<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", T::NAME, self.name)
    }
}

/// What can be asked for: a [`Permission`] that the compiler knows, of objects of its type, or a name, of any object.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a permission",
    label = "neither one of a schema's types, as `Document::CAN.view`, nor a `&str`"
)]
pub trait AsPermission: sealed::Sealed {
    /// Of which objects it can be asked.
    type Object: AsRef<Object>;

    /// Its name.
    fn name(&self) -> &str;
}

impl AsPermission for &str {
    type Object = Object;

    fn name(&self) -> &str {
        self
    }
}

impl<T: ObjectType> AsPermission for Permission<T> {
    type Object = T;

    fn name(&self) -> &str {
        self.name
    }
}

impl AsRef<Object> for Object {
    fn as_ref(&self) -> &Object {
        self
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for &str {}
    impl<T> Sealed for super::Permission<T> {}
}
