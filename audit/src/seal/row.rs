//! An event as it stands in its row, and the bytes of its leaf.
//!
//! The leaf is `formwork.audit.event.v1`, then every field that is not null, in this order: its name behind a length of
//! two bytes, its value as text behind one of four, both big-endian. Times are UTC with six decimals, documents are
//! Postgres' own text of `jsonb`. A column that comes later is null in the events of before, and so their leaves stay
//! as they were. The transaction id is left out: a tenant that moves gets new ones.

use chrono::{DateTime, SecondsFormat, Utc};
use formwork_tenancy::{StreamKey, StreamTable};
use sqlx::{
    FromRow, Postgres, Type,
    error::BoxDynError,
    postgres::{PgTypeInfo, PgValueFormat, PgValueRef},
};
use uuid::Uuid;

use super::merkle::{Hash, leaf_hash};

/// First bytes of a leaf.
pub const LEAF_FORMAT: &str = "formwork.audit.event.v1";

/// The events, as a sealer follows them.
pub(crate) const EVENTS: StreamTable = StreamTable::new("audit_events", StreamKey::Uuid, COLUMNS);

const COLUMNS: &[&str] = &[
    "tenant_id",
    "id",
    "at",
    "actor_type",
    "actor_id",
    "action",
    "entity_type",
    "entity_id",
    "targets",
    "outcome",
    "reason",
    "before",
    "after",
    "evidence_id",
    "evidence",
    "request_id",
    "ip",
    "user_agent",
    "impersonator",
    "on_behalf_of",
    "trace_id",
    "region",
    "personal",
];

/// The columns of `audit_events e`, as they are selected.
pub(crate) fn selected() -> String {
    let columns: Vec<String> = COLUMNS.iter().map(|column| format!("e.{column}")).collect();
    columns.join(", ")
}

/// All that is stored of an event, as it is sealed.
#[derive(Debug, Clone, FromRow)]
pub struct EventRow {
    pub(crate) tenant_id: Uuid,
    pub(crate) id: Uuid,
    pub(crate) at: DateTime<Utc>,
    actor_type: String,
    actor_id: String,
    action: String,
    entity_type: Option<String>,
    entity_id: Option<String>,
    targets: Document,
    outcome: String,
    reason: Option<String>,
    before: Option<Document>,
    after: Option<Document>,
    evidence_id: Option<Uuid>,
    evidence: Option<Document>,
    request_id: Option<String>,
    ip: Option<String>,
    user_agent: Option<String>,
    impersonator: Option<String>,
    on_behalf_of: Option<String>,
    trace_id: Option<String>,
    region: Option<String>,
    personal: Option<Document>,
}

impl EventRow {
    /// An event with nothing in it but what must be: what a bench hashes.
    #[doc(hidden)]
    pub fn sample(tenant: Uuid, id: Uuid, at: DateTime<Utc>, after: String) -> Self {
        Self {
            tenant_id: tenant,
            id,
            at,
            actor_type: "user".to_owned(),
            actor_id: id.to_string(),
            action: "task.updated".to_owned(),
            entity_type: Some("task".to_owned()),
            entity_id: Some(id.to_string()),
            targets: Document(format!(r#"[{{"id": "{id}", "type": "task"}}]"#)),
            outcome: "success".to_owned(),
            reason: None,
            before: None,
            after: Some(Document(after)),
            evidence_id: None,
            evidence: None,
            request_id: Some(id.to_string()),
            ip: Some("203.0.113.7".to_owned()),
            user_agent: Some("Mozilla/5.0".to_owned()),
            impersonator: None,
            on_behalf_of: None,
            trace_id: None,
            region: None,
            personal: None,
        }
    }

    /// Every field that is not null, by its name, in the order of the leaf.
    pub(crate) fn each_field(&self, mut tell: impl FnMut(&'static str, &str)) {
        let mut uuid = [0; 36];
        let mut id = |id: &Uuid| id.hyphenated().encode_lower(&mut uuid).to_owned();
        tell("tenant_id", &id(&self.tenant_id));
        tell("id", &id(&self.id));
        tell("at", &self.at.to_rfc3339_opts(SecondsFormat::Micros, true));
        tell("actor_type", &self.actor_type);
        tell("actor_id", &self.actor_id);
        tell("action", &self.action);
        let evidence_id = self.evidence_id.as_ref().map(&mut id);
        for (name, value) in [
            ("entity_type", self.entity_type.as_deref()),
            ("entity_id", self.entity_id.as_deref()),
            ("targets", Some(&*self.targets)),
            ("outcome", Some(&*self.outcome)),
            ("reason", self.reason.as_deref()),
            ("before", self.before.as_deref()),
            ("after", self.after.as_deref()),
            ("evidence_id", evidence_id.as_deref()),
            ("evidence", self.evidence.as_deref()),
            ("request_id", self.request_id.as_deref()),
            ("ip", self.ip.as_deref()),
            ("user_agent", self.user_agent.as_deref()),
            ("impersonator", self.impersonator.as_deref()),
            ("on_behalf_of", self.on_behalf_of.as_deref()),
            ("trace_id", self.trace_id.as_deref()),
            ("region", self.region.as_deref()),
            ("personal", self.personal.as_deref()),
        ] {
            if let Some(value) = value {
                tell(name, value);
            }
        }
    }

    /// Hash of its leaf. `buffer` is scratch space.
    pub fn hash(&self, buffer: &mut Vec<u8>) -> Hash {
        buffer.clear();
        buffer.extend_from_slice(LEAF_FORMAT.as_bytes());
        self.each_field(|name, value| {
            // No name is longer than Postgres' 63 bytes, and no value than its 1 GB.
            buffer.extend_from_slice(&(name.len() as u16).to_be_bytes());
            buffer.extend_from_slice(name.as_bytes());
            buffer.extend_from_slice(&(value.len() as u32).to_be_bytes());
            buffer.extend_from_slice(value.as_bytes());
        });
        leaf_hash(buffer)
    }
}

/// A `jsonb` as Postgres writes it, whose numbers no parser has rounded.
#[derive(Debug, Clone)]
struct Document(String);

impl std::ops::Deref for Document {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Type<Postgres> for Document {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("jsonb")
    }
}

impl<'r> sqlx::Decode<'r, Postgres> for Document {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        let format = value.format();
        let text = match (format, value.as_bytes()?) {
            // A version, then the text.
            (PgValueFormat::Binary, [1, text @ ..]) => text,
            (PgValueFormat::Text, text) => text,
            _ => return Err("a jsonb of a version that is not known".into()),
        };
        Ok(Self(std::str::from_utf8(text)?.to_owned()))
    }
}
