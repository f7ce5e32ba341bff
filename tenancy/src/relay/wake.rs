//! Waiting for something to be there: a pause, cut short by a NOTIFY.
//!
//! INVARIANT: whoever is to be woken listens before it looks, so that what was committed after the look wakes it. A
//! lost listener costs a pause and nothing else.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};

#[derive(Debug)]
pub(crate) struct Wake {
    channel: &'static str,
    options: Option<PgConnectOptions>,
    listener: Option<PgListener>,
    pause: Duration,
}

impl Wake {
    /// With options to connect by, it listens.
    pub(crate) fn new(channel: &'static str, options: Option<PgConnectOptions>, pause: Duration) -> Self {
        Self { channel, options, listener: None, pause }
    }

    /// Begins to listen, where that is wanted and not the case.
    pub(crate) async fn ready(&mut self) -> Result<(), sqlx::Error> {
        if let (Some(options), None) = (&self.options, &self.listener) {
            let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(options.clone());
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.listen(self.channel).await?;
            self.listener = Some(listener);
        }
        Ok(())
    }

    /// Waits until woken, at most for the pause, and at most until `limit` has passed.
    pub(crate) async fn wait(&mut self, limit: Duration) {
        let pause = self.pause.min(limit);
        let Some(listener) = &mut self.listener else {
            return tokio::time::sleep(pause).await;
        };
        match tokio::time::timeout(pause, listener.try_recv()).await {
            // Several transactions may have notified: one look serves them all.
            Ok(Ok(Some(_))) => while listener.next_buffered().is_some() {},
            // What was said meanwhile is lost, so there is a look at once.
            Ok(Ok(None) | Err(_)) => self.listener = None,
            Err(_) => {}
        }
    }
}
