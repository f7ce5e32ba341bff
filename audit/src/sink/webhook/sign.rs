//! Signatures as Standard Webhooks 1.0 has them: `v1,` and the HMAC-SHA256 of `<id>.<timestamp>.<body>` in base64.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// What both sides know: `whsec_` and 24 to 64 bytes in base64.
///
/// ```
/// use formwork_audit::sink::WebhookSecret;
///
/// let secret: WebhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse()?;
/// assert_eq!(
///     secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#),
///     "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
/// );
/// # Ok::<(), formwork_audit::sink::InvalidWebhook>(())
/// ```
#[derive(Clone)]
pub struct WebhookSecret(Vec<u8>);

/// A webhook cannot be as it was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidWebhook {
    /// The secret has another form.
    #[error(
        "the secret is not `whsec_` and 24 to 64 bytes in base64: make one with `openssl rand -base64 32`"
    )]
    Secret,
    /// The address has another form.
    #[error("`{url}` is not an address like `https://host/path`")]
    Address {
        /// As given.
        url: String,
    },
    /// The certificates of the authorities cannot be read.
    #[error("the certificates of the authorities cannot be read: {reason}")]
    Authorities {
        /// Why.
        reason: String,
    },
}

impl FromStr for WebhookSecret {
    type Err = InvalidWebhook;

    fn from_str(text: &str) -> Result<Self, InvalidWebhook> {
        let bytes = text.strip_prefix("whsec_").and_then(|text| STANDARD.decode(text).ok());
        bytes.filter(|bytes| (24..=64).contains(&bytes.len())).map(Self).ok_or(InvalidWebhook::Secret)
    }
}

impl WebhookSecret {
    /// The signature of one message, sent at this time in seconds.
    pub fn sign(&self, id: &str, timestamp: i64, body: &str) -> String {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return String::new() };
        for part in [id, ".", &timestamp.to_string(), ".", body] {
            mac.update(part.as_bytes());
        }
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(..)")
    }
}
