//! OCSF.

use serde_json::{Value, json};

use super::SinkEvent;

pub(crate) fn of(event: &SinkEvent) -> Value {
    json!({"uid": event.id})
}
