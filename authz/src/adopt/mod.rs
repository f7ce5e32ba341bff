//! Schemas as they are stored: which a tenant has adopted, what adopting another one would change, and that it leaves no
//! relationship behind.
//!
//! INVARIANT: of the relationships that are stored, the newest schema has a place for all. Adopting one waits for those
//! who are storing relationships and keeps others waiting; from then on a trigger asks the newest schema.

mod error;
mod orphans;
mod plan;
mod stored;

pub use error::AdoptError;
pub use orphans::Orphans;
pub use plan::SchemaPlan;
pub use stored::{SchemaVersion, StoredSchema};

use formwork_tenancy::TenantTx;

use crate::authz::Authz;
use crate::lock;
use crate::schema::id::StoredText;
use crate::schema::{Schema, SchemaDiff, SchemaId};

impl Authz {
    /// What [`adopt_schema`](Self::adopt_schema) would do: a dry run.
    ///
    /// Reads every relationship of the tenant once; for 1,000,000 of them that is about a second.
    ///
    /// # Errors
    ///
    /// [`AdoptError::Unsaid`], [`AdoptError::Unreadable`] and [`AdoptError::Storage`].
    pub async fn plan_schema(&self, tx: &mut TenantTx) -> Result<SchemaPlan, AdoptError> {
        let id = self.schema().id()?;
        let newest = self.newest_schema(tx).await?;
        let diff = SchemaDiff::between(newest.as_ref().map(StoredSchema::schema), self.schema());
        let is_adopted = newest.as_ref().is_some_and(|stored| stored.version().id() == id);
        // What the newest has a place for is stored, and nothing else.
        let orphans = if is_adopted { Vec::new() } else { orphans::of(tx, self.schema()).await? };
        Ok(SchemaPlan { id, newest: newest.map(|stored| stored.version().clone()), diff, orphans })
    }

    /// Stores this handle's schema, all of its modules as one text, and makes it the tenant's newest: from then on
    /// nothing is stored that it has no place for, by whatever program. Already the newest, nothing is done.
    ///
    /// Programs that know an older schema go on: they answer by theirs and do not see relationships that only the newer
    /// one has a place for. What they would store without a place in the newest is refused
    /// ([`WriteError::NotInForce`](crate::WriteError::NotInForce)).
    ///
    /// It waits for transactions that have stored relationships of the tenant, and those that are about to wait for its
    /// end. A tenant that has adopted no schema is held to none.
    ///
    /// # How is a schema deployed?
    ///
    /// ```no_run
    /// # async fn example(
    /// #     authz: formwork_authz::Authz,
    /// #     tx: &mut formwork_tenancy::TenantTx,
    /// # ) -> Result<(), Box<dyn std::error::Error>> {
    /// use formwork_authz::AdoptError;
    ///
    /// match authz.adopt_schema(tx).await {
    ///     Ok(plan) => println!("{plan}"),
    ///     Err(AdoptError::Orphans(plan)) => println!("not yet:\n{plan}"),
    ///     Err(error) => return Err(error.into()),
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`AdoptError::Orphans`] when it has no place for relationships that are stored: delete them, or adopt one that
    /// has. [`AdoptError::Isolation`] at another isolation level than READ COMMITTED, and what
    /// [`plan_schema`](Self::plan_schema) says.
    pub async fn adopt_schema(&self, tx: &mut TenantTx) -> Result<SchemaPlan, AdoptError> {
        let text = self.schema().stored_text()?;
        lock::hold_storing(tx).await?;
        if !lock::sees_the_newest(tx).await? {
            return Err(AdoptError::Isolation);
        }
        let plan = self.plan_schema(tx).await?;
        if !plan.orphans().is_empty() {
            return Err(AdoptError::Orphans(Box::new(plan)));
        }
        if !plan.is_adopted() {
            store(tx, &text, self.schema(), &plan.id).await?;
        }
        Ok(plan)
    }
}

async fn store(
    tx: &mut TenantTx,
    text: &StoredText,
    schema: &Schema,
    id: &SchemaId,
) -> Result<(), AdoptError> {
    sqlx::query(
        "insert into permission_schemas (digest, language, source, places) values ($1, $2, $3, $4)
         on conflict (tenant_id, digest) do nothing",
    )
    .bind(id.as_bytes())
    .bind(text.language)
    .bind(&text.source)
    .bind(schema.places())
    .execute(&mut **tx)
    .await?;
    sqlx::query(
        "insert into permission_schema_versions (version, digest)
         select coalesce(max(version), 0) + 1, $1 from permission_schema_versions",
    )
    .bind(id.as_bytes())
    .execute(&mut **tx)
    .await?;
    tx.wake_followers();
    Ok(())
}
