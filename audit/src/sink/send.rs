//! What a sink is given, and what it answers.

use std::{error::Error, fmt, time::Duration};

use async_trait::async_trait;
use formwork_tenancy::TenantId;
use uuid::Uuid;

/// An event on its way, in the form that the sink wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    tenant: TenantId,
    event: Uuid,
    action: String,
    body: String,
}

impl Message {
    pub(crate) fn new(tenant: TenantId, event: Uuid, action: String, body: String) -> Self {
        Self { tenant, event, action, body }
    }

    /// Whose event it is.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// The event's identity: one that comes again has the same.
    pub fn event(&self) -> Uuid {
        self.event
    }

    /// What was done: `project.renamed`.
    pub fn action(&self) -> &str {
        &self.action
    }

    /// The event as one line of JSON.
    pub fn body(&self) -> &str {
        &self.body
    }
}

/// A place that takes events.
#[async_trait]
pub trait Sink: Send + Sync + fmt::Debug + 'static {
    /// Hands over messages, in their order. When this returns, the place has them and keeps them.
    ///
    /// # Errors
    ///
    /// [`SendError`]: how many of the first messages have arrived, and whether it is of use to try the next one again.
    /// Whatever was on its way besides may come a second time.
    async fn send(&self, messages: &[Message]) -> Result<(), SendError>;
}

/// Not all messages were taken.
#[derive(Debug)]
pub struct SendError {
    sent: usize,
    is_refused: bool,
    retry_after: Option<Duration>,
    source: Box<dyn Error + Send + Sync>,
}

impl SendError {
    /// The place cannot be reached, or cannot take anything now.
    pub fn unavailable(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { sent: 0, is_refused: false, retry_after: None, source: source.into() }
    }

    /// The place has looked at the message and will never take it.
    pub fn refused(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { is_refused: true, ..Self::unavailable(source) }
    }

    /// So many messages arrived before.
    #[must_use]
    pub fn after(mut self, sent: usize) -> Self {
        self.sent = sent;
        self
    }

    /// The place has said when it may be asked again.
    #[must_use]
    pub fn retry_after(mut self, pause: Option<Duration>) -> Self {
        self.retry_after = pause;
        self
    }

    /// How many of the first messages have arrived; the one behind them is what failed.
    pub fn sent(&self) -> usize {
        self.sent
    }

    /// Will it never be taken?
    pub fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// Not before this has passed.
    pub fn pause(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_refused { "the sink refuses the event" } else { "the sink cannot be reached" })
    }
}

impl Error for SendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.source.as_ref())
    }
}
