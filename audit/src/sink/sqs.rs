//! Events in a queue of AWS SQS.

use async_trait::async_trait;
use aws_sdk_sqs::{
    Client,
    error::{DisplayErrorContext, ProvideErrorMetadata},
    types::{BatchResultErrorEntry, SendMessageBatchRequestEntry},
};

use super::{Message, SendError, Sink};

/// The most entries of one call.
const ENTRIES: usize = 10;
/// The most bytes of one call, and of one message: what every queue takes.
const BYTES: usize = 256 * 1024;

/// Sends events to a queue of AWS SQS, ten in a call; the message is the JSON.
///
/// In a FIFO queue (its URL ends in `.fifo`) each tenant is a message group, so that its events stay in their order, and the
/// event's identity is the deduplication id: one that comes again within five minutes is dropped by SQS. In any other queue
/// SQS keeps no order. A message that is larger than the queue takes is refused.
///
/// ```no_run
/// # fn example(client: aws_sdk_sqs::Client) {
/// use formwork_audit::sink::SqsSink;
///
/// let sink = SqsSink::new(client, "https://sqs.eu-west-1.amazonaws.com/123456789012/audit.fifo");
/// # let _ = sink;
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct SqsSink {
    client: Client,
    url: String,
    is_fifo: bool,
}

impl SqsSink {
    /// To the queue with this URL, by the client's credentials. It calls `SendMessage`.
    pub fn new(client: Client, queue_url: impl Into<String>) -> Self {
        let url = queue_url.into();
        let is_fifo = url.ends_with(".fifo");
        Self { client, url, is_fifo }
    }

    fn entry(&self, index: usize, message: &Message) -> Result<SendMessageBatchRequestEntry, SendError> {
        let fifo = |text: String| self.is_fifo.then_some(text);
        SendMessageBatchRequestEntry::builder()
            .id(index.to_string())
            .message_body(message.body())
            .set_message_group_id(fifo(message.tenant().to_string()))
            .set_message_deduplication_id(fifo(message.event().to_string()))
            .build()
            .map_err(SendError::refused)
    }

    /// Sends one call's messages.
    async fn call(&self, messages: &[Message]) -> Result<(), SendError> {
        let entries = messages.iter().enumerate().map(|(index, message)| self.entry(index, message));
        let entries: Vec<_> = entries.collect::<Result<_, _>>()?;
        let answer =
            self.client.send_message_batch().queue_url(&self.url).set_entries(Some(entries)).send().await;
        match answer {
            Ok(answer) => first_failure(answer.failed()),
            Err(error) => {
                let said = DisplayErrorContext(&error).to_string();
                // A batch is refused as a whole: alone, the one that is too long is refused and no other.
                match error.code() {
                    Some("InvalidMessageContents" | "AWS.SimpleQueueService.BatchRequestTooLong")
                        if messages.len() == 1 =>
                    {
                        Err(SendError::refused(said))
                    }
                    _ => Err(SendError::unavailable(said)),
                }
            }
        }
    }
}

/// Of those that were not taken the first one in the order of the messages.
fn first_failure(failed: &[BatchResultErrorEntry]) -> Result<(), SendError> {
    let first = failed
        .iter()
        .filter_map(|failure| Some((failure.id().parse::<usize>().ok()?, failure)))
        .min_by_key(|(index, _)| *index);
    let Some((index, failure)) = first else { return Ok(()) };
    let said = format!("SQS said {}: {}", failure.code(), failure.message().unwrap_or_default());
    let error = match (failure.sender_fault(), failure.code()) {
        (true, "InvalidMessageContents" | "InvalidParameterValue") => SendError::refused(said),
        _ => SendError::unavailable(said),
    };
    Err(error.after(index))
}

/// As many of the first messages as go in one call, at least one.
fn fit(messages: &[Message]) -> usize {
    let mut bytes = 0;
    let fitting = messages.iter().take(ENTRIES).take_while(|message| {
        bytes += message.body().len();
        bytes <= BYTES
    });
    fitting.count().max(1)
}

#[async_trait]
impl Sink for SqsSink {
    async fn send(&self, messages: &[Message]) -> Result<(), SendError> {
        let mut sent = 0;
        while let Some(rest) = messages.get(sent..).filter(|rest| !rest.is_empty()) {
            let now = rest.get(..fit(rest)).unwrap_or(rest);
            self.call(now).await.map_err(|error| {
                let before = error.sent();
                error.after(sent + before)
            })?;
            sent += now.len();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: usize) -> Message {
        Message::new(uuid::Uuid::nil().into(), uuid::Uuid::nil(), "a.b".to_owned(), "x".repeat(length))
    }

    #[test]
    fn a_call_has_as_many_as_sqs_takes() {
        let many: Vec<Message> = (0..25).map(|_| message(10)).collect();
        assert_eq!(fit(&many), 10);
        let long: Vec<Message> = (0..5).map(|_| message(100_000)).collect();
        assert_eq!(fit(&long), 2);
        assert_eq!(fit(&[message(300_000), message(1)]), 1);
    }
}
