//! Events that are posted to somebody else's server, signed.

mod address;
mod post;
mod sign;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use http::{
    StatusCode,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT},
};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

use super::{Clock, Message, SendError, Sink, SystemClock};

pub use address::{InvalidNetwork, Network};
pub use sign::{InvalidWebhook, WebhookSecret};

use post::{Answer, Poster};

/// Posts each event by itself, signed as [Standard Webhooks](https://www.standardwebhooks.com) has it: `webhook-id` is the
/// event's identity, by which a receiver tells a repetition, `webhook-timestamp` the time of this attempt,
/// `webhook-signature` covers both and the body.
///
/// Addresses of private networks, of this machine and of the cloud's own services are refused unless they are allowed,
/// plain HTTP too; redirects are not followed. A receiver that says 400, 410, 413, 415 or 422 has refused the event;
/// anything else but 2xx is tried again, after `retry-after` where that is given.
///
/// ```no_run
/// use formwork_audit::sink::{Retry, WebhookSink};
/// # fn example(secret: &str) -> Result<(), Box<dyn std::error::Error>> {
/// let sink = WebhookSink::builder("https://siem.example/audit", secret.parse()?)
///     .allow("10.1.0.0/16".parse()?)
///     .build()?;
/// let retry = Retry::times(12); // with `Deliverer::retry`: then it is a dead letter
/// # let _ = (sink, retry); Ok(()) }
/// ```
#[derive(Debug)]
pub struct WebhookSink {
    poster: Poster,
    secrets: Vec<WebhookSecret>,
    clock: Arc<dyn Clock>,
}

/// How a [`WebhookSink`] is made.
#[derive(Debug)]
pub struct WebhookSinkBuilder {
    url: String,
    secrets: Vec<WebhookSecret>,
    allowed: Vec<Network>,
    authorities: Option<Vec<u8>>,
    timeout: Duration,
    clock: Arc<dyn Clock>,
}

impl WebhookSink {
    /// To this address, signed with this secret, ten seconds for an answer.
    pub fn builder(url: impl Into<String>, secret: WebhookSecret) -> WebhookSinkBuilder {
        WebhookSinkBuilder {
            url: url.into(),
            secrets: vec![secret],
            allowed: Vec::new(),
            authorities: None,
            timeout: Duration::from_secs(10),
            clock: Arc::new(SystemClock),
        }
    }

    fn headers(&self, message: &Message) -> Result<HeaderMap, http::header::InvalidHeaderValue> {
        let (id, sent_at) = (message.event().to_string(), self.clock.now().timestamp());
        let signed: Vec<String> =
            self.secrets.iter().map(|secret| secret.sign(&id, sent_at, message.body())).collect();
        let mut headers = HeaderMap::new();
        let mut insert = |name: &'static str, value: &str| {
            value.parse::<HeaderValue>().map(|value| headers.insert(HeaderName::from_static(name), value))
        };
        insert("webhook-id", &id)?;
        insert("webhook-timestamp", &sent_at.to_string())?;
        insert("webhook-signature", &signed.join(" "))?;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static("formwork-audit"));
        Ok(headers)
    }

    async fn post(&self, message: &Message) -> Result<(), SendError> {
        let headers = self.headers(message).map_err(SendError::refused)?;
        let answer =
            self.poster.post(headers, message.body().to_owned()).await.map_err(SendError::unavailable)?;
        judge(&answer)
    }
}

fn judge(answer: &Answer) -> Result<(), SendError> {
    let status = answer.status;
    if status.is_success() {
        return Ok(());
    }
    let said = format!("the receiver answered {status}");
    match status {
        StatusCode::BAD_REQUEST
        | StatusCode::GONE
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNSUPPORTED_MEDIA_TYPE
        | StatusCode::UNPROCESSABLE_ENTITY => Err(SendError::refused(said)),
        _ => {
            let seconds = answer.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            Err(SendError::unavailable(said).retry_after(seconds.map(Duration::from_secs)))
        }
    }
}

impl WebhookSinkBuilder {
    /// Signs with this secret as well: while a receiver changes from one to the other.
    #[must_use]
    pub fn also_signed_with(mut self, secret: WebhookSecret) -> Self {
        self.secrets.push(secret);
        self
    }

    /// Addresses of this network may be reached, also without TLS.
    #[must_use]
    pub fn allow(mut self, network: Network) -> Self {
        self.allowed.push(network);
        self
    }

    /// Trusts certificates of these authorities, in PEM, in place of those that browsers trust.
    #[must_use]
    pub fn authorities(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.authorities = Some(pem.into());
        self
    }

    /// How long an attempt may take, from the look-up of the name to the answer.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    /// Signs by the time of this clock.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The sink. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`InvalidWebhook`].
    pub fn build(self) -> Result<WebhookSink, InvalidWebhook> {
        let roots = match &self.authorities {
            None => webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect(),
            Some(pem) => trusted(pem)?,
        };
        let poster = Poster::new(&self.url, self.allowed, roots, self.timeout)?;
        Ok(WebhookSink { poster, secrets: self.secrets, clock: self.clock })
    }
}

fn trusted(pem: &[u8]) -> Result<RootCertStore, InvalidWebhook> {
    let invalid = |reason: String| InvalidWebhook::Authorities { reason };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| invalid(error.to_string()))?;
        roots.add(certificate).map_err(|error| invalid(error.to_string()))?;
    }
    match roots.is_empty() {
        true => Err(invalid("there is none in them".to_owned())),
        false => Ok(roots),
    }
}

#[async_trait]
impl Sink for WebhookSink {
    async fn send(&self, messages: &[Message]) -> Result<(), SendError> {
        for (sent, message) in messages.iter().enumerate() {
            self.post(message).await.map_err(|error| error.after(sent))?;
        }
        Ok(())
    }
}
