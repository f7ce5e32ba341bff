//! Shredding: a tenant's keys go, and with them every sealed value, in every copy of the database.

use super::{KeyError, Keys, Purpose, cache::Slot};
use crate::{CommitError, Session, StorageError, Tenants, TxOptions};

/// Whatever a transaction may have added meanwhile goes too. The lines stay as tombstones.
const SHRED: &str = "
  update tenant_keys set wrapped = null, shredded_at = now() where wrapped is not null";

impl Keys {
    /// Destroys the keys of the session's tenant, for good and in every backup. There is no way back: holds and grace
    /// periods are the caller's to keep, before.
    ///
    /// First the wrapped keys go from the tenant's home, then the provider destroys the tenant's key, then the lines
    /// say so. Cut off in between, it is resumed by doing it again; done again, it is done. This node forgets the keys
    /// at once, every other one within [`MAX_TIME_TO_LIVE`](super::MAX_TIME_TO_LIVE).
    ///
    /// Takes transactions of its own, since no rollback could bring back what the provider has destroyed.
    ///
    /// # Errors
    ///
    /// [`KeyError`]: do it again until it is done.
    pub async fn shred(&self, tenants: &Tenants, session: &Session) -> Result<(), KeyError> {
        let tenant = session.tenant_id();
        self.strike_out(tenants, session, false).await?;
        let destroyed = self.in_time(self.inner.provider.destroy(tenant)).await;
        destroyed.map_err(|error| KeyError::of_provider(error, tenant))?;
        self.strike_out(tenants, session, true).await
    }

    async fn strike_out(
        &self,
        tenants: &Tenants,
        session: &Session,
        destroyed: bool,
    ) -> Result<(), KeyError> {
        // A tenant that is being deleted is not in service.
        let mut tx = tenants.begin_with(session, TxOptions::new().whatever_status()).await?;
        sqlx::query(
            "insert into tenant_keys (purpose, version, shredded_at) values ('data', 0, now())
             on conflict do nothing",
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query(SHRED).execute(&mut *tx).await?;
        if destroyed {
            sqlx::query("update tenant_keys set destroyed_at = now() where destroyed_at is null")
                .execute(&mut *tx)
                .await?;
        }
        let versions: Vec<i32> =
            sqlx::query_scalar("select distinct version from tenant_keys").fetch_all(&mut *tx).await?;
        tx.commit().await.map_err(|error| KeyError::Storage(stored(error)))?;
        let known = versions.into_iter().map(|version| u32::try_from(version).ok());
        for version in known.chain([None]) {
            for purpose in [Purpose::Data, Purpose::Index] {
                self.inner.cache.forget(Slot { tenant: session.tenant_id(), purpose, version }).await;
            }
        }
        Ok(())
    }
}

fn stored(error: CommitError) -> StorageError {
    error.storage().clone()
}
