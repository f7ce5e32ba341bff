//! Writing relationships, in the caller's transaction.
//!
//! One at a time or many of a kind here; of several kinds, with preconditions and a key for repeats, in
//! [`Write`]. INVARIANT: what is refused has written nothing, and the transaction can go on.

mod apply;
mod import;
mod request;
mod send;
mod verify;

pub use import::Import;
pub use request::{Write, Written};
pub(crate) use send::bind_rows;

use formwork_tenancy::TenantTx;
use send::Statement;
use sqlx::AssertSqlSafe;

use crate::authz::Authz;
use crate::error::{Existing, WriteError};
use crate::filter::Filter;
use crate::lock;
use crate::object::Object;
use crate::read::bind;
use crate::relationship::Relationship;
use crate::view;

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
        for relationship in relationships {
            self.schema().verify(relationship)?;
        }
        self.send(tx, Statement::Touch, relationships).await.map(drop)
    }

    /// Stores a relationship that must not be stored yet. One that has expired is as good as not stored.
    ///
    /// # Errors
    ///
    /// [`WriteError::Exists`] when it is, and the transaction can go on; otherwise as [`Authz::touch`].
    pub async fn create(&self, tx: &mut TenantTx, relationship: &Relationship) -> Result<(), WriteError> {
        self.schema().verify(relationship)?;
        if self.send(tx, Statement::Create, std::slice::from_ref(relationship)).await? == 0 {
            return Err(WriteError::Exists(Existing::new(relationship)));
        }
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
        for relationship in relationships {
            self.schema().verify_place(relationship)?;
        }
        self.send(tx, Statement::Delete, relationships).await.map(drop)
    }

    /// Removes every stored relationship that the filter lets through, whether or not the schema still has a
    /// place for it, and says how many there were.
    ///
    /// # Errors
    ///
    /// [`WriteError::Everything`] for [`Filter::everything`], which is more often a mistake than meant;
    /// [`WriteError::Storage`] when the database failed.
    pub async fn delete_matching(&self, tx: &mut TenantTx, filter: &Filter) -> Result<u64, WriteError> {
        if filter.is_everything() {
            return Err(WriteError::Everything);
        }
        if self.may_deny_by(filter) {
            lock::hold_revocations(tx).await?;
        }
        let (condition, values) = filter.condition(1);
        let text = format!("delete from permission_tuples where {condition}");
        let done = bind(sqlx::query(AssertSqlSafe(text)), values).execute(&mut **tx).await?;
        tx.wake_followers();
        // Which rows these were only the log knows: the next question asks it.
        view::forget(tx);
        Ok(done.rows_affected())
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
        if self.may_deny_by(&Filter::everything()) {
            lock::hold_revocations(tx).await?;
        }
        // Two conditions, each with an index; joined by OR they would have none.
        const AS_OBJECT: &str = "delete from permission_tuples where namespace = $1 and object_id = $2";
        const AS_SUBJECT: &str = "delete from permission_tuples where subject_ns = $1 and subject_id = $2";
        for text in [AS_OBJECT, AS_SUBJECT] {
            sqlx::query(text).bind(object.object_type()).bind(object.id()).execute(&mut **tx).await?;
        }
        tx.wake_followers();
        // Which rows these were only the log knows: the next question asks it.
        view::forget(tx);
        Ok(())
    }
}
