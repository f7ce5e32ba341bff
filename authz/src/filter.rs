//! Which stored relationships are meant, and the condition in SQL that says so.
//!
//! INVARIANT: a part of a filter reaches Postgres as a bound value, never as text of a statement.

use std::fmt;

use crate::object::Object;
use crate::relationship::Relationship;
use crate::subject::Subject;

/// Which stored relationships are meant: those that agree with every part that is given.
///
/// ```
/// use formwork_authz::{Filter, Object, Subject};
///
/// let who_views = Filter::of_object(&Object::new("document", 7)).relation("viewer");
/// let what_anna_has = Filter::of_subject(&Subject::new("user", "anna"));
/// let folders_of_teams = Filter::of_type("folder").subject_type("team");
/// assert_eq!(folders_of_teams.to_string(), "folder:*#*@team:*");
/// assert_eq!(who_views.to_string(), "document:7#viewer@*:*");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    object_type: Option<String>,
    object_id: Option<String>,
    relation: Option<String>,
    subject_type: Option<String>,
    subject_id: Option<String>,
    /// None for whatever it is, `Some(None)` for none.
    subject_relation: Option<Option<String>>,
}

impl Filter {
    /// All relationships of the tenant.
    pub fn everything() -> Self {
        Self::default()
    }

    /// The relationships on objects of a type.
    pub fn of_type(object_type: impl Into<String>) -> Self {
        Self { object_type: Some(object_type.into()), ..Self::default() }
    }

    /// The relationships on an object.
    pub fn of_object(object: &Object) -> Self {
        Self::of_type(object.object_type()).object_id(object.id())
    }

    /// The relationships in which exactly this subject stands: a userset is not the object that it is of.
    pub fn of_subject(subject: &Subject) -> Self {
        Self {
            subject_id: Some(subject.id().to_owned()),
            subject_relation: Some(subject.relation().map(str::to_owned)),
            ..Self::default().subject_type(subject.subject_type())
        }
    }

    /// Only those on the object with this id.
    #[must_use]
    pub fn object_id(mut self, id: impl Into<String>) -> Self {
        self.object_id = Some(id.into());
        self
    }

    /// Only those of one relation.
    #[must_use]
    pub fn relation(mut self, relation: impl Into<String>) -> Self {
        self.relation = Some(relation.into());
        self
    }

    /// Only those whose subject is of this type, or a userset of an object of this type.
    #[must_use]
    pub fn subject_type(mut self, subject_type: impl Into<String>) -> Self {
        self.subject_type = Some(subject_type.into());
        self
    }

    /// Only those whose subject has this id, `*` for everyone of its type.
    #[must_use]
    pub fn subject_id(mut self, id: impl Into<String>) -> Self {
        self.subject_id = Some(id.into());
        self
    }

    /// Only those whose subject is a userset of this relation, as in `team:eng#member`.
    #[must_use]
    pub fn subject_relation(mut self, relation: impl Into<String>) -> Self {
        self.subject_relation = Some(Some(relation.into()));
        self
    }

    /// Does it mean all relationships of the tenant?
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// Does the relationship agree with every part?
    pub fn lets_through(&self, relationship: &Relationship) -> bool {
        let (object, subject) = (relationship.object(), relationship.subject());
        let agrees = |part: &Option<String>, value: &str| part.as_deref().is_none_or(|part| part == value);
        agrees(&self.object_type, object.object_type())
            && agrees(&self.object_id, object.id())
            && agrees(&self.relation, relationship.relation())
            && agrees(&self.subject_type, subject.subject_type())
            && agrees(&self.subject_id, subject.id())
            && self.subject_relation.as_ref().is_none_or(|part| part.as_deref() == subject.relation())
    }

    /// Is there a relationship of this relation that agrees?
    pub(crate) fn may_let_through(&self, object_type: &str, relation: &str) -> bool {
        self.object_type.as_deref().is_none_or(|part| part == object_type)
            && self.relation.as_deref().is_none_or(|part| part == relation)
    }

    /// The condition on the columns of `permission_tuples`, whose first value is `$first`, and its values.
    pub(crate) fn condition(&self, first: usize) -> (String, Vec<&str>) {
        let parts = [
            ("namespace", &self.object_type),
            ("object_id", &self.object_id),
            ("relation", &self.relation),
            ("subject_ns", &self.subject_type),
            ("subject_id", &self.subject_id),
        ];
        let (mut text, mut values) = (String::from("true"), Vec::new());
        let given = parts.into_iter().filter_map(|(column, part)| Some((column, part.as_deref()?)));
        let userset = self.subject_relation.iter().flatten().map(|relation| ("subject_rel", &**relation));
        for (column, value) in given.chain(userset) {
            text.push_str(&format!(" and {column} = ${}", first + values.len()));
            values.push(value);
        }
        if self.subject_relation == Some(None) {
            text.push_str(" and subject_rel is null");
        }
        (text, values)
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |part: &Option<String>| part.clone().unwrap_or_else(|| "*".to_owned());
        write!(f, "{}:{}#{}", part(&self.object_type), part(&self.object_id), part(&self.relation))?;
        write!(f, "@{}:{}", part(&self.subject_type), part(&self.subject_id))?;
        match &self.subject_relation {
            Some(Some(relation)) => write!(f, "#{relation}"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_a_bound_value() {
        let team = Subject::userset("team", "eng", "member");
        let filter = Filter::of_subject(&team).relation("viewer");
        let (text, values) = filter.condition(3);
        assert_eq!(
            text,
            "true and relation = $3 and subject_ns = $4 and subject_id = $5 and subject_rel = $6"
        );
        assert_eq!(values, ["viewer", "team", "eng", "member"]);
        let of_anna = Filter::of_subject(&Subject::new("user", "anna"));
        let (text, values) = of_anna.condition(1);
        assert_eq!(text, "true and subject_ns = $1 and subject_id = $2 and subject_rel is null");
        assert_eq!(values, ["user", "anna"]);
        assert!(Filter::everything().is_everything() && !filter.is_everything());
    }
}
