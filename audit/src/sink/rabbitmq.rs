//! Events at an exchange of RabbitMQ.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::{AMQPValue, FieldTable},
};
use tokio::sync::Mutex;

use super::{Message, SendError, Sink};

/// Publishes events to an exchange of RabbitMQ, persistent, confirmed by the broker (publisher confirms).
///
/// The routing key is the action, so that a queue can be bound to `member.*` at a topic exchange; `message_id` is the
/// event's identity, the header `tenant` whose it is. An event that no queue takes is not lost: the broker gives it back,
/// and it is tried again.
///
/// ```no_run
/// use formwork_audit::sink::RabbitSink;
///
/// let sink = RabbitSink::new("amqps://user:password@broker.example/audit", "audit");
/// # let _ = sink;
/// ```
pub struct RabbitSink {
    url: String,
    exchange: String,
    timeout: Duration,
    open: Mutex<Option<Open>>,
}

struct Open {
    /// Ends with it.
    _connection: Connection,
    channel: Channel,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

impl RabbitSink {
    /// To the exchange of this name, which is there. Nothing is sent yet; ten seconds for a batch.
    pub fn new(url: impl Into<String>, exchange: impl Into<String>) -> Self {
        let timeout = Duration::from_secs(10);
        Self { url: url.into(), exchange: exchange.into(), timeout, open: Mutex::new(None) }
    }

    async fn connect(&self) -> Result<Open, Failure> {
        let connection = Connection::connect(&self.url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Open { _connection: connection, channel })
    }

    /// Publishes all and hears of each in turn; how many of the first the broker has, when it does not have all.
    async fn publish(&self, messages: &[Message]) -> Result<(), (usize, Failure)> {
        // Taken out: given up in the middle, it is closed.
        let used = self.open.lock().await.take().filter(|open| open.channel.status().connected());
        let open = match used {
            Some(open) => open,
            None => self.connect().await.map_err(|error| (0, error))?,
        };
        let mut confirms = Vec::with_capacity(messages.len());
        for message in messages {
            let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
            let body = message.body().as_bytes();
            let published = open.channel.basic_publish(
                self.exchange.as_str().into(),
                message.action().into(),
                options,
                body,
                properties(message),
            );
            confirms.push(published.await.map_err(|error| (0, error.into()))?);
        }
        for (sent, confirm) in confirms.into_iter().enumerate() {
            match confirm.await {
                Ok(Confirmation::Ack(None)) => {}
                Ok(Confirmation::Ack(Some(_))) => return Err((sent, "no queue takes the event".into())),
                Ok(_) => return Err((sent, "the broker does not confirm the event".into())),
                Err(error) => return Err((sent, error.into())),
            }
        }
        *self.open.lock().await = Some(open);
        Ok(())
    }
}

fn properties(message: &Message) -> BasicProperties {
    let mut headers = FieldTable::default();
    headers.insert("tenant".into(), AMQPValue::LongString(message.tenant().to_string().into()));
    BasicProperties::default()
        .with_message_id(message.event().to_string().into())
        .with_content_type("application/json".into())
        .with_type(message.action().into())
        .with_headers(headers)
        // Kept through a restart of the broker.
        .with_delivery_mode(2)
}

#[async_trait]
impl Sink for RabbitSink {
    async fn send(&self, messages: &[Message]) -> Result<(), SendError> {
        match tokio::time::timeout(self.timeout, self.publish(messages)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err((sent, error))) => Err(SendError::unavailable(error).after(sent)),
            Err(_) => Err(SendError::unavailable(format!("no answer within {:?}", self.timeout))),
        }
    }
}

impl fmt::Debug for RabbitSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address has a password.
        f.debug_struct("RabbitSink").field("exchange", &self.exchange).finish_non_exhaustive()
    }
}
