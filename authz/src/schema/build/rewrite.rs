//! Who holds a permission, written in Rust.

use crate::schema::diagnostic::Span;
use crate::schema::parse::MAX_NESTING;
use crate::schema::syntax::{Expression, Name};

/// Who holds a permission: the paper's userset rewrite. The name of a relation or permission is one.
///
/// Each method takes everything before it as its first operand, so there is no precedence to remember:
/// `a.or(b).but_not(c)` is `(a + b) - c`, and `a.or(Rewrite::from(b).but_not(c))` is `a + (b - c)`.
///
/// ```
/// use formwork_authz::{Definition, Module, Rewrite, Schema};
///
/// let view = Rewrite::from("owner")
///     .or(Rewrite::from("viewer").but_not("banned"))
///     .or(Rewrite::arrow("folder", "view"));
/// let document = Definition::new("document")
///     .relation("folder", ["document"])
///     .relation("owner", ["user"])
///     .relation("viewer", ["user"])
///     .relation("banned", ["user"])
///     .permission("view", view);
/// let schema = Schema::build(&[Module::new("all").definition(Definition::new("user")).definition(document)])?;
/// assert!(schema.to_native()?.contains("permission view = owner + (viewer - banned) + folder->view\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Rewrite {
    /// INVARIANT: no deeper than [`MAX_NESTING`]; what would be is nobody, and `depth` tells.
    expression: Expression,
    depth: usize,
}

impl Rewrite {
    /// Nobody.
    pub fn nil() -> Self {
        Self::leaf(Expression::Nil)
    }

    /// The object itself, as a subject.
    pub fn itself() -> Self {
        Self::leaf(Expression::Itself)
    }

    /// Whoever holds `target` on one of the objects that `relation` holds.
    #[doc(alias = "tuple_to_userset")]
    pub fn arrow(relation: impl Into<String>, target: impl Into<String>) -> Self {
        let (relation, target) = (name(relation), name(target));
        Self::leaf(Expression::Arrow { relation, target, all: false })
    }

    /// Whoever holds `target` on every one of the objects that `relation` holds, of which there must be one.
    pub fn arrow_all(relation: impl Into<String>, target: impl Into<String>) -> Self {
        let (relation, target) = (name(relation), name(target));
        Self::leaf(Expression::Arrow { relation, target, all: true })
    }

    /// Union: whoever holds one of them.
    pub fn or(self, other: impl Into<Self>) -> Self {
        let chain = matches!(self.expression, Expression::Union(_));
        self.with(other.into(), chain, |first, second| match first {
            Expression::Union(all) => Expression::Union(longer(all, second)),
            first => Expression::Union(vec![first, second]),
        })
    }

    /// Intersection: whoever holds all of them.
    pub fn and(self, other: impl Into<Self>) -> Self {
        let chain = matches!(self.expression, Expression::Intersection(_));
        self.with(other.into(), chain, |first, second| match first {
            Expression::Intersection(all) => Expression::Intersection(longer(all, second)),
            first => Expression::Intersection(vec![first, second]),
        })
    }

    /// Exclusion: whoever holds the first and not the second.
    pub fn but_not(self, other: impl Into<Self>) -> Self {
        let chain = matches!(self.expression, Expression::Exclusion(_));
        self.with(other.into(), chain, |first, second| match first {
            Expression::Exclusion(all) => Expression::Exclusion(longer(all, second)),
            first => Expression::Exclusion(vec![first, second]),
        })
    }

    /// Only while a condition holds.
    pub fn when(self, condition: impl Into<String>) -> Self {
        let condition = name(condition);
        Self::bounded(self.depth + 1, || Expression::Conditional(Box::new(self.expression), condition))
    }

    fn leaf(expression: Expression) -> Self {
        Self { expression, depth: 0 }
    }

    /// `chain`: the first is made longer, and no deeper.
    fn with(self, other: Self, chain: bool, join: impl FnOnce(Expression, Expression) -> Expression) -> Self {
        let depth = (self.depth + usize::from(!chain)).max(other.depth + 1);
        Self::bounded(depth, || join(self.expression, other.expression))
    }

    fn bounded(depth: usize, expression: impl FnOnce() -> Expression) -> Self {
        let fits = depth <= MAX_NESTING;
        Self { expression: if fits { expression() } else { Expression::Nil }, depth }
    }

    /// Nothing when it is too deep.
    pub(super) fn expression(&self) -> Option<Expression> {
        (self.depth <= MAX_NESTING).then(|| self.expression.clone())
    }
}

fn longer(mut all: Vec<Expression>, one_more: Expression) -> Vec<Expression> {
    all.push(one_more);
    all
}

fn name(text: impl Into<String>) -> Name {
    Name { text: text.into(), span: Span::default() }
}

impl From<&str> for Rewrite {
    fn from(text: &str) -> Self {
        Self::leaf(Expression::Reference(name(text)))
    }
}

impl From<String> for Rewrite {
    fn from(text: String) -> Self {
        Self::leaf(Expression::Reference(name(text)))
    }
}
