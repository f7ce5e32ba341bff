//! The answer to a check.

use std::sync::Arc;

/// The answer to a check. A denial is an answer and not an error.
///
/// ```
/// use formwork_authz::{Context, Decision, Graph, Object, Schema, Subject};
///
/// # let graph = Graph::load(Schema::parse("
/// #     definition user {}
/// #     definition document { relation viewer: user }
/// # ")?, []);
/// let (anna, document) = (Subject::new("user", "anna"), Object::new("document", 7));
/// match graph.check(&anna, "viewer", &document)? {
///     Decision::Allowed => println!("come in"),
///     Decision::Denied => println!("no"),
///     Decision::Conditional { missing } => println!("it depends on {}", missing.join(", ")),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Decision {
    /// The subject holds the permission.
    Allowed,
    /// The subject does not hold the permission.
    Denied,
    /// It depends on conditions whose parameters have not all been given. Not allowed.
    Conditional {
        /// The names of parameters that were looked for and not found, sorted.
        missing: Arc<[Box<str>]>,
    },
}

impl Decision {
    /// Whether this is [`Decision::Allowed`]: what is conditional is not.
    pub fn is_allowed(&self) -> bool {
        *self == Self::Allowed
    }

    /// Whether this is [`Decision::Conditional`].
    pub fn is_conditional(&self) -> bool {
        matches!(self, Self::Conditional { .. })
    }
}
