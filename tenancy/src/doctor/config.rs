//! What the doctor takes for granted: names of logins, and what was allowed on purpose.

use formwork_migrations::TenantTable;

/// Definer functions of our own migrations: each takes an exact key, so that no session of the service can list
/// tenants.
const DEFINERS: &[&str] = &[
    "platform.tenant_by_slug(text)",
    "platform.tenant_by_id(uuid)",
    "platform.tenant_by_domain(text)",
    "platform.tenant_home(uuid)",
    "platform.region_by_name(text)",
    "platform.tenants_by_keys(text[], text[], uuid[])",
    "platform.tenants_changed(uuid[], bigint[], bigint[])",
    "platform.registry_key()",
    "platform.administrator_grant(uuid, uuid)",
    "platform.use_administrator_grant(uuid, uuid, uuid, uuid, jsonb)",
    "platform.member_by_email(uuid, text)",
    "platform.api_key(text, bytea)",
    "platform.sole_membership(uuid)",
    "platform.is_member(uuid, uuid)",
    "platform.record_security_event(text, uuid, jsonb)",
    "platform.stream_floor(text)",
    // Pages through identities, which is why the relay alone may call it.
    "platform.active_tenants(uuid, integer)",
    "platform.hold_home(uuid, bigint)",
    "platform.home_versions(uuid)",
    "platform.audit_is_followed(uuid, text)",
    // Of any home: takes nothing, and makes the partitions of the months that come.
    "prepare_audit_partitions()",
];

/// Triggers that must fire for replication roles too: the logs that others rest on.
const ALWAYS_TRIGGERS: &[&str] = &[
    "permission_tuples.log_insert",
    "permission_tuples.log_update",
    "permission_tuples.log_delete",
    "permission_tuples.refuse_orphans_inserted",
    "permission_tuples.refuse_orphans_updated",
    "permission_tuples.refuse_truncate",
    "permission_schemas.immutable",
    "permission_schema_versions.immutable",
    "permission_schema_versions.log_schema",
    "audit_events.append_only",
    "audit_events.follow",
    "audit_leaves.append_only",
    "audit_checkpoints.append_only",
    "audit_targets.append_only",
];

/// The tables of `platform` in which tenants' rows stand together, under row security.
const STREAMS: &[&str] =
    &["platform.outbox", "platform.permission_changes", "platform.audit_outbox", "platform.sweep_hints"];

/// What a database is held against. The default fits one that has only our own migrations.
///
/// ```
/// use formwork_tenancy::doctor::DoctorConfig;
///
/// let config = DoctorConfig::new()
///     .app_role("acme_app")
///     .global_table("currencies")
///     .definer("platform.invitation_by_key(text)");
/// # drop(config);
/// ```
#[derive(Debug, Clone)]
pub struct DoctorConfig {
    pub(super) app_role: String,
    pub(super) relay_role: String,
    pub(super) streams: Vec<String>,
    pub(super) global_tables: Vec<String>,
    pub(super) definers: Vec<String>,
    pub(super) always_triggers: Vec<String>,
    pub(super) tables: Vec<TenantTable>,
}

impl Default for DoctorConfig {
    fn default() -> Self {
        Self::new()
    }
}

impl DoctorConfig {
    /// Logins `formwork_app` and `formwork_relay`, and what our own migrations make.
    pub fn new() -> Self {
        Self {
            app_role: "formwork_app".to_owned(),
            relay_role: "formwork_relay".to_owned(),
            streams: STREAMS.iter().map(|&name| name.to_owned()).collect(),
            global_tables: Vec::new(),
            definers: DEFINERS.iter().map(|&name| name.to_owned()).collect(),
            always_triggers: ALWAYS_TRIGGERS.iter().map(|&name| name.to_owned()).collect(),
            tables: Vec::new(),
        }
    }

    /// The login of the service.
    #[must_use]
    pub fn app_role(mut self, name: impl Into<String>) -> Self {
        self.app_role = name.into();
        self
    }

    /// The login that follows the streams.
    #[must_use]
    pub fn relay_role(mut self, name: impl Into<String>) -> Self {
        self.relay_role = name.into();
        self
    }

    /// One more stream, as `platform.name`: the service may use it, under the policy of a tenant's table.
    #[must_use]
    pub fn stream(mut self, table: impl Into<String>) -> Self {
        self.streams.push(table.into());
        self
    }

    /// A table that belongs to no tenant: `name` in any home, or `schema.name`. Nothing walls its rows off.
    #[must_use]
    pub fn global_table(mut self, table: impl Into<String>) -> Self {
        self.global_tables.push(table.into());
        self
    }

    /// A table as its migration declares it: every home's table of this name must have its rules
    /// ([`TenantTable::restrict`]), with the declared text.
    #[must_use]
    pub fn table(mut self, table: TenantTable) -> Self {
        self.tables.push(table);
        self
    }

    /// A definer function that was read and found safe, as `schema.name(types)`, or `name(types)` in any home.
    #[must_use]
    pub fn definer(mut self, signature: impl Into<String>) -> Self {
        self.definers.push(signature.into());
        self
    }

    /// A trigger that every home with this table must have, enabled ALWAYS: `table.trigger`.
    #[must_use]
    pub fn always_trigger(mut self, trigger: impl Into<String>) -> Self {
        self.always_triggers.push(trigger.into());
        self
    }

    /// The definer functions that are known.
    pub fn known_definers(&self) -> &[String] {
        &self.definers
    }
}
