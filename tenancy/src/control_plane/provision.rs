//! Making a tenant and its home.
//!
//! A home of its own is made by the same steps as every other, sent as one message. There is no template to copy: of
//! policies, triggers, grants and foreign keys Postgres copies none, so a copy would be the same statements again.
//!
//! The registry's row is the last to be committed: a tenant that is known has its home. In another database than the
//! registry's a home can be left over by a crash in between; it is nobody's, and the doctor names it.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection, PgTransaction};

use super::{ControlError, ControlPlane, SHARED, regions};
use crate::{
    HomePlace, Isolation, TenantId,
    databases::MAIN,
    fleet::{HOMES, Scope, message::Message, steps_of},
    own_role,
    resolve::is_plain_slug,
};

/// A tenant to be made.
#[derive(Debug, Clone)]
pub struct NewTenant {
    slug: String,
    name: String,
    isolation: Isolation,
    place: Option<HomePlace>,
    currency: String,
    own_role: bool,
    residency: Option<Vec<String>>,
}

impl NewTenant {
    /// Named `slug` in addresses, `name` for people, with its home in the main database. For
    /// [`Isolation::Database`] use [`placed`](Self::placed).
    pub fn new(slug: impl Into<String>, name: impl Into<String>, isolation: Isolation) -> Self {
        let place = match isolation {
            Isolation::Shared => Some(HomePlace::shared()),
            Isolation::Schema => Some(HomePlace::schema()),
            Isolation::Database => None,
        };
        Self {
            slug: slug.into(),
            name: name.into(),
            isolation,
            place,
            currency: "KWD".to_owned(),
            own_role: false,
            residency: None,
        }
    }

    /// Named `slug` in addresses, `name` for people, with its home at `place`.
    pub fn placed(slug: impl Into<String>, name: impl Into<String>, place: HomePlace) -> Self {
        let isolation = place.isolation();
        Self { place: Some(place), ..Self::new(slug, name, isolation) }
    }

    /// Gives its schema a role of its own, without which nobody reaches it, as a second wall beside row security.
    /// Needs [`Isolation::Schema`], Postgres 16 or newer, and an owner that may make roles.
    #[must_use]
    pub fn own_role(mut self) -> Self {
        self.own_role = true;
        self
    }

    /// Its data may lie in this region; in others too when this is called for them. Without this call anywhere. Neither
    /// provisioning nor a move brings it elsewhere.
    #[must_use]
    pub fn resides_in(mut self, region: impl Into<String>) -> Self {
        self.residency.get_or_insert_default().push(region.into());
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
    /// Makes a tenant with its home.
    ///
    /// # Errors
    ///
    /// [`ControlError::Taken`] when the slug is in use, [`ControlError::Reserved`] when it is not to be had;
    /// [`ControlError::UnknownDatabase`]; [`ControlError::Residency`] when the tenant's data may not lie there. Nothing is
    /// left behind by a
    /// failure.
    #[expect(clippy::disallowed_methods, reason = "the owner's transactions are tenancy's too")]
    pub async fn provision(&self, tenant: &NewTenant) -> Result<TenantId, ControlError> {
        if !is_plain_slug(&tenant.slug) {
            return Err(ControlError::InvalidSlug { slug: tenant.slug.clone() });
        }
        if let Some(name) = self.reserved_names.resembled_by(&tenant.slug) {
            return Err(ControlError::Reserved { slug: tenant.slug.clone(), name: name.to_owned() });
        }
        let unsupported = ControlError::Unsupported { isolation: tenant.isolation };
        let place = tenant.place.as_ref().ok_or(unsupported)?;
        let database = place.database_name();
        let pool = self.pool_of(database)?;
        let id = TenantId::generate();
        let schema = place.schema_of(id);
        if tenant.own_role && tenant.isolation != Isolation::Schema {
            return Err(ControlError::OwnRole {
                why: "only a schema of its own in the main database can have one: use isolation `schema`",
            });
        }
        let mut tx = self.pool.begin_with(AssertSqlSafe(beside_migrations())).await?;
        if tenant.own_role {
            own_role::check(&mut tx).await?;
        }
        let region = self.region_in(&mut tx, database).await?;
        regions::check_residency(&tenant.slug, &region, tenant.residency.as_deref())?;
        let inserted = sqlx::query(
            "insert into platform.tenants (id, slug, name, status, isolation, database_name, schema_name, region,
                                           default_currency, own_role, residency)
             values ($1, $2, $3, 'active', $4, $5, $6, $7, $8, $9, $10) on conflict (slug) do nothing",
        )
        .bind(id.as_uuid())
        .bind(&tenant.slug)
        .bind(&tenant.name)
        .bind(place.isolation().as_str())
        .bind(database)
        .bind(&schema)
        .bind(&region)
        .bind(&tenant.currency)
        .bind(tenant.own_role)
        .bind(&tenant.residency)
        .execute(&mut *tx)
        .await?;
        if inserted.rows_affected() == 0 {
            return Err(ControlError::Taken { name: tenant.slug.clone() });
        }
        let own_role = tenant.own_role.then_some(id);
        if database == MAIN {
            self.make_home(&mut tx, id, &schema, 1, "live", own_role).await?;
        } else {
            let elsewhere = async {
                let mut there: PgTransaction<'_> =
                    pool.begin_with(AssertSqlSafe(beside_migrations())).await?;
                self.make_home(&mut there, id, &schema, 1, "live", None).await?;
                Ok(there.commit().await?)
            };
            elsewhere.await.map_err(|error: ControlError| error.in_database(database))?;
        }
        tx.commit().await?;
        Ok(id)
    }

    /// Enters the home into its database, and makes it there when it is the tenant's own. In a transaction that was
    /// begun by [`beside_migrations`].
    pub(crate) async fn make_home(
        &self,
        conn: &mut PgConnection,
        tenant: TenantId,
        schema: &str,
        epoch: i64,
        state: &str,
        own_role: Option<TenantId>,
    ) -> Result<(), ControlError> {
        sqlx::query(
            "insert into platform.homes (tenant_id, epoch, schema_name, state) values ($1, $2, $3, $4)",
        )
        .bind(tenant.as_uuid())
        .bind(epoch)
        .bind(schema)
        .bind(state)
        .execute(&mut *conn)
        .await?;
        if schema == SHARED {
            return Ok(());
        }
        let made = self.home(schema, own_role).send(conn).await;
        made.map_err(|failed| ControlError::Migration {
            name: failed.step.map_or_else(|| "before the first step".to_owned(), |step| step.label()),
            home: schema.to_owned(),
            source: failed.error.into(),
        })
    }

    /// Everything that a home has.
    fn home(&self, schema: &str, own_role: Option<TenantId>) -> Message {
        let steps: Vec<_> =
            steps_of(&self.sets).into_iter().filter(|step| step.scope == Scope::Home).collect();
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

/// Begins a transaction that makes a home: a migration that lists the homes waits for it.
pub(crate) fn beside_migrations() -> String {
    format!("begin; select pg_advisory_xact_lock_shared({HOMES})")
}
