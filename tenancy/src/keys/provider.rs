//! Where tenants' keys come from: the seam to what is kept outside of the database.

use std::{error::Error, fmt, sync::Arc};

use async_trait::async_trait;

use super::{SecretKey, encoding::joined};
use crate::TenantId;

/// Keeps a key for each tenant, outside of the database, and wraps the tenant's data keys with it.
///
/// An implementation makes a tenant's key when it is first asked to wrap for it, binds the [`KeyContext`] into what it
/// wraps, and after [`destroy`](Self::destroy) never opens anything of this tenant again: whatever copy of the database is
/// brought back.
#[async_trait]
pub trait KeyProvider: fmt::Debug + Send + Sync + 'static {
    /// Names the key under which [`wrap`](Self::wrap) would wrap for this tenant now. What bears another name was wrapped
    /// before a rotation.
    ///
    /// # Errors
    ///
    /// [`ProviderError`].
    async fn current(&self, tenant: TenantId) -> Result<String, ProviderError>;

    /// Wraps a data key of `context`'s tenant.
    ///
    /// # Errors
    ///
    /// [`ProviderError::Destroyed`] after [`destroy`](Self::destroy).
    async fn wrap(&self, context: &KeyContext, key: &SecretKey) -> Result<WrappedKey, ProviderError>;

    /// Opens what was wrapped for the same context.
    ///
    /// # Errors
    ///
    /// [`ProviderError::Destroyed`] after [`destroy`](Self::destroy); [`ProviderError::Refused`] for another context.
    async fn unwrap(&self, context: &KeyContext, wrapped: &WrappedKey) -> Result<SecretKey, ProviderError>;

    /// Destroys the tenant's key for good. Done twice, it is done.
    ///
    /// # Errors
    ///
    /// [`ProviderError`]: it may or may not be destroyed, and is to be done again.
    async fn destroy(&self, tenant: TenantId) -> Result<(), ProviderError>;
}

/// What a tenant's key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// To seal fields.
    Data,
    /// To make blind indexes.
    Index,
}

impl Purpose {
    /// As it stands in `tenant_keys`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Index => "index",
        }
    }
}

/// Whose key it is that is wrapped, and which: bound into what the provider makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyContext {
    tenant: TenantId,
    purpose: Purpose,
    version: u32,
}

impl KeyContext {
    /// The context of one line of `tenant_keys`.
    pub fn new(tenant: TenantId, purpose: Purpose, version: u32) -> Self {
        Self { tenant, purpose, version }
    }

    /// The tenant.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// What the key is for.
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Its version.
    pub fn version(&self) -> u32 {
        self.version
    }

    pub(super) fn associated(&self, provider_key: &str) -> Vec<u8> {
        let tenant = self.tenant.as_uuid();
        joined(&[
            b"formwork/wrapped-key",
            provider_key.as_bytes(),
            tenant.as_bytes(),
            self.purpose.as_str().as_bytes(),
            &self.version.to_be_bytes(),
        ])
    }
}

/// A data key that only its provider can open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedKey {
    provider_key: String,
    bytes: Vec<u8>,
}

impl WrappedKey {
    /// `bytes` wrapped under the provider's key of this name.
    pub fn new(provider_key: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self { provider_key: provider_key.into(), bytes }
    }

    /// The provider's name of the key under which it is wrapped.
    pub fn provider_key(&self) -> &str {
        &self.provider_key
    }

    /// The wrapped bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

type Cause = Arc<dyn Error + Send + Sync>;

/// The provider did not do what was asked. Cheap to clone, since several waiters of one key share its failure.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ProviderError {
    /// It cannot be asked now. The same may work later.
    #[error("the key provider cannot be asked now")]
    Unavailable(#[source] Cause),
    /// It will not do this, now or later: a wrapped key of another context, a missing right.
    #[error("the key provider refuses: {reason}")]
    Refused {
        /// Why, and what to do.
        reason: String,
    },
    /// The tenant's key has been destroyed.
    #[error("the tenant's key has been destroyed")]
    Destroyed,
}

impl ProviderError {
    /// It cannot be asked, because of this.
    pub fn unavailable(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable(Cause::from(cause.into()))
    }

    /// It will not do this, for this reason, which says what to do and no secret.
    pub fn refused(reason: impl Into<String>) -> Self {
        Self::Refused { reason: reason.into() }
    }

    /// May the same work later?
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}
