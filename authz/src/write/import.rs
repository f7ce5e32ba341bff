//! Relationships from outside, many of them.
//!
//! COPY into a table with row security is refused by Postgres, so they come in by statements of 10,000.

use formwork_tenancy::TenantTx;

use super::send::{BATCH, Statement};
use crate::authz::Authz;
use crate::error::WriteError;
use crate::relationship::Relationship;
use crate::view;

/// A bulk import, made by [`Authz::import`]: relationships are pushed one by one, and stored in statements of 10,000.
///
/// ```no_run
/// # async fn example(
/// #     authz: formwork_authz::Authz,
/// #     tx: &mut formwork_tenancy::TenantTx,
/// #     lines: impl Iterator<Item = String>,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// let mut import = authz.import();
/// for line in lines {
///     if import.push(tx, line.parse()?).await? {
///         println!("{} stored", import.stored());
///     }
/// }
/// println!("{} in all", import.finish(tx).await?);
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "what was pushed last is stored by `finish`"]
pub struct Import {
    authz: Authz,
    waiting: Vec<Relationship>,
    stored: u64,
}

impl Authz {
    /// Begins a bulk import: each relationship is stored as [`Authz::touch`] does.
    pub fn import(&self) -> Import {
        Import { authz: self.clone(), waiting: Vec::new(), stored: 0 }
    }
}

impl Import {
    /// Takes a relationship; says whether a statement was sent. One that the schema has no place for is refused and
    /// not taken: the import can go on without it.
    ///
    /// # Errors
    ///
    /// As [`Authz::touch`].
    pub async fn push(&mut self, tx: &mut TenantTx, relationship: Relationship) -> Result<bool, WriteError> {
        self.authz.schema().verify(&relationship)?;
        self.waiting.push(relationship);
        if self.waiting.len() < BATCH {
            return Ok(false);
        }
        self.flush(tx).await?;
        Ok(true)
    }

    /// Relationships that have been sent so far, those among them that were stored already.
    pub fn stored(&self) -> u64 {
        self.stored
    }

    /// Stores the rest, and says how many relationships there were.
    ///
    /// # Errors
    ///
    /// [`WriteError::Storage`] when the database failed.
    pub async fn finish(mut self, tx: &mut TenantTx) -> Result<u64, WriteError> {
        self.flush(tx).await?;
        Ok(self.stored)
    }

    async fn flush(&mut self, tx: &mut TenantTx) -> Result<(), WriteError> {
        // Read back at once by the next question, instead of a batch at a time.
        view::forget(tx);
        self.authz.send(tx, Statement::Touch, &self.waiting).await?;
        self.stored += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }
}
