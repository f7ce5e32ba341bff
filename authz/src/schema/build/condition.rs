//! Conditions: written in Rust, and read from any schema.

use crate::schema::Schema;
use crate::schema::diagnostic::Span;
use crate::schema::rule::{ConditionInfo, ParameterType};
use crate::schema::syntax::Origin;

impl ConditionInfo {
    /// A condition by name and expression, which is CEL over the parameters that are to follow.
    #[must_use]
    pub fn new(name: impl Into<Box<str>>, expression: impl AsRef<str>) -> Self {
        Self {
            name: name.into(),
            doc: "".into(),
            origin: Origin::default(),
            parameters: Vec::new(),
            expression: expression.as_ref().trim().into(),
            span: Span::default(),
        }
    }

    /// With one more parameter.
    #[must_use]
    pub fn parameter(mut self, name: impl Into<Box<str>>, kind: ParameterType) -> Self {
        self.parameters.push((name.into(), kind));
        self
    }

    /// With a doc comment.
    #[must_use]
    pub fn documented(mut self, doc: impl Into<Box<str>>) -> Self {
        self.doc = doc.into();
        self
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The doc comment; empty when there is none.
    pub fn doc(&self) -> &str {
        &self.doc
    }

    /// The parameters with their types, in the order of the schema.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &ParameterType)> {
        self.parameters.iter().map(|(name, kind)| (&**name, kind))
    }

    /// The CEL.
    pub fn expression(&self) -> &str {
        &self.expression
    }
}

impl Schema {
    /// The conditions, in the order of the schema.
    ///
    /// # Which values does a condition ask for?
    ///
    /// ```
    /// use formwork_authz::Schema;
    ///
    /// let schema = Schema::parse("
    ///     definition user {}
    ///     caveat within(amount uint, limit uint) { amount <= limit }
    ///     definition account { relation payer: user with within }
    /// ")?;
    /// let within = schema.conditions().next().unwrap();
    /// let parameters: Vec<String> = within.parameters().map(|(name, kind)| format!("{name}: {kind}")).collect();
    /// assert_eq!((within.name(), parameters.join(", ")), ("within", "amount: uint, limit: uint".to_owned()));
    /// # Ok::<(), formwork_authz::SchemaError>(())
    /// ```
    #[doc(alias = "caveats")]
    pub fn conditions(&self) -> impl Iterator<Item = &ConditionInfo> {
        self.conditions.iter()
    }
}
