//! New keys: a data key for new writes, and what the provider's own rotation asks for.

use super::{KeyContext, KeyError, Keys, Purpose, WrappedKey, cache::Slot};
use crate::TenantTx;

impl Keys {
    /// Gives the tenant a new data key and answers its version. What is sealed from now on is sealed under it, by other
    /// nodes as soon as their time to live has passed; what was sealed before can be read as before, until
    /// [`reseal`](Self::reseal) has gone over it.
    ///
    /// # Errors
    ///
    /// [`KeyError`].
    pub async fn rotate(&self, tx: &mut TenantTx) -> Result<u32, KeyError> {
        let newest: Option<i32> =
            sqlx::query_scalar("select max(version) from tenant_keys where purpose = 'data' and version > 0")
                .fetch_one(&mut **tx)
                .await?;
        // Asks the table, so that a shredded tenant stays one.
        let slot = Slot { tenant: tx.tenant_id(), purpose: Purpose::Data, version: None };
        self.inner.cache.forget(slot).await;
        self.newest_or_new(tx, Purpose::Data).await?;
        let version = newest.map_or(1, |version| u32::try_from(version).unwrap_or_default() + 1);
        // Not made: somebody else has rotated at the same time, which is as good.
        self.make(tx, Purpose::Data, version).await?;
        sqlx::query(
            "update tenant_keys set retired_at = now()
              where purpose = 'data' and version < $1 and retired_at is null and wrapped is not null",
        )
        .bind(i32::try_from(version).unwrap_or(i32::MAX))
        .execute(&mut **tx)
        .await?;
        self.inner.cache.forget(slot).await;
        Ok(version)
    }

    /// Wraps the tenant's keys anew where the provider has rotated its own key since they were wrapped, and answers how
    /// many. The keys themselves stay, so nothing needs to be sealed anew.
    ///
    /// # Errors
    ///
    /// [`KeyError`].
    pub async fn rewrap(&self, tx: &mut TenantTx) -> Result<u64, KeyError> {
        let tenant = tx.tenant_id();
        let of_provider = |error| KeyError::of_provider(error, tenant);
        let current = self.in_time(self.inner.provider.current(tenant)).await.map_err(of_provider)?;
        let lines: Vec<(String, i32, String, Vec<u8>)> = sqlx::query_as(
            "select purpose, version, provider_key, wrapped from tenant_keys
              where wrapped is not null and provider_key <> $1 order by purpose, version for update",
        )
        .bind(&current)
        .fetch_all(&mut **tx)
        .await?;
        let mut count = 0;
        for (purpose, number, provider_key, wrapped) in lines {
            let of = if purpose == Purpose::Index.as_str() { Purpose::Index } else { Purpose::Data };
            let context = KeyContext::new(tenant, of, u32::try_from(number).unwrap_or_default());
            let key =
                self.unwrap(context, WrappedKey::new(provider_key, wrapped)).await.map_err(of_provider)?;
            let anew = self.in_time(self.inner.provider.wrap(&context, &key)).await.map_err(of_provider)?;
            let done = sqlx::query(
                "update tenant_keys set provider_key = $3, wrapped = $4 where purpose = $1 and version = $2",
            )
            .bind(&purpose)
            .bind(number)
            .bind(anew.provider_key())
            .bind(anew.bytes())
            .execute(&mut **tx)
            .await?;
            count += done.rows_affected();
        }
        Ok(count)
    }
}
