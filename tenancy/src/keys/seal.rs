//! Sealing and opening, one value or many.
//!
//! With the tenant's keys in memory nothing is asked of the database.

use std::sync::Arc;

use super::{
    Field, FromSealed, KeyError, Keys, Purpose, Sealed, ToSealed,
    cache::TenantKey,
    cipher,
    sealed::{HEADER, header},
};
use crate::{TenantId, TenantTx};

impl Keys {
    /// Seals `value` for its place, under the tenant's newest data key, which is made on first use in this transaction:
    /// rolled back, there never was one.
    ///
    /// # Errors
    ///
    /// [`KeyError`]; a transaction that may not write cannot make the first key.
    pub async fn seal<V: ToSealed + ?Sized>(
        &self,
        tx: &mut TenantTx,
        value: &V,
        field: Field<'_>,
    ) -> Result<Sealed<V::Value>, KeyError> {
        let key = self.newest_or_new(tx, Purpose::Data).await?;
        seal_with(&key, tx.tenant_id(), value, field)
    }

    /// Seals many, under one key.
    ///
    /// # Errors
    ///
    /// As [`seal`](Self::seal), of the first that fails.
    pub async fn seal_many<'a, V: ToSealed + ?Sized + 'a>(
        &self,
        tx: &mut TenantTx,
        values: impl IntoIterator<Item = (&'a V, Field<'a>)>,
    ) -> Result<Vec<Sealed<V::Value>>, KeyError> {
        let key = self.newest_or_new(tx, Purpose::Data).await?;
        let tenant = tx.tenant_id();
        values.into_iter().map(|(value, field)| seal_with(&key, tenant, value, field)).collect()
    }

    /// Opens what was sealed for this place.
    ///
    /// # Errors
    ///
    /// [`KeyError::NotSealedHere`] for bytes of any other place; [`KeyError::Shredded`] when nothing will ever open it.
    pub async fn open<T: FromSealed>(
        &self,
        tx: &mut TenantTx,
        sealed: &Sealed<T>,
        field: Field<'_>,
    ) -> Result<T, KeyError> {
        let (version, _) = sealed.parts().ok_or_else(|| KeyError::not_sealed_here(field))?;
        let key = self.data_key(tx, version, field).await?;
        open_with(&key, tx.tenant_id(), sealed, field)
    }

    /// Opens many, in their order; each version of the key is looked for once.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), of the first that fails.
    pub async fn open_many<'a, T: FromSealed + 'a>(
        &self,
        tx: &mut TenantTx,
        values: impl IntoIterator<Item = (&'a Sealed<T>, Field<'a>)>,
    ) -> Result<Vec<T>, KeyError> {
        let values: Vec<_> = values.into_iter().collect();
        let tenant = tx.tenant_id();
        let mut keys: Vec<Arc<TenantKey>> = Vec::new();
        let mut opened = Vec::with_capacity(values.len());
        for (sealed, field) in values {
            let (version, _) = sealed.parts().ok_or_else(|| KeyError::not_sealed_here(field))?;
            let key = match keys.iter().find(|key| key.version == version) {
                Some(key) => Arc::clone(key),
                None => {
                    let key = self.data_key(tx, version, field).await?;
                    keys.push(Arc::clone(&key));
                    key
                }
            };
            opened.push(open_with(&key, tenant, sealed, field)?);
        }
        Ok(opened)
    }

    pub(super) async fn data_key(
        &self,
        tx: &mut TenantTx,
        version: u32,
        field: Field<'_>,
    ) -> Result<Arc<TenantKey>, KeyError> {
        let key = self.key(tx, Purpose::Data, Some(version)).await?;
        key.ok_or_else(|| KeyError::unknown_version(field, version))
    }
}

pub(super) fn seal_with<V: ToSealed + ?Sized>(
    key: &TenantKey,
    tenant: TenantId,
    value: &V,
    field: Field<'_>,
) -> Result<Sealed<V::Value>, KeyError> {
    let header = header(key.version);
    let mut buffer = cipher::begin(&header, value.plain_len());
    if !value.write_plain(&mut buffer) {
        return Err(KeyError::not_of_type(field));
    }
    let associated = field.associated(tenant, &header);
    let bytes = cipher::seal(&key.secret, &associated, HEADER, buffer).map_err(KeyError::Random)?;
    Ok(Sealed::from_bytes(bytes))
}

pub(super) fn open_with<T: FromSealed>(
    key: &TenantKey,
    tenant: TenantId,
    sealed: &Sealed<T>,
    field: Field<'_>,
) -> Result<T, KeyError> {
    let (version, rest) = sealed.parts().ok_or_else(|| KeyError::not_sealed_here(field))?;
    let associated = field.associated(tenant, &header(version));
    let plain = cipher::open(&key.secret, &associated, rest).map_err(|_| KeyError::not_sealed_here(field))?;
    T::from_plain(plain).ok_or_else(|| KeyError::not_of_type(field))
}
