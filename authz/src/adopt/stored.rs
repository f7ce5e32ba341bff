//! The schemas that a tenant has adopted.

use chrono::{DateTime, Utc};
use formwork_tenancy::{StorageError, TenantTx};
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::AdoptError;
use crate::authz::Authz;
use crate::schema::{Schema, SchemaId};

/// That a tenant has adopted a schema. Going back to an earlier one is a new version of the same id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaVersion {
    version: i32,
    id: SchemaId,
    adopted_at: DateTime<Utc>,
}

impl SchemaVersion {
    /// Counted from 1, for each tenant.
    pub fn version(&self) -> i32 {
        self.version
    }

    /// Which schema.
    pub fn id(&self) -> SchemaId {
        self.id
    }

    /// When.
    pub fn adopted_at(&self) -> DateTime<Utc> {
        self.adopted_at
    }
}

/// A schema as a tenant has it stored.
#[derive(Debug)]
pub struct StoredSchema {
    version: SchemaVersion,
    schema: Schema,
}

impl StoredSchema {
    /// Which one, and since when.
    pub fn version(&self) -> &SchemaVersion {
        &self.version
    }

    /// Compiled from what is stored.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The schema, given away.
    pub fn into_schema(self) -> Schema {
        self.schema
    }
}

impl Authz {
    /// The schemas that the tenant has adopted, the newest first: a program asks here whether its own is among them.
    ///
    /// # Errors
    ///
    /// [`StorageError`] when the database failed.
    pub async fn schema_versions(&self, tx: &mut TenantTx) -> Result<Vec<SchemaVersion>, StorageError> {
        const VERSIONS: &str =
            "select version, digest, adopted_at from permission_schema_versions order by version desc";
        let rows = sqlx::query(VERSIONS).fetch_all(&mut **tx).await?;
        Ok(rows.iter().map(version).collect::<Result<_, _>>()?)
    }

    /// The tenant's newest schema; none when it has adopted none.
    ///
    /// # Errors
    ///
    /// [`AdoptError::Unreadable`] and [`AdoptError::Storage`].
    pub async fn newest_schema(&self, tx: &mut TenantTx) -> Result<Option<StoredSchema>, AdoptError> {
        self.stored(tx, None).await
    }

    /// A schema that the tenant has adopted at some time, with its last version.
    ///
    /// # Errors
    ///
    /// As [`newest_schema`](Self::newest_schema).
    pub async fn stored_schema(
        &self,
        tx: &mut TenantTx,
        id: SchemaId,
    ) -> Result<Option<StoredSchema>, AdoptError> {
        self.stored(tx, Some(id)).await
    }

    async fn stored(
        &self,
        tx: &mut TenantTx,
        id: Option<SchemaId>,
    ) -> Result<Option<StoredSchema>, AdoptError> {
        const STORED: &str = "
            select v.version, v.digest, v.adopted_at, s.language, s.source
              from permission_schema_versions v
              join permission_schemas s on s.tenant_id = v.tenant_id and s.digest = v.digest
             where $1::bytea is null or v.digest = $1
             order by v.version desc
             limit 1";
        let id = id.map(|id| id.as_bytes().to_vec());
        let Some(row) = sqlx::query(STORED).bind(id).fetch_optional(&mut **tx).await? else {
            return Ok(None);
        };
        let version = version(&row)?;
        let schema = Schema::from_stored(row.try_get("language")?, row.try_get("source")?)
            .map_err(|error| AdoptError::Unreadable { version: version.version, source: Box::new(error) })?;
        Ok(Some(StoredSchema { version, schema }))
    }
}

fn version(row: &PgRow) -> Result<SchemaVersion, sqlx::Error> {
    let id = SchemaId::from_bytes(row.try_get("digest")?)
        .ok_or_else(|| sqlx::Error::Decode("a digest has 32 bytes".into()))?;
    Ok(SchemaVersion { version: row.try_get("version")?, id, adopted_at: row.try_get("adopted_at")? })
}
