//! Whether an entity exists is the application's to say.

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
}
