//! Fields about people, sealed under the tenant's own key.
//!
//! What is stored, and hashed into the seals, is the ciphertext, bound to the event and to the field's name.

use std::{collections::BTreeMap, fmt};

use formwork_tenancy::{
    TenantTx,
    keys::{Field, Keys, Sealed},
};
use serde_json::Value;
use uuid::Uuid;

use crate::{Audit, AuditError, Event, StoredEvent};

/// Fields before they are sealed. What they hold is not told.
#[derive(Clone, Default)]
pub(crate) struct Plain(BTreeMap<String, String>);

impl Plain {
    pub(crate) fn add(&mut self, name: String, value: String) {
        self.0.insert(name, value);
    }
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

fn column(name: &str) -> String {
    format!("personal.{name}")
}

/// One document an event; none for those without such fields.
pub(crate) async fn seal(
    keys: Option<&Keys>,
    tx: &mut TenantTx,
    events: &[Event],
) -> Result<Vec<Option<Value>>, AuditError> {
    if events.iter().all(|event| event.personal.0.is_empty()) {
        return Ok(vec![None; events.len()]);
    }
    let keys = keys.ok_or(AuditError::NoKeys)?;
    let fields: Vec<(Uuid, String, &str)> = events
        .iter()
        .flat_map(|event| event.personal.0.iter().map(|(name, value)| (event.id, column(name), &**value)))
        .collect();
    let places = fields.iter().map(|(id, column, value)| (*value, Field::new("audit_events", column, *id)));
    let mut sealed = keys.seal_many(tx, places.collect::<Vec<_>>()).await?.into_iter();
    let document = |event: &Event| {
        let fields = event.personal.0.keys().zip(sealed.by_ref());
        let document: serde_json::Map<_, _> =
            fields.map(|(name, sealed)| (name.clone(), serde_json::json!(sealed))).collect();
        (!document.is_empty()).then_some(Value::Object(document))
    };
    Ok(events.iter().map(document).collect())
}

impl Audit {
    /// The personal fields of an event, by their names, opened.
    ///
    /// # Errors
    ///
    /// [`AuditError::Keys`]: when the tenant's keys have been shredded, nobody will ever open them.
    pub async fn open_personal(
        &self,
        tx: &mut TenantTx,
        event: &StoredEvent,
    ) -> Result<BTreeMap<String, String>, AuditError> {
        let keys = self.keys.as_ref().ok_or(AuditError::NoKeys)?;
        let mut opened = BTreeMap::new();
        for (name, value) in event.personal.iter().filter_map(Value::as_object).flatten() {
            let column = column(name);
            let field = Field::new("audit_events", &column, event.id);
            // Bytes that are no sealed value are refused by the key.
            let sealed =
                serde_json::from_value(value.clone()).unwrap_or_else(|_| Sealed::from_bytes(Vec::new()));
            opened.insert(name.clone(), keys.open::<String>(tx, &sealed, field).await?);
        }
        Ok(opened)
    }
}
