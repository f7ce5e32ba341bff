//! The time that deliveries live in.

use std::{fmt, time::Duration};

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;

/// The time, and waiting for it to pass: a test has its own.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The time; signatures carry it.
    fn now(&self) -> DateTime<Utc>;

    /// Ends when so much time has passed.
    fn sleep(&self, pause: Duration) -> BoxFuture<'_, ()>;
}

/// The machine's own.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    fn sleep(&self, pause: Duration) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(pause))
    }
}
