//! A schema written in Rust, so that each module of an application contributes its own part.
//!
//! A module is lowered to the tree that the native parser makes of a text, and everything after that is the same:
//! rules, codes, programs. A fault has its place by the names of module and item.

mod allowed;
mod condition;
mod definition;
mod lower;
mod rewrite;

pub use allowed::Allowed;
pub use definition::Definition;
pub use rewrite::Rewrite;

use crate::schema::diagnostic::{Diagnostics, SchemaError};
use crate::schema::resolve::{self, Language};
use crate::schema::rule::ConditionInfo;
use crate::schema::syntax::File;
use crate::schema::{Schema, partial};

/// The part of a schema that one module of an application contributes, written in Rust.
///
/// Modules may refer to each other's types and conditions, in any order, and extend each other's types with
/// [`Definition::extend`]. [`Schema::build`] puts them together; [`Schema::to_native`] shows the whole as text.
///
/// # How does a module declare its types in Rust?
///
/// ```
/// use formwork_authz::{Allowed, Condition, Definition, Module, ParameterType, Rewrite, Schema};
///
/// let people = Module::new("people")
///     .definition(Definition::new("user"))
///     .definition(Definition::new("team").relation("member", ["user", "team#member"]));
/// let documents = Module::new("documents")
///     .condition(
///         Condition::new("daytime", "hour >= 8 && hour < 18").parameter("hour", ParameterType::Int),
///     )
///     .definition(
///         Definition::new("document")
///             .documented("A drawing, a plan, a letter.")
///             .relation("folder", ["document"])
///             .relation("viewer", [
///                 Allowed::object("user").when("daytime"),
///                 Allowed::userset("team", "member").expiring(),
///             ])
///             .relation("banned", ["user"])
///             .permission("view", Rewrite::from("viewer").or(Rewrite::arrow("folder", "view")).but_not("banned")),
///     );
/// let schema = Schema::build(&[people, documents])?;
/// assert_eq!(schema.to_native()?, "\
/// use expiration
///
/// caveat daytime(hour int) {
///     hour >= 8 && hour < 18
/// }
///
/// definition user {}
///
/// definition team {
///     relation member: user | team#member
/// }
///
/// /// A drawing, a plan, a letter.
/// definition document {
///     relation folder: document
///     relation viewer: user with daytime | team#member with expiration
///     relation banned: user
///     permission view = (viewer + folder->view) - banned
/// }
/// ");
/// assert!(schema == Schema::parse(&schema.to_native()?)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Module {
    name: String,
    definitions: Vec<Definition>,
    conditions: Vec<ConditionInfo>,
}

impl Module {
    /// A module that declares nothing yet; errors call it by this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), definitions: Vec::new(), conditions: Vec::new() }
    }

    /// Declares a type, or extends one.
    pub fn definition(mut self, definition: Definition) -> Self {
        self.definitions.push(definition);
        self
    }

    /// Declares a condition, which all modules can use.
    pub fn condition(mut self, condition: ConditionInfo) -> Self {
        self.conditions.push(condition);
        self
    }

    /// The name by which errors call it.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Schema {
    /// Compiles a schema from the modules that contribute to it.
    ///
    /// # Which module has the fault?
    ///
    /// ```
    /// use formwork_authz::{Definition, Module, Schema};
    ///
    /// let people = Module::new("people").definition(Definition::new("user"));
    /// let rfis = Module::new("rfis").definition(Definition::new("rfi").relation("assignee", ["usr"]));
    /// let error = Schema::build(&[people, rfis]).unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "error[F0201]: unknown type `usr`\n --> rfis: rfi#assignee\n  = help: did you mean `user`?"
    /// );
    /// ```
    ///
    /// # Errors
    ///
    /// [`SchemaError`] with every fault of all modules, with the codes that a text would get.
    pub fn build(modules: &[Module]) -> Result<Self, SchemaError> {
        let mut faults = Diagnostics::of_modules(modules.iter().map(Module::name));
        let mut file = File::default();
        for (number, module) in modules.iter().enumerate() {
            file.append(lower::module(number, module, &mut faults));
        }
        partial::expand(&mut file, &mut faults);
        resolve::compile(Language::default(), &file, faults)
    }
}
