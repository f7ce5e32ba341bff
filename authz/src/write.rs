//! Writing relationships, in the caller's transaction.

use formwork_tenancy::TenantTx;

use crate::authz::Authz;
use crate::error::{Existing, Misplaced, WriteError};
use crate::graph::Row;
use crate::name::nearest;
use crate::object::Object;
use crate::relationship::Relationship;
use crate::schema::Schema;
use crate::view;

/// Rows of one statement.
const BATCH: usize = 10_000;

macro_rules! insert {
    () => {
        "insert into permission_tuples as t
           (namespace, object_id, relation, subject_ns, subject_id, subject_rel, condition, context, expires_at)
         select namespace, object_id, relation, subject_ns, subject_id, subject_rel, condition, context::jsonb, expires_at
           from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                       $7::text[], $8::text[], $9::timestamptz[])
                as n (namespace, object_id, relation, subject_ns, subject_id, subject_rel, condition, context, expires_at)"
    };
}

impl Authz {
    /// Stores a relationship. That it is stored already is fine; with another condition or expiry, these
    /// are replaced.
    ///
    /// # Errors
    ///
    /// [`WriteError::Malformed`], [`WriteError::Misplaced`] and [`WriteError::Context`] before anything is
    /// sent, [`WriteError::Storage`] when the database failed.
    pub async fn touch(&self, tx: &mut TenantTx, relationship: &Relationship) -> Result<(), WriteError> {
        self.touch_many(tx, std::slice::from_ref(relationship)).await
    }

    /// Stores relationships, as [`Authz::touch`]; of those that are one relationship the last one.
    ///
    /// # Errors
    ///
    /// As [`Authz::touch`]; when one is refused, none is stored.
    pub async fn touch_many(
        &self,
        tx: &mut TenantTx,
        relationships: &[Relationship],
    ) -> Result<(), WriteError> {
        const TOUCH: &str = concat!(
            insert!(),
            " on conflict on constraint permission_tuples_unique do update
                 set condition = excluded.condition, context = excluded.context, expires_at = excluded.expires_at
               where (t.condition, t.context, t.expires_at)
                     is distinct from (excluded.condition, excluded.context, excluded.expires_at)"
        );
        for relationship in relationships {
            self.schema().verify(relationship)?;
        }
        self.send(tx, TOUCH, relationships).await?;
        view::wrote(self, tx, relationships, true);
        Ok(())
    }

    /// Stores a relationship that must not be stored yet. One that has expired is as good as not stored.
    ///
    /// # Errors
    ///
    /// [`WriteError::Exists`] when it is, and the transaction can go on; otherwise as [`Authz::touch`].
    pub async fn create(&self, tx: &mut TenantTx, relationship: &Relationship) -> Result<(), WriteError> {
        const CREATE: &str = concat!(
            insert!(),
            " on conflict on constraint permission_tuples_unique do update
                 set condition = excluded.condition, context = excluded.context, expires_at = excluded.expires_at
               where t.expires_at <= now()"
        );
        self.schema().verify(relationship)?;
        if self.send(tx, CREATE, std::slice::from_ref(relationship)).await? == 0 {
            return Err(WriteError::Exists(Existing::new(relationship)));
        }
        view::wrote(self, tx, [relationship], true);
        Ok(())
    }

    /// Removes a relationship; that it is not stored is fine.
    ///
    /// # Errors
    ///
    /// As [`Authz::touch`]: a misspelt relation is an error here as well, since nothing would be
    /// removed and nobody would know.
    pub async fn delete(&self, tx: &mut TenantTx, relationship: &Relationship) -> Result<(), WriteError> {
        self.delete_many(tx, std::slice::from_ref(relationship)).await
    }

    /// Removes relationships, as far as they are stored.
    ///
    /// # Errors
    ///
    /// As [`Authz::delete`]; when one is refused, none is removed.
    pub async fn delete_many(
        &self,
        tx: &mut TenantTx,
        relationships: &[Relationship],
    ) -> Result<(), WriteError> {
        const DELETE: &str = "
            delete from permission_tuples t
             using unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                          $7::text[], $8::text[], $9::timestamptz[])
                   as d (namespace, object_id, relation, subject_ns, subject_id, subject_rel,
                         condition, context, expires_at)
             where t.namespace = d.namespace and t.object_id = d.object_id and t.relation = d.relation
               and t.subject_ns = d.subject_ns and t.subject_id = d.subject_id
               and t.subject_rel is not distinct from d.subject_rel";
        for relationship in relationships {
            self.schema().verify_place(relationship)?;
        }
        self.send(tx, DELETE, relationships).await?;
        view::wrote(self, tx, relationships, false);
        Ok(())
    }

    /// Removes every relationship on an object, and every one in which it is the subject, whether or
    /// not the schema still has a place for them: for when the object itself is deleted.
    ///
    /// # Errors
    ///
    /// [`WriteError::Malformed`] when the object cannot be one, [`WriteError::Storage`] when the
    /// database failed.
    pub async fn delete_object(&self, tx: &mut TenantTx, object: &Object) -> Result<(), WriteError> {
        object.validate()?;
        // Two conditions, each with an index; joined by OR they would have none.
        const AS_OBJECT: &str = "delete from permission_tuples where namespace = $1 and object_id = $2";
        const AS_SUBJECT: &str = "delete from permission_tuples where subject_ns = $1 and subject_id = $2";
        for text in [AS_OBJECT, AS_SUBJECT] {
            sqlx::query(text).bind(object.object_type()).bind(object.id()).execute(&mut **tx).await?;
        }
        // Which rows these were only the log knows: the next question asks it.
        view::forget(tx);
        Ok(())
    }

    async fn send(
        &self,
        tx: &mut TenantTx,
        text: &'static str,
        relationships: &[Relationship],
    ) -> Result<u64, WriteError> {
        // In one order for all writers, so that two who write the same tuples do not wait for each other.
        let mut sorted: Vec<&Relationship> = relationships.iter().collect();
        sorted.sort_by(|a, b| a.identity().cmp(&b.identity()));
        // The last of those that are one relationship: the sort keeps their order.
        sorted.reverse();
        sorted.dedup_by(|a, b| a.is_same(b));
        sorted.reverse();
        let mut changed = 0;
        for batch in sorted.chunks(BATCH) {
            let rows: Vec<Row<'_>> = batch.iter().map(|&relationship| relationship.into()).collect();
            let column = |of: fn(&Row<'_>) -> String| rows.iter().map(of).collect::<Vec<String>>();
            let optional = |of: for<'r> fn(&Row<'r>) -> Option<&'r str>| -> Vec<Option<String>> {
                rows.iter().map(|row| of(row).map(str::to_owned)).collect()
            };
            let done = sqlx::query(text)
                .bind(column(|row| row.object_type.to_owned()))
                .bind(column(|row| row.object_id.to_owned()))
                .bind(column(|row| row.relation.to_owned()))
                .bind(column(|row| row.subject_type.to_owned()))
                .bind(column(|row| row.subject_id.to_owned()))
                .bind(optional(|row| row.subject_relation))
                .bind(optional(|row| row.condition))
                .bind(optional(|row| row.context))
                .bind(batch.iter().map(|relationship| relationship.expires_at()).collect::<Vec<_>>())
                .execute(&mut **tx)
                .await?;
            changed += done.rows_affected();
        }
        Ok(changed)
    }
}

impl Schema {
    /// Whether there is a place for the relationship, with its condition and expiry, as [`Authz::touch`] asks.
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
    fn verify_place(&self, relationship: &Relationship) -> Result<(), WriteError> {
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
            if !self.type_info(type_id).is_some_and(|info| info.slot_ids.contains_key(name)) {
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
