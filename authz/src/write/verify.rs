//! Whether the schema has a place for a relationship, and if not, why.

use crate::error::{Misplaced, WriteError};
use crate::graph::Row;
use crate::name::nearest;
use crate::relationship::Relationship;
use crate::schema::Schema;

impl Schema {
    /// Whether there is a place for the relationship, with its condition and expiry, as [`Authz::touch`](crate::Authz::touch)
    /// asks.
    ///
    /// ```
    /// use formwork_authz::{Schema, rel};
    ///
    /// let schema = Schema::parse("definition user {} definition rfi { relation assignee: user }")?;
    /// assert!(schema.verify(&rel!("rfi:7#assignee@user:bob")).is_ok());
    /// let error = schema.verify(&rel!("rfi:7#asignee@user:bob")).unwrap_err();
    /// assert!(error.to_string().ends_with("did you mean `assignee`?"), "{error}");
    /// # Ok::<(), formwork_authz::SchemaError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`WriteError`], but for what only the database knows.
    pub fn verify(&self, relationship: &Relationship) -> Result<(), WriteError> {
        self.verify_place(relationship)?;
        let row = Row::from(relationship);
        if let Some(reason) =
            row.place(self).filter(|&place| !row.fits(self, place)).map(|_| self.unfit(relationship))
        {
            return Err(WriteError::Misplaced(Misplaced::new(relationship, reason)));
        }
        match row.guard(self).map(|guard| guard.bound) {
            Some(Err(fault)) => Err(fault.into()),
            _ => Ok(()),
        }
    }

    /// Whether there is a place for the relationship, whatever its condition and expiry.
    pub(super) fn verify_place(&self, relationship: &Relationship) -> Result<(), WriteError> {
        relationship.validate()?;
        if Row::from(relationship).place(self).is_some() {
            return Ok(());
        }
        Err(WriteError::Misplaced(Misplaced::new(relationship, self.misplaced(relationship))))
    }

    /// Says why the place does not take the relationship as it is.
    fn unfit(&self, relationship: &Relationship) -> String {
        if let Some(name) = relationship.condition().filter(|name| self.condition_id(name).is_none()) {
            let near = nearest(name, self.conditions().map(|condition| condition.name()));
            return format!("unknown condition `{name}`{}", meant(near));
        }
        let relation = format!("{}#{}", relationship.object().object_type(), relationship.relation());
        let condition = match relationship.condition() {
            Some(name) => format!("with the condition `{name}`"),
            None => "without a condition".to_owned(),
        };
        let expiry = if relationship.expires_at().is_some() { "with an expiry" } else { "without an expiry" };
        format!("`{relation}` does not hold such a subject {condition} and {expiry}")
    }

    /// Says why there is no place for it.
    fn misplaced(&self, relationship: &Relationship) -> String {
        let (object, subject) = (relationship.object(), relationship.subject());
        for name in [object.object_type(), subject.subject_type()] {
            if self.type_id(name).is_none() {
                return format!("unknown type `{name}`{}", meant(self.near_type(name)));
            }
        }
        let named = [
            (object.object_type(), Some(relationship.relation())),
            (subject.subject_type(), subject.relation()),
        ];
        for (type_name, name) in named {
            let (Some(type_id), Some(name)) = (self.type_id(type_name), name) else { continue };
            if !self.type_info(type_id).is_some_and(|info| info.slot_ids.contains(name)) {
                let near = meant(self.near_slot(type_id, name));
                return format!("`{type_name}` has no relation or permission `{name}`{near}");
            }
        }
        let relation = format!("{}#{}", object.object_type(), relationship.relation());
        let allowed = self.subject_types(object.object_type(), relationship.relation());
        if allowed.is_empty() {
            return format!("`{relation}` is a permission, which is computed: write one of its relations");
        }
        let allowed: Vec<String> = allowed.iter().map(|form| format!("`{form}`")).collect();
        format!("`{relation}` holds {} only", allowed.join(", "))
    }
}

fn meant(near: Option<&str>) -> String {
    near.map(|name| format!(", did you mean `{name}`?")).unwrap_or_default()
}
