//! Whether an entity exists is the application's to say, and to remove it the application's to do.

use async_trait::async_trait;
use formwork_tenancy::{StorageError, TenantTx};
use uuid::Uuid;

/// Finds an application's entities in its own tables.
#[async_trait]
pub trait EntityResolver: std::fmt::Debug + Send + Sync {
    /// Those of `ids` that exist as entities of `kind`, asked in the transaction. Lock the rows (`for share`) when
    /// they must still be there at its commit. An unknown kind has none.
    ///
    /// # Errors
    ///
    /// When the database fails.
    async fn existing(&self, tx: &mut TenantTx, kind: &str, ids: &[Uuid]) -> Result<Vec<Uuid>, StorageError>;

    /// Removes these entities, which go with another one ([`OnDelete::Cascade`](crate::OnDelete::Cascade)), and
    /// whatever else belongs to them but links; answers how many it has removed. Left as it is, nothing is, and a
    /// removal that would cascade is refused.
    ///
    /// # Errors
    ///
    /// When the database fails.
    async fn remove(&self, tx: &mut TenantTx, kind: &str, ids: &[Uuid]) -> Result<usize, StorageError> {
        let _ = (tx, kind, ids);
        Ok(0)
    }
}
