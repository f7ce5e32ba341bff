//! Access tokens: EdDSA, 15 minutes, for one tenant.

use std::{
    fs,
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
    sync::Arc,
};

use chrono::Utc;
use ed25519_dalek::{
    SigningKey,
    pkcs8::{DecodePrivateKey, EncodePrivateKey, spki::der::pem::LineEnding},
};
use formwork_tenancy::TenantId;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// How long an access token holds.
pub const LIFETIME_SECONDS: i64 = 15 * 60;
const ISSUER: &str = "formwork";
const AUDIENCE: &str = "formwork-api";

/// What a token says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Claims {
    /// Who made it.
    pub iss: String,
    /// Whom it is for.
    pub aud: String,
    /// The person.
    pub sub: Uuid,
    /// The tenant.
    pub org_id: TenantId,
    /// When it was made, in seconds since 1970.
    pub iat: i64,
    /// When it ends, in seconds since 1970.
    pub exp: i64,
    /// Its own identity.
    pub jti: Uuid,
}

/// Makes and verifies access tokens. Cheap to clone.
#[derive(Clone)]
pub struct Tokens(Arc<Keys>);

struct Keys {
    encoding: EncodingKey,
    decoding: DecodingKey,
    key_id: String,
    validation: Validation,
}

/// A signing key could not be had.
#[derive(Debug, thiserror::Error)]
#[error("the signing key `{path}` {problem}")]
pub struct KeyError {
    path: String,
    problem: String,
}

/// A token does not hold.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Its time is over.
    #[error("the token has expired: sign in again")]
    Expired,
    /// Anything else that is wrong with it.
    #[error("the token does not hold: sign in again")]
    Invalid,
    /// It could not be made.
    #[error("a token could not be signed")]
    Signing,
}

impl Tokens {
    /// With the key in `path`, which is made with mode 0600 when it is not there.
    ///
    /// # Errors
    ///
    /// [`KeyError`] when the file cannot be read or written, holds no Ed25519 key, or others may read it.
    pub fn open(path: &Path) -> Result<Self, KeyError> {
        let fail = |problem: String| KeyError { path: path.display().to_string(), problem };
        if !path.exists() {
            create(path).map_err(|error| fail(format!("could not be made: {error}")))?;
        }
        let mode = fs::metadata(path)
            .map_err(|error| fail(format!("cannot be read: {error}")))?
            .permissions()
            .mode();
        if mode & 0o077 != 0 {
            return Err(fail(format!(
                "can be read by others (mode {:o}): run `chmod 600` on it",
                mode & 0o777
            )));
        }
        let text = fs::read_to_string(path).map_err(|error| fail(format!("cannot be read: {error}")))?;
        let key = SigningKey::from_pkcs8_pem(&text).map_err(|_| {
            fail("is no Ed25519 key in PEM: move it away and start again to make a new one".into())
        })?;
        Self::new(&key).map_err(|_| fail("cannot be used".into()))
    }

    /// With a key of this process alone, for what signs nobody in.
    ///
    /// # Errors
    ///
    /// [`TokenError::Signing`] when the machine gives no random bytes.
    pub fn ephemeral() -> Result<Self, TokenError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|_| TokenError::Signing)?;
        Self::new(&SigningKey::from_bytes(&seed))
    }

    /// With this key.
    ///
    /// # Errors
    ///
    /// [`TokenError::Signing`] when the key cannot be encoded.
    pub fn new(key: &SigningKey) -> Result<Self, TokenError> {
        // Named outright: a second provider in somebody's feature set would make the choice panic.
        let _ = jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER.install_default();
        let der = key.to_pkcs8_der().map_err(|_| TokenError::Signing)?;
        let public = key.verifying_key();
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.leeway = 5;
        let key_id = Sha256::digest(public.as_bytes()).iter().take(8).map(|b| format!("{b:02x}")).collect();
        Ok(Self(Arc::new(Keys {
            encoding: EncodingKey::from_ed_der(der.as_bytes()),
            decoding: DecodingKey::from_ed_der(public.as_bytes()),
            key_id,
            validation,
        })))
    }

    /// A token for this person in this tenant.
    ///
    /// # Errors
    ///
    /// [`TokenError::Signing`].
    pub fn issue(&self, user: Uuid, tenant: TenantId) -> Result<String, TokenError> {
        self.issue_at(user, tenant, Utc::now().timestamp())
    }

    fn issue_at(&self, user: Uuid, tenant: TenantId, now: i64) -> Result<String, TokenError> {
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(self.0.key_id.clone());
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: user,
            org_id: tenant,
            iat: now,
            exp: now + LIFETIME_SECONDS,
            jti: Uuid::now_v7(),
        };
        jsonwebtoken::encode(&header, &claims, &self.0.encoding).map_err(|_| TokenError::Signing)
    }

    /// What a token says, when its signature, time, issuer and audience hold.
    ///
    /// # Errors
    ///
    /// [`TokenError`].
    pub fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Invalid)?;
        if header.kid.as_deref() != Some(self.0.key_id.as_str()) {
            return Err(TokenError::Invalid);
        }
        match jsonwebtoken::decode::<Claims>(token, &self.0.decoding, &self.0.validation) {
            Ok(data) => Ok(data.claims),
            Err(error) if matches!(error.kind(), jsonwebtoken::errors::ErrorKind::ExpiredSignature) => {
                Err(TokenError::Expired)
            }
            Err(_) => Err(TokenError::Invalid),
        }
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("key_id", &self.0.key_id).finish_non_exhaustive()
    }
}

/// A new key. Written beside and renamed, so that a kill in the middle leaves no half key.
pub(crate) fn create(path: &Path) -> std::io::Result<()> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(std::io::Error::other)?;
    let pem = SigningKey::from_bytes(&seed).to_pkcs8_pem(LineEnding::LF).map_err(std::io::Error::other)?;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(pem.as_bytes())?;
    file.sync_all()?;
    // Not over a key that another process made meanwhile.
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(seed: u8) -> Tokens {
        Tokens::new(&SigningKey::from_bytes(&[seed; 32])).unwrap()
    }

    #[test]
    fn a_token_says_who_and_for_which_tenant() {
        let (user, tenant) = (Uuid::now_v7(), TenantId::generate());
        let claims = tokens(1).verify(&tokens(1).issue(user, tenant).unwrap()).unwrap();
        assert_eq!((claims.sub, claims.org_id), (user, tenant));
        assert_eq!(claims.exp - claims.iat, 900);
    }

    #[test]
    fn what_does_not_hold_is_refused() {
        let (user, tenant) = (Uuid::now_v7(), TenantId::generate());
        let ours = tokens(1);
        let late = ours.issue_at(user, tenant, Utc::now().timestamp() - 3_600).unwrap();
        assert!(matches!(ours.verify(&late), Err(TokenError::Expired)));
        let forged = tokens(2).issue(user, tenant).unwrap();
        assert!(matches!(ours.verify(&forged), Err(TokenError::Invalid)));
        let good = ours.issue(user, tenant).unwrap();
        let (head, signature) = good.rsplit_once('.').unwrap();
        let other = ours.issue(Uuid::now_v7(), tenant).unwrap();
        let (other_head, _) = other.rsplit_once('.').unwrap();
        assert!(
            ours.verify(&format!("{other_head}.{signature}")).is_err(),
            "another body under the signature"
        );
        assert!(ours.verify(&format!("{head}.")).is_err());
        for garbage in ["", "a.b.c", "x"] {
            assert!(ours.verify(garbage).is_err(), "{garbage}");
        }
        // {"alg":"none"} with a body: no signature is never good enough.
        let (_, body_and_more) = good.split_once('.').unwrap();
        let body = body_and_more.split('.').next().unwrap();
        assert!(ours.verify(&format!("eyJhbGciOiJub25lIn0.{body}.")).is_err());
    }

    #[test]
    fn the_key_file_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/signing-key.pem");
        let first = Tokens::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = Tokens::open(&path).unwrap();
        let token = first.issue(Uuid::nil(), TenantId::generate()).unwrap();
        assert!(again.verify(&token).is_ok(), "the key survives");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Tokens::open(&path).unwrap_err().to_string().contains("chmod 600"));
    }
}
