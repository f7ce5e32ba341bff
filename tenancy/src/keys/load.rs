//! The keys of a transaction's tenant: from memory, from the table, or new.
//!
//! INVARIANT: the cache holds only keys whose lines were committed. A key that this transaction has made is kept in the
//! transaction's own slot, which goes back with a savepoint and ends with the transaction, like the line itself.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, timeout};

use super::{
    KeyContext, KeyError, Keys, ProviderError, Purpose, SecretKey, WrappedKey,
    cache::{Slot, TenantKey},
};
use crate::TenantTx;

/// Keys that the transaction has made.
#[derive(Debug, Clone, Default)]
struct MadeHere(Vec<(Purpose, Arc<TenantKey>)>);

/// A line of `tenant_keys`, and by how many seconds the look at it was out of date.
type Line = (i32, Option<String>, Option<Vec<u8>>, f64);

/// A shredded line comes first: a tenant that has one has no keys any more. In a transaction that sees an old state the
/// line may have been shredded since that state: at the most since the transaction began.
const LINE: &str = "
  select version, provider_key, wrapped,
         case current_setting('transaction_isolation') when 'read committed' then 0::float8
              else extract(epoch from clock_timestamp() - transaction_timestamp())::float8 end
    from tenant_keys
   where wrapped is null or (purpose = $1 and version = coalesce($2, version))
   order by (wrapped is null) desc, version desc
   limit 1";

/// Others may make the same key; each time one of them has given up, this one tries again.
const ATTEMPTS: u32 = 5;

impl Keys {
    /// The newest key, if there is one.
    pub(super) async fn newest(
        &self,
        tx: &mut TenantTx,
        purpose: Purpose,
    ) -> Result<Option<Arc<TenantKey>>, KeyError> {
        self.key(tx, purpose, None).await
    }

    /// The newest key, made now if there is none.
    pub(super) async fn newest_or_new(
        &self,
        tx: &mut TenantTx,
        purpose: Purpose,
    ) -> Result<Arc<TenantKey>, KeyError> {
        for _ in 0..ATTEMPTS {
            if let Some(key) = self.newest(tx, purpose).await? {
                return Ok(key);
            }
            if let Some(key) = self.make(tx, purpose, 1).await? {
                return Ok(key);
            }
        }
        Err(sqlx::Error::RowNotFound.into())
    }

    /// The key of a version, or the newest.
    pub(super) async fn key(
        &self,
        tx: &mut TenantTx,
        purpose: Purpose,
        version: Option<u32>,
    ) -> Result<Option<Arc<TenantKey>>, KeyError> {
        if let Some(key) = made_here(tx, purpose, version) {
            return Ok(Some(key));
        }
        let slot = Slot { tenant: tx.tenant_id(), purpose, version };
        match self.inner.cache.get(slot).await {
            Some(key) => Ok(Some(key)),
            None => self.look_up(tx, slot).await,
        }
    }

    async fn look_up(&self, tx: &mut TenantTx, slot: Slot) -> Result<Option<Arc<TenantKey>>, KeyError> {
        let Slot { tenant, purpose, version } = slot;
        let Ok(wanted) = version.map(i32::try_from).transpose() else { return Ok(None) };
        let asked = Instant::now();
        let line: Option<Line> =
            sqlx::query_as(LINE).bind(purpose.as_str()).bind(wanted).fetch_optional(&mut **tx).await?;
        let Some((found, provider_key, wrapped, age)) = line else { return Ok(None) };
        let (Some(provider_key), Some(wrapped)) = (provider_key, wrapped) else {
            return Err(KeyError::Shredded { tenant });
        };
        let found = u32::try_from(found).unwrap_or_default();
        let age = Duration::try_from_secs_f64(age.max(0.0)).unwrap_or(Duration::MAX);
        let context = KeyContext::new(tenant, purpose, found);
        let open = self.unwrap(context, WrappedKey::new(provider_key, wrapped));
        let exact = Slot { version: Some(found), ..slot };
        let opened = match self.inner.cache.end(asked, age) {
            Some(end) => self.inner.cache.open_once(exact, found, end, open).await,
            None => open.await.map(|secret| TenantKey::passing(found, secret)),
        };
        let key = opened.map_err(|error| KeyError::of_provider(error, tenant))?;
        self.inner.cache.keep(slot, &key).await;
        Ok(Some(key))
    }

    /// A new key as this version; none when somebody else has made it.
    pub(super) async fn make(
        &self,
        tx: &mut TenantTx,
        purpose: Purpose,
        version: u32,
    ) -> Result<Option<Arc<TenantKey>>, KeyError> {
        let tenant = tx.tenant_id();
        let secret = SecretKey::generate().map_err(KeyError::Random)?;
        let context = KeyContext::new(tenant, purpose, version);
        let wrapped = self
            .in_time(self.inner.provider.wrap(&context, &secret))
            .await
            .map_err(|error| KeyError::of_provider(error, tenant))?;
        // Waits for a transaction that is making the same key, until it has ended.
        let made = sqlx::query(
            "insert into tenant_keys (purpose, version, provider_key, wrapped) values ($1, $2, $3, $4)
             on conflict do nothing",
        )
        .bind(purpose.as_str())
        .bind(i32::try_from(version).unwrap_or(i32::MAX))
        .bind(wrapped.provider_key())
        .bind(wrapped.bytes())
        .execute(&mut **tx)
        .await?;
        if made.rows_affected() == 0 {
            return Ok(None);
        }
        let key = TenantKey::passing(version, secret);
        tx.extensions().get_or_insert_default::<MadeHere>().0.push((purpose, Arc::clone(&key)));
        Ok(Some(key))
    }

    pub(super) async fn unwrap(
        &self,
        context: KeyContext,
        wrapped: WrappedKey,
    ) -> Result<SecretKey, ProviderError> {
        self.in_time(self.inner.provider.unwrap(&context, &wrapped)).await
    }

    /// A provider that does not answer must not hold transactions open.
    pub(super) async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        timeout(self.inner.patience, answer)
            .await
            .unwrap_or_else(|_| Err(ProviderError::unavailable("it has not answered in time")))
    }
}

fn made_here(tx: &mut TenantTx, purpose: Purpose, version: Option<u32>) -> Option<Arc<TenantKey>> {
    let MadeHere(keys) = tx.extensions().get()?;
    let fits = |key: &TenantKey| version.is_none_or(|version| key.version == version);
    keys.iter().rev().find(|(of, key)| *of == purpose && fits(key)).map(|(_, key)| Arc::clone(key))
}
