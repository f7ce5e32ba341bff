//! Tenants' keys from a file: for one machine, or several that share a folder.
//!
//! The file holds master keys and a secret for each tenant. A tenant's key is derived from both (HKDF: the secret is the
//! salt, the master the input): a new master key rotates the keys of all tenants at once, and when a tenant's secret is
//! removed its key is gone, under every master key. Deleting is rewriting the file: old copies of it are yours to delete.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use hkdf::Hkdf;
use sha2::Sha256;
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use super::{
    KeyContext, KeyFileError, KeyProvider, ProviderError, SecretKey, WrappedKey, cipher,
    encoding::joined,
    key_file::{self, Content, Stamp},
    secret::as_base64::Stored,
};
use crate::TenantId;

/// A [`KeyProvider`] that keeps its keys in one file, which only its owner may read. Cheap to clone; handles in several
/// processes may share the file.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use formwork_tenancy::keys::LocalKeyFile;
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("keys.json");
/// let file = LocalKeyFile::open_or_create(&path)?; // mode 0600
/// assert_eq!(file.rotate()?, 2); // version of the master key that wraps from now on
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct LocalKeyFile(Arc<Inner>);

struct Inner {
    path: PathBuf,
    read: Mutex<Option<(Stamp, Arc<Content>)>>,
}

impl LocalKeyFile {
    /// The file at `path`.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`]: when there is none, when others than its owner may use it or replace it, when it is no key file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, KeyFileError> {
        let file = Self(Arc::new(Inner { path: path.as_ref().to_owned(), read: Mutex::new(None) }));
        file.0.content()?;
        Ok(file)
    }

    /// The file at `path`, made with a new master key when there is none. Back it up apart from the database: without it
    /// every sealed value is gone.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_or_create(path: impl AsRef<Path>) -> Result<Self, KeyFileError> {
        let path = path.as_ref();
        if !path.exists() {
            key_file::create(path)?;
        }
        Self::open(path)
    }

    /// Adds a master key, under which every tenant's keys are wrapped from now on, and answers its version. What was
    /// wrapped before stays readable; [`Keys::rewrap`](super::Keys::rewrap) brings a tenant up to date.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`].
    pub fn rotate(&self) -> Result<u32, KeyFileError> {
        let (version, _) = self.0.change(|content| content.add_master().map(Some))?;
        Ok(version.unwrap_or_default())
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, ProviderError> + Send + 'static,
    ) -> Result<T, ProviderError> {
        let inner = Arc::clone(&self.0);
        spawn_blocking(move || work(&inner))
            .await
            .unwrap_or_else(|gone| Err(ProviderError::unavailable(gone)))
    }
}

impl Inner {
    /// What stands in the file now.
    fn content(&self) -> Result<Arc<Content>, KeyFileError> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let known = read.as_ref().map(|(stamp, content)| (*stamp, Arc::clone(content)));
        let (stamp, content) = key_file::read(&self.path, known)?;
        *read = Some((stamp, Arc::clone(&content)));
        Ok(content)
    }

    /// Changes the file, one writer after the other; `None` leaves it as it is.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut Content) -> std::io::Result<Option<T>>,
    ) -> Result<(Option<T>, Arc<Content>), KeyFileError> {
        let _lock = key_file::lock(&self.path)?;
        let before = self.content()?;
        let mut content = Content::clone(&before);
        let changed = change(&mut content).map_err(|error| KeyFileError::random(&self.path, error))?;
        if changed.is_none() {
            return Ok((None, before));
        }
        key_file::replace(&self.path, &content)?;
        Ok((changed, self.content()?))
    }

    /// What stands in the file, with a secret for this tenant.
    fn with_tenant(&self, tenant: TenantId) -> Result<Arc<Content>, ProviderError> {
        let id = tenant.as_uuid();
        let mut content = self.content()?;
        if !content.tenants.contains_key(&id) && !content.destroyed.contains(&id) {
            (_, content) = self.change(|content| {
                if content.tenants.contains_key(&id) || content.destroyed.contains(&id) {
                    return Ok(None);
                }
                content.tenants.insert(id, Stored(SecretKey::generate()?));
                Ok(Some(()))
            })?;
        }
        match content.destroyed.contains(&id) {
            true => Err(ProviderError::Destroyed),
            false => Ok(content),
        }
    }

    fn wrap(&self, context: KeyContext, key: &SecretKey) -> Result<WrappedKey, ProviderError> {
        let content = self.with_tenant(context.tenant())?;
        let version = content.newest_master();
        let provider_key = name(&content, version);
        let wrapping = tenant_key(&content, version, context.tenant())?;
        let mut buffer = cipher::begin(&[], key.expose().len());
        buffer.extend_from_slice(key.expose());
        let bytes = cipher::seal(&wrapping, &context.associated(&provider_key), 0, buffer)
            .map_err(ProviderError::unavailable)?;
        Ok(WrappedKey::new(provider_key, bytes))
    }

    fn unwrap(&self, context: KeyContext, wrapped: &WrappedKey) -> Result<SecretKey, ProviderError> {
        let content = self.content()?;
        if content.destroyed.contains(&context.tenant().as_uuid()) {
            return Err(ProviderError::Destroyed);
        }
        let named = wrapped.provider_key().split_once('/');
        let version = named.filter(|(id, _)| *id == content.id.to_string());
        let Some(version) = version.and_then(|(_, version)| version.parse().ok()) else {
            return Err(ProviderError::refused(format!(
                "the key was wrapped by `{}`, and the file is `{}`: open the file of this database",
                wrapped.provider_key(),
                content.id
            )));
        };
        let wrapping = tenant_key(&content, version, context.tenant())?;
        let opened = cipher::open(&wrapping, &context.associated(wrapped.provider_key()), wrapped.bytes());
        let opened = opened.map(Zeroizing::new).ok().and_then(|bytes| SecretKey::from_slice(&bytes));
        opened.ok_or_else(|| {
            ProviderError::refused(
                "the wrapped key is not this tenant's, or not of this line of `tenant_keys`",
            )
        })
    }

    fn destroy(&self, tenant: TenantId) -> Result<(), ProviderError> {
        let id = tenant.as_uuid();
        self.change(|content| {
            let had = content.tenants.remove(&id).is_some();
            Ok((content.destroyed.insert(id) || had).then_some(()))
        })?;
        Ok(())
    }
}

/// Names a master key of this file.
fn name(content: &Content, version: u32) -> String {
    format!("{}/{version}", content.id)
}

fn tenant_key(content: &Content, version: u32, tenant: TenantId) -> Result<SecretKey, ProviderError> {
    let old = |what: &str| {
        ProviderError::refused(format!("the key file has no {what}: is it an old copy of the file?"))
    };
    let master = content.master(version).ok_or_else(|| old(&format!("master key of version {version}")))?;
    let secret = content.tenants.get(&tenant.as_uuid()).ok_or_else(|| old("secret of this tenant"))?;
    let place = joined(&[b"formwork/tenant-key", tenant.as_uuid().as_bytes()]);
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(Some(secret.0.expose()), master.expose())
        .expand(&place, &mut *key)
        .map_err(|_| ProviderError::refused("the tenant's key cannot be derived"))?;
    SecretKey::from_slice(&*key).ok_or_else(|| ProviderError::refused("the tenant's key cannot be derived"))
}

#[async_trait]
impl KeyProvider for LocalKeyFile {
    async fn current(&self, tenant: TenantId) -> Result<String, ProviderError> {
        self.blocking(move |file| {
            let content = file.with_tenant(tenant)?;
            Ok(name(&content, content.newest_master()))
        })
        .await
    }

    async fn wrap(&self, context: &KeyContext, key: &SecretKey) -> Result<WrappedKey, ProviderError> {
        let (context, key) = (*context, key.clone());
        self.blocking(move |file| file.wrap(context, &key)).await
    }

    async fn unwrap(&self, context: &KeyContext, wrapped: &WrappedKey) -> Result<SecretKey, ProviderError> {
        let (context, wrapped) = (*context, wrapped.clone());
        self.blocking(move |file| file.unwrap(context, &wrapped)).await
    }

    async fn destroy(&self, tenant: TenantId) -> Result<(), ProviderError> {
        self.blocking(move |file| file.destroy(tenant)).await
    }
}

impl From<KeyFileError> for ProviderError {
    /// Whoever repairs the file need not start the service again.
    fn from(error: KeyFileError) -> Self {
        Self::unavailable(error)
    }
}

impl fmt::Debug for LocalKeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalKeyFile").field("path", &self.0.path).finish_non_exhaustive()
    }
}
