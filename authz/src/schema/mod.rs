//! The schema: which types there are, which relations are stored on them, which permissions follow.
//!
//! Text is cut into tokens, read to a tree, resolved to numbers, proven to have an answer
//! (stratified) and compiled to flat programs. What comes out is immutable.

pub(crate) mod behind;
mod build;
mod code;
mod convert;
mod cursor;
pub(crate) mod deny;
mod diagnostic;
mod diff;
mod draw;
pub(crate) mod expression;
mod format;
pub(crate) mod id;
mod lex;
mod load;
mod name_table;
mod openfga;
pub(crate) mod parse;
mod partial;
mod place;
mod print;
pub(crate) mod program;
mod reach;
mod resolve;
pub(crate) mod rule;
mod stratify;
mod syntax;

use std::fmt;

pub use build::{Allowed, Definition, Module, Rewrite};
pub use convert::ConversionError;
pub use diagnostic::{Diagnostic, SchemaError};
pub use diff::SchemaDiff;
pub use format::format_native;
pub use id::{InvalidSchemaId, SchemaId};
use name_table::NameTable;
pub use openfga::format_openfga;
pub(crate) use program::{Group, Op, Program};
pub(crate) use rule::{AllowedSubject, Deprecation, Dialect, Rule, SlotKind};
pub use rule::{ConditionInfo, ParameterType};
use syntax::Origin;

use crate::condition::Condition;
use crate::name::nearest;

/// One named part of a schema: each module of an application contributes its own.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// What errors call this part, such as a file or module name.
    pub name: &'a str,
    /// The definitions.
    pub text: &'a str,
}

/// What is asked about and stored: types, their relations and permissions, compiled and immutable.
///
/// The language is SpiceDB's: `definition`s hold `relation`s, which are stored, and `permission`s,
/// which are computed. `+` is union and binds tightest, then `&` intersection, then `-` exclusion;
/// `parent->view` is whoever holds `view` on an object that is `parent` of this one; `nil` is nobody.
///
/// # How does a schema look?
///
/// ```
/// use formwork_authz::Schema;
///
/// let schema = Schema::parse("
///     definition user {}
///     definition team {
///         relation member: user | team#member
///     }
///     definition document {
///         relation folder: document
///         relation viewer: user | user:* | team#member
///         relation banned: user
///         permission view = viewer + folder->view - banned
///     }
/// ")?;
/// assert_eq!(schema.object_types().collect::<Vec<_>>(), ["user", "team", "document"]);
/// assert_eq!(schema.permissions("document").collect::<Vec<_>>(), ["view"]);
/// # Ok::<(), formwork_authz::SchemaError>(())
/// ```
pub struct Schema {
    pub(crate) types: Vec<TypeInfo>,
    pub(crate) type_ids: NameTable,
    pub(crate) slots: Vec<SlotInfo>,
    pub(crate) edges: Vec<EdgeInfo>,
    /// In the order of the text.
    pub(crate) conditions: Vec<ConditionInfo>,
    pub(crate) dialect: Dialect,
    /// OpenFGA: schema 1.2.
    modular: bool,
    /// OpenFGA: an exclusion goes through a cycle.
    pub(crate) unstratified: bool,
    warnings: Vec<Diagnostic>,
    pub(crate) program: Program,
}

/// A type of objects.
pub(crate) struct TypeInfo {
    pub(crate) name: Box<str>,
    pub(crate) doc: Box<str>,
    pub(crate) deprecated: Option<Deprecation>,
    pub(crate) origin: Origin,
    pub(crate) slot_ids: NameTable,
    /// In the order of the text.
    pub(crate) slots: Vec<u32>,
}

/// A relation or permission of a type.
pub(crate) struct SlotInfo {
    pub(crate) name: Box<str>,
    pub(crate) doc: Box<str>,
    pub(crate) type_id: u32,
    pub(crate) kind: SlotKind,
    pub(crate) deprecated: Option<Deprecation>,
    pub(crate) origin: Origin,
    /// The types of subject that a permission announces to hold.
    pub(crate) announced: Option<Vec<u32>>,
    pub(crate) rule: Rule,
    /// What may be stored, in the order of the text: one form of subject may stand here several times, with and
    /// without a condition. Empty for a permission.
    pub(crate) allowed: Vec<AllowedSubject>,
    /// The forms of subject in `allowed`, each once.
    pub(crate) edges: Vec<u32>,
}

/// A form of subject that may be stored in a relation, whatever its condition and expiry.
pub(crate) struct EdgeInfo {
    pub(crate) slot: u32,
    pub(crate) subject: SubjectKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum SubjectKind {
    /// An object of a type.
    Object(u32),
    /// Everyone of a type.
    Wildcard(u32),
    /// Everyone of a relation or permission.
    Userset(u32),
}

impl TypeInfo {
    /// The names of its relations and permissions, in the order of the text.
    fn names<'s>(&self, slots: &'s [SlotInfo]) -> impl Iterator<Item = &'s str> {
        self.slots.iter().filter_map(|&slot| slots.get(slot as usize)).map(|slot| &*slot.name)
    }
}

impl Schema {
    /// Compiles a schema from one text.
    ///
    /// # Errors
    ///
    /// [`SchemaError`] with every fault of the text.
    pub fn parse(text: &str) -> Result<Self, SchemaError> {
        Self::compose(&[Source { name: "schema", text }])
    }

    /// Compiles a schema from parts that may refer to each other.
    ///
    /// # How do modules contribute their own definitions?
    ///
    /// ```
    /// use formwork_authz::{Schema, Source};
    ///
    /// let schema = Schema::compose(&[
    ///     Source { name: "people", text: "definition user {}" },
    ///     Source { name: "rfis", text: "definition rfi { relation assignee: user }" },
    /// ])?;
    /// assert_eq!(schema.relations("rfi").collect::<Vec<_>>(), ["assignee"]);
    /// # Ok::<(), formwork_authz::SchemaError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`SchemaError`] with every fault of all parts; two parts that define one type are a fault.
    pub fn compose(sources: &[Source<'_>]) -> Result<Self, SchemaError> {
        load::native(sources)
    }

    /// Compiles a native schema from one text and what it imports, directly or in turn.
    ///
    /// `import "parts/people.zed"` asks `read` for the path from the folder of the importing source, without `.`
    /// and `..`; a path that leaves the folder of the root is not asked for. Nothing else is read.
    ///
    /// # How is a schema of several files read?
    ///
    /// ```
    /// use formwork_authz::{Schema, Source};
    ///
    /// let root = Source { name: "root.zed", text: "use import\nimport \"people.zed\"\ndefinition rfi { relation assignee: user }" };
    /// let schema = Schema::parse_with_imports(root, |path| {
    ///     (path == "people.zed").then(|| "definition user {}".to_owned())
    /// })?;
    /// assert_eq!(schema.object_types().count(), 2);
    /// # Ok::<(), formwork_authz::SchemaError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`SchemaError`] with every fault of all sources; an import that `read` does not know is one.
    pub fn parse_with_imports(
        root: Source<'_>,
        read: impl FnMut(&str) -> Option<String>,
    ) -> Result<Self, SchemaError> {
        load::with_imports(root, read)
    }

    /// Compiles an OpenFGA model from its DSL, schema 1.1 or 1.2.
    ///
    /// # How is an OpenFGA model read?
    ///
    /// ```
    /// use formwork_authz::Schema;
    ///
    /// let schema = Schema::parse_openfga("
    /// model
    ///   schema 1.1
    /// type user
    /// type document
    ///   relations
    ///     define owner: [user]
    ///     define viewer: [user, user:*] or owner
    /// ")?;
    /// assert_eq!(schema.subject_types("document", "viewer"), ["user", "user:*"]);
    /// # Ok::<(), formwork_authz::SchemaError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`SchemaError`] with every fault of the text.
    pub fn parse_openfga(text: &str) -> Result<Self, SchemaError> {
        openfga::parse(Source { name: "model", text })
    }

    #[cfg(feature = "files")]
    pub(crate) fn parse_openfga_source(source: Source<'_>) -> Result<Self, SchemaError> {
        openfga::parse(source)
    }

    #[cfg(feature = "files")]
    pub(crate) fn parse_openfga_json_source(source: Source<'_>) -> Result<Self, SchemaError> {
        openfga::parse_json(source)
    }

    /// Compiles an OpenFGA model from its JSON, as their API takes and gives it.
    ///
    /// # Errors
    ///
    /// [`SchemaError`] with every fault, at its place in the JSON.
    pub fn parse_openfga_json(text: &str) -> Result<Self, SchemaError> {
        openfga::parse_json(Source { name: "model", text })
    }

    /// Compiles an OpenFGA model from modules, of schema 1.2.
    ///
    /// One of the sources may be named `fga.mod` or end in `/fga.mod`: then it says which of the others belong to
    /// the model, and in which order. Without it all do.
    ///
    /// # Errors
    ///
    /// [`SchemaError`] with every fault of all modules.
    pub fn compose_openfga(modules: &[Source<'_>]) -> Result<Self, SchemaError> {
        openfga::compose(modules)
    }

    /// What is odd about the schema, although it can be used.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// The types, in the order of the text.
    pub fn object_types(&self) -> impl Iterator<Item = &str> {
        self.types.iter().map(|info| &*info.name)
    }

    /// The relations of a type, which are stored, in the order of the text.
    pub fn relations(&self, object_type: &str) -> impl Iterator<Item = &str> {
        self.slots_of(object_type).filter(|slot| slot.kind != SlotKind::Permission).map(|slot| &*slot.name)
    }

    /// The permissions of a type, which are computed, in the order of the text.
    pub fn permissions(&self, object_type: &str) -> impl Iterator<Item = &str> {
        self.slots_of(object_type).filter(|slot| slot.kind == SlotKind::Permission).map(|slot| &*slot.name)
    }

    /// The doc comment of a type, or of one of its relations and permissions.
    pub fn doc(&self, object_type: &str, name: Option<&str>) -> Option<&str> {
        let info = self.type_info(self.type_id(object_type)?)?;
        match name {
            None => Some(&info.doc),
            Some(name) => Some(&self.slot(info.slot_ids.get(name)?)?.doc),
        }
    }

    /// The subjects that a relation may hold, as they are written: `user`, `team#member`, `user:*`.
    pub fn subject_types(&self, object_type: &str, relation: &str) -> Vec<String> {
        let slot = self.slot_id(object_type, relation).and_then(|slot| self.slot(slot));
        slot.into_iter().flat_map(|info| &info.edges).filter_map(|&edge| self.edge_text(edge)).collect()
    }

    fn slots_of(&self, object_type: &str) -> impl Iterator<Item = &SlotInfo> {
        let info = self.type_id(object_type).and_then(|id| self.type_info(id));
        info.into_iter().flat_map(|info| &info.slots).filter_map(|&slot| self.slot(slot))
    }

    fn slot_id(&self, object_type: &str, name: &str) -> Option<u32> {
        self.type_info(self.type_id(object_type)?)?.slot_ids.get(name)
    }

    fn edge_text(&self, edge: u32) -> Option<String> {
        Some(match self.edge(edge)?.subject {
            SubjectKind::Object(id) => self.type_name(id).to_owned(),
            SubjectKind::Wildcard(id) => format!("{}:*", self.type_name(id)),
            SubjectKind::Userset(slot) => self.slot_text(slot),
        })
    }

    pub(crate) fn type_id(&self, name: &str) -> Option<u32> {
        self.type_ids.get(name)
    }

    pub(crate) fn type_info(&self, id: u32) -> Option<&TypeInfo> {
        self.types.get(id as usize)
    }

    pub(crate) fn type_name(&self, id: u32) -> &str {
        self.type_info(id).map_or("", |info| &info.name)
    }

    pub(crate) fn slot(&self, id: u32) -> Option<&SlotInfo> {
        self.slots.get(id as usize)
    }

    pub(crate) fn edge(&self, id: u32) -> Option<&EdgeInfo> {
        self.edges.get(id as usize)
    }

    pub(crate) fn group(&self, id: u32) -> Option<&Group> {
        self.program.groups.get(id as usize)
    }

    pub(crate) fn op(&self, id: u32) -> Option<&Op> {
        self.program.ops.get(id as usize)
    }

    /// A condition, compiled.
    pub(crate) fn condition(&self, id: u32) -> Option<&Condition> {
        self.program.conditions.get(id as usize)
    }

    pub(crate) fn condition_id(&self, name: &str) -> Option<u32> {
        self.program.conditions.iter().position(|condition| condition.name() == name).map(|at| at as u32)
    }

    /// The edges that store subjects of this form, of all relations.
    pub(crate) fn edges_of(&self, subject: SubjectKind) -> &[u32] {
        self.program.edges_of.get(&subject).map_or(&[], Vec::as_slice)
    }

    /// Whether an edge may store a relationship with this condition, and with an expiry or without.
    pub(crate) fn allows(&self, edge: u32, condition: Option<u32>, expiration: bool) -> bool {
        let Some(info) = self.edge(edge) else { return false };
        let allowed = self.slot(info.slot).map_or(&[][..], |slot| &slot.allowed);
        allowed.iter().any(|allowed| {
            allowed.subject == info.subject
                && allowed.condition == condition
                && allowed.expiration == expiration
        })
    }

    /// `document#view`.
    pub(crate) fn slot_text(&self, id: u32) -> String {
        self.slot(id).map_or(String::new(), |slot| format!("{}#{}", self.type_name(slot.type_id), slot.name))
    }

    /// The edge that stores subjects of this form in a relation, if the relation may hold them.
    pub(crate) fn edge_for(&self, slot: u32, subject: SubjectKind) -> Option<u32> {
        let edges = &self.slot(slot)?.edges;
        edges.iter().copied().find(|&edge| self.edge(edge).is_some_and(|info| info.subject == subject))
    }

    /// A type that may have been meant.
    pub(crate) fn near_type(&self, wanted: &str) -> Option<&str> {
        nearest(wanted, self.object_types())
    }

    /// A relation or permission of the type that may have been meant.
    pub(crate) fn near_slot(&self, type_id: u32, wanted: &str) -> Option<&str> {
        let slots = self.type_info(type_id)?.slots.iter();
        nearest(wanted, slots.filter_map(|&slot| self.slot(slot)).map(|slot| &*slot.name))
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schema").field("types", &self.types.len()).finish_non_exhaustive()
    }
}
