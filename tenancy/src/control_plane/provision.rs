//! Making a tenant and its home.
//!
//! A home of its own is made by the same steps as every other, sent as one message. There is no template to copy: of
//! policies, triggers, grants and foreign keys Postgres copies none, so a copy would be the same statements again.

use std::time::Duration;

use sqlx::AssertSqlSafe;

use super::{ControlError, ControlPlane, SHARED};
use crate::{
    Isolation, TenantId,
    fleet::{HOMES, message::Message, steps_of},
    own_role,
    tenant::is_slug,
};

/// A tenant to be made.
#[derive(Debug, Clone)]
pub struct NewTenant {
    slug: String,
    name: String,
    isolation: Isolation,
    currency: String,
    own_role: bool,
}

impl NewTenant {
    /// Named `slug` in addresses, `name` for people.
    pub fn new(slug: impl Into<String>, name: impl Into<String>, isolation: Isolation) -> Self {
        Self { slug: slug.into(), name: name.into(), isolation, currency: "KWD".to_owned(), own_role: false }
    }

    /// Gives its schema a role of its own, without which nobody reaches it, as a second wall beside row security.
    /// Needs [`Isolation::Schema`], Postgres 16 or newer, and an owner that may make roles.
    #[must_use]
    pub fn own_role(mut self) -> Self {
        self.own_role = true;
        self
    }

    /// ISO 4217 code used where none is given.
    #[must_use]
    pub fn currency(mut self, code: impl Into<String>) -> Self {
        self.currency = code.into();
        self
    }
}

impl ControlPlane {
    /// Makes a tenant with its home, in one transaction.
    ///
    /// # Errors
    ///
    /// [`ControlError::Taken`] when the slug is in use; nothing is left behind by a failure.
    #[expect(clippy::disallowed_methods, reason = "the owner's transactions are tenancy's too")]
    pub async fn provision(&self, tenant: &NewTenant) -> Result<TenantId, ControlError> {
        if !is_slug(&tenant.slug) {
            return Err(ControlError::InvalidSlug { slug: tenant.slug.clone() });
        }
        let id = TenantId::generate();
        let schema = match tenant.isolation {
            Isolation::Shared => SHARED.to_owned(),
            Isolation::Schema => format!("t_{}", id.as_uuid().simple()),
            isolation @ Isolation::Database => return Err(ControlError::Unsupported { isolation }),
        };
        if tenant.own_role && tenant.isolation != Isolation::Schema {
            return Err(ControlError::OwnRole {
                why: "only a schema of its own can have one: use isolation `schema`",
            });
        }
        // A migration that lists the homes waits for this one.
        let begin = format!("begin; select pg_advisory_xact_lock_shared({HOMES})");
        let mut tx = self.pool.begin_with(AssertSqlSafe(begin)).await?;
        if tenant.own_role {
            own_role::check(&mut tx).await?;
        }
        let inserted = sqlx::query(
            "insert into platform.tenants (id, slug, name, status, isolation, schema_name, default_currency, own_role)
             values ($1, $2, $3, 'active', $4, $5, $6, $7) on conflict (slug) do nothing",
        )
        .bind(id.as_uuid())
        .bind(&tenant.slug)
        .bind(&tenant.name)
        .bind(tenant.isolation.as_str())
        .bind(&schema)
        .bind(&tenant.currency)
        .bind(tenant.own_role)
        .execute(&mut *tx)
        .await?;
        if inserted.rows_affected() == 0 {
            return Err(ControlError::Taken { name: tenant.slug.clone() });
        }
        if tenant.isolation == Isolation::Schema {
            let made = self.home(&schema, tenant.own_role.then_some(id)).send(&mut tx).await;
            made.map_err(|failed| ControlError::Migration {
                name: failed.step.map_or_else(|| "before the first step".to_owned(), |step| step.label()),
                home: schema,
                source: failed.error.into(),
            })?;
        }
        tx.commit().await?;
        Ok(id)
    }

    /// Everything that a home has.
    fn home(&self, schema: &str, own_role: Option<TenantId>) -> Message {
        let steps: Vec<_> = steps_of(&self.sets).into_iter().filter(|step| !step.of_platform).collect();
        let mut message = Message::new();
        message.lock_timeout(Duration::from_secs(10));
        message.push(&format!("create schema {schema}; grant usage on schema {schema} to formwork_app"));
        if let Some(tenant) = own_role {
            message.push(&own_role::create(tenant, schema));
        }
        message.claim(schema, &steps);
        message.steps(schema, &steps);
        if let Some(tenant) = own_role {
            message.push(&own_role::take_over(tenant, schema));
        }
        message
    }
}
