//! Tenants' keys in AWS KMS: a KMS key for each tenant.
//!
//! One key for all would cost less, but could not be destroyed for one tenant, and a backup of the database would stay
//! readable. The key is found by its alias, made on first use; the [`KeyContext`] is the encryption context of every
//! call, so that KMS refuses another tenant's wrapped key and the trail of AWS names the tenant. KMS rotates the material of
//! a key by itself (`EnableKeyRotation`) under the same name: nothing has to be wrapped anew.

use std::{collections::HashMap, error::Error};

use async_trait::async_trait;
use aws_sdk_kms::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    primitives::Blob,
    types::{KeyMetadata, KeyState, Tag},
};
use zeroize::Zeroizing;

use super::{KeyContext, KeyProvider, ProviderError, SecretKey, WrappedKey};
use crate::TenantId;

/// Days until KMS deletes a key that is to be destroyed: the fewest that it knows. Until then the key is refused to
/// everybody, and whoever may call `CancelKeyDeletion` could bring it back.
const PENDING_DAYS: i32 = 7;

/// Somebody else may make the tenant's key at the same time, and an alias takes a moment to be seen everywhere.
const ATTEMPTS: u32 = 3;

/// A [`KeyProvider`] with a KMS key for each tenant, named `alias/<prefix>/<tenant>`.
///
/// It calls `DescribeKey`, `CreateKey`, `TagResource`, `CreateAlias`, `Encrypt`, `Decrypt` and, to shred,
/// `ScheduleKeyDeletion`. KMS deletes a key seven days after that; from the first moment it refuses to use it.
///
/// ```no_run
/// # fn example(client: aws_sdk_kms::Client) {
/// use formwork_tenancy::keys::{AwsKms, Keys};
///
/// let keys = Keys::new(AwsKms::new(client, "my-service"));
/// # let _ = keys;
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct AwsKms {
    client: Client,
    prefix: String,
}

impl AwsKms {
    /// Keys of this service in the client's account and region.
    pub fn new(client: Client, prefix: impl Into<String>) -> Self {
        Self { client, prefix: prefix.into() }
    }

    fn alias(&self, tenant: TenantId) -> String {
        format!("alias/{}/{tenant}", self.prefix)
    }

    async fn describe(&self, key: &str) -> Result<Option<KeyMetadata>, ProviderError> {
        let answer = self.client.describe_key().key_id(key).send().await;
        match answer {
            Ok(answer) => Ok(answer.key_metadata),
            Err(error) if error.code() == Some("NotFoundException") => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// The address of the tenant's key, made now if there is none.
    async fn key_of(&self, tenant: TenantId) -> Result<String, ProviderError> {
        let alias = self.alias(tenant);
        for _ in 0..ATTEMPTS {
            let key = match self.describe(&alias).await? {
                Some(key) => key,
                None => match self.make(tenant, &alias).await? {
                    Some(key) => key,
                    None => continue,
                },
            };
            return match is_going(&key) {
                true => Err(ProviderError::Destroyed),
                false => Ok(key.arn.unwrap_or(key.key_id)),
            };
        }
        Err(taken(&alias))
    }

    /// None when somebody else was faster.
    async fn make(&self, tenant: TenantId, alias: &str) -> Result<Option<KeyMetadata>, ProviderError> {
        let tag = Tag::builder().tag_key("formwork:tenant").tag_value(tenant.to_string()).build();
        let tag = tag.map_err(ProviderError::unavailable)?;
        let made = self.client.create_key().description(alias).tags(tag).send().await.map_err(failed)?;
        let Some(key) = made.key_metadata else {
            return Err(ProviderError::unavailable("KMS did not say which key it has made"));
        };
        let named = self.client.create_alias().alias_name(alias).target_key_id(&key.key_id).send().await;
        match named {
            Ok(_) => Ok(Some(key)),
            Err(error) if error.code() == Some("AlreadyExistsException") => {
                self.schedule_deletion(&key.key_id).await?;
                Ok(None)
            }
            Err(error) => Err(failed(error)),
        }
    }

    async fn schedule_deletion(&self, key: &str) -> Result<(), ProviderError> {
        let call = self.client.schedule_key_deletion().key_id(key).pending_window_in_days(PENDING_DAYS);
        call.send().await.map(drop).map_err(failed)
    }

    /// KMS says of a key that is switched off what it says of one that is being deleted.
    async fn why_in_no_state_to(&self, key: &str) -> ProviderError {
        match self.describe(key).await {
            Err(error) => error,
            Ok(found) if found.as_ref().is_none_or(is_going) => ProviderError::Destroyed,
            Ok(_) => ProviderError::refused(format!("`{key}` is not enabled: enable it in KMS")),
        }
    }
}

fn taken(alias: &str) -> ProviderError {
    ProviderError::unavailable(format!("`{alias}` is taken and cannot be seen yet"))
}

fn is_going(key: &KeyMetadata) -> bool {
    matches!(key.key_state, Some(KeyState::PendingDeletion | KeyState::PendingReplicaDeletion))
}

fn encryption_context(context: &KeyContext) -> HashMap<String, String> {
    HashMap::from([
        ("formwork:tenant".to_owned(), context.tenant().to_string()),
        ("formwork:purpose".to_owned(), context.purpose().as_str().to_owned()),
        ("formwork:version".to_owned(), context.version().to_string()),
    ])
}

/// What no second try changes is refused, anything else may pass.
fn failed<E, R>(error: SdkError<E, R>) -> ProviderError
where
    E: Error + ProvideErrorMetadata + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    const REFUSALS: [&str; 7] = [
        "AccessDeniedException",
        "IncorrectKeyException",
        "InvalidArnException",
        "InvalidCiphertextException",
        "InvalidKeyUsageException",
        "UnrecognizedClientException",
        "ValidationException",
    ];
    match error.code() {
        Some(code) if REFUSALS.contains(&code) => {
            ProviderError::refused(format!("KMS answers {code}: {}", error.message().unwrap_or("no reason")))
        }
        _ => ProviderError::unavailable(error),
    }
}

#[async_trait]
impl KeyProvider for AwsKms {
    async fn current(&self, tenant: TenantId) -> Result<String, ProviderError> {
        self.key_of(tenant).await
    }

    async fn wrap(&self, context: &KeyContext, key: &SecretKey) -> Result<WrappedKey, ProviderError> {
        let name = self.key_of(context.tenant()).await?;
        let call = self.client.encrypt().key_id(&name).plaintext(Blob::new(key.expose().as_slice()));
        let answer = match call.set_encryption_context(Some(encryption_context(context))).send().await {
            Ok(answer) => answer,
            Err(error) if error.code() == Some("KMSInvalidStateException") => {
                return Err(self.why_in_no_state_to(&name).await);
            }
            Err(error) => return Err(failed(error)),
        };
        let bytes =
            answer.ciphertext_blob.ok_or_else(|| ProviderError::unavailable("KMS has wrapped nothing"))?;
        Ok(WrappedKey::new(name, bytes.into_inner()))
    }

    async fn unwrap(&self, context: &KeyContext, wrapped: &WrappedKey) -> Result<SecretKey, ProviderError> {
        let name = wrapped.provider_key();
        let call = self.client.decrypt().key_id(name).ciphertext_blob(Blob::new(wrapped.bytes()));
        let answer = match call.set_encryption_context(Some(encryption_context(context))).send().await {
            Ok(answer) => answer,
            // Gone: its days have passed.
            Err(error) if error.code() == Some("NotFoundException") => return Err(ProviderError::Destroyed),
            Err(error) if error.code() == Some("KMSInvalidStateException") => {
                return Err(self.why_in_no_state_to(name).await);
            }
            Err(error) => return Err(failed(error)),
        };
        let bytes = answer.plaintext.map(|bytes| Zeroizing::new(bytes.into_inner()));
        bytes
            .and_then(|bytes| SecretKey::from_slice(&bytes))
            .ok_or_else(|| ProviderError::refused("what KMS has opened is not a key"))
    }

    /// Where there is no key, one is made and destroyed: its alias is taken from then on, so whoever is about to make the
    /// tenant's first key at this moment finds that it is destroyed.
    async fn destroy(&self, tenant: TenantId) -> Result<(), ProviderError> {
        let alias = self.alias(tenant);
        for _ in 0..ATTEMPTS {
            let key = match self.describe(&alias).await? {
                Some(key) => key,
                None => match self.make(tenant, &alias).await? {
                    Some(key) => key,
                    None => continue,
                },
            };
            return match is_going(&key) {
                true => Ok(()),
                false => self.schedule_deletion(&key.key_id).await,
            };
        }
        Err(taken(&alias))
    }
}
