//! Sinks.

mod deliver;
mod file;
mod kit;
mod ocsf;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;
mod redis;
#[cfg(feature = "sqs")]
mod sqs;
mod webhook;
