//! The keys that sign checkpoints: Ed25519.

use std::{fmt, str::FromStr};

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::hex;

/// Signs checkpoints. Whoever has it can write any history: keep it away from the database.
#[derive(Clone)]
pub struct SealKey(SigningKey);

impl SealKey {
    /// The key that these 32 secret bytes are.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// What its signatures are verified by.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// A signature as of a checkpoint with this root: what a bench times.
    #[doc(hidden)]
    pub fn sample_signature(&self, root: &super::Hash) -> [u8; 64] {
        self.sign(&hex::encode(root))
    }

    pub(crate) fn sign(&self, body: &str) -> [u8; 64] {
        self.0.sign(body.as_bytes()).to_bytes()
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealKey({})", self.public())
    }
}

/// Verifies checkpoints: 32 bytes, as text 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// See [`SealKey::sample_signature`].
    #[doc(hidden)]
    pub fn verifies_sample(&self, root: &super::Hash, signature: &[u8; 64]) -> bool {
        self.verifies(&hex::encode(root), signature)
    }

    /// Only signatures that every verifier accepts: no weak key, no second form of a signature.
    pub(crate) fn verifies(&self, body: &str, signature: &[u8; 64]) -> bool {
        VerifyingKey::from_bytes(&self.0)
            .and_then(|key| key.verify_strict(body.as_bytes(), &Signature::from_bytes(signature)))
            .is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// Text that is no public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no public key: it has 64 hexadecimal digits, lower case")]
pub struct InvalidKey {
    given: String,
}

impl FromStr for PublicKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let invalid = || InvalidKey { given: text.chars().take(80).collect() };
        hex::decode(text).map(Self).ok_or_else(invalid)
    }
}

impl TryFrom<String> for PublicKey {
    type Error = InvalidKey;

    fn try_from(text: String) -> Result<Self, InvalidKey> {
        text.parse()
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.to_string()
    }
}
