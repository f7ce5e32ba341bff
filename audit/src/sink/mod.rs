//! Sinks: where the events of the trails go besides.
//!
//! A trigger notes each event in a stream, `platform.audit_outbox`, in the transaction that writes it. A [`Deliverer`]
//! follows that stream for one [`Sink`], reads the events in their tenants' own transactions, and confirms what the sink
//! has taken. So each event that was committed since the sink was first followed arrives **at least once**, whoever
//! wrote it; one that comes again has the same id. The events of a tenant come in the order of the stream: those of a
//! transaction together, and of two transactions first the one that committed before the other began.
//!
//! What a sink will not take becomes a [`DeadLetter`] in its tenant's home and the others go on. What it cannot take now
//! is tried again, with growing pauses.

mod clock;
mod dead_letter;
mod deliver;
mod event;
mod file;
mod filter;
mod metrics;
mod ocsf;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;
#[cfg(feature = "redis")]
mod redis;
mod retry;
mod send;
#[cfg(feature = "sqs")]
mod sqs;
#[cfg(feature = "webhook")]
mod webhook;

pub use clock::{Clock, SystemClock};
pub use dead_letter::{DeadLetter, DeadLetters};
pub use deliver::{DeliverError, Deliverer, Resent};
pub use event::{Format, SinkEvent};
pub use file::FileSink;
pub use filter::{EventRule, SinkFilter};
pub use metrics::SinkMetrics;
#[cfg(feature = "rabbitmq")]
pub use rabbitmq::RabbitSink;
#[cfg(feature = "redis")]
pub use redis::RedisSink;
pub use retry::Retry;
pub use send::{Message, SendError, Sink};
#[cfg(feature = "sqs")]
pub use sqs::SqsSink;
#[cfg(feature = "webhook")]
pub use webhook::{InvalidNetwork, InvalidWebhook, Network, WebhookSecret, WebhookSink, WebhookSinkBuilder};
