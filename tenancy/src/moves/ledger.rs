//! `platform.tenant_moves`: how far a move has come.

use std::{fmt, time::Duration};

use sqlx::{FromRow, PgPool, types::Json};
use uuid::Uuid;

use super::{MoveError, MoveFault, MoveRefusal, MoveReport, MovedTable, hands::Hand};
use crate::{HomePlace, Status, TenantId, control_plane::SHARED};

macro_rules! steps {
    ($($variant:ident $text:literal $doc:literal),+ $(,)?) => {
        /// How far a move has come.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum MoveStep {
            $(#[doc = $doc] $variant),+
        }

        impl MoveStep {
            /// As the ledger has it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

steps! {
    Begun "begun" "It is entered.",
    Prepared "prepared" "The new home is there, empty.",
    Frozen "frozen" "The old home is no longer written.",
    Copied "copied" "Every row is in both.",
    Verified "verified" "They are the same.",
    Flipped "flipped" "The registry names the new home: there is no way back.",
    Released "released" "The new home is written.",
    Finished "finished" "The old home is removed.",
    Aborting "aborting" "It is being undone.",
    Aborted "aborted" "It was undone.",
}

impl fmt::Display for MoveStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl MoveStep {
    pub(super) fn remedy(self) -> &'static str {
        match self {
            Self::Released => "finish it first",
            Self::Aborting => "abort it once more",
            Self::Flipped => "resume it",
            _ => "resume or abort it",
        }
    }
}

/// A move that is not done with, as an operator sees it.
#[derive(Debug, Clone)]
pub struct OpenMove {
    entry: Move,
}

impl OpenMove {
    /// How far it has come.
    pub fn step(&self) -> MoveStep {
        self.entry.step
    }

    /// The old home, as `database/schema`.
    pub fn from(&self) -> String {
        self.entry.from()
    }

    /// The new home, as `database/schema`.
    pub fn to(&self) -> String {
        self.entry.to()
    }
}

/// Status, database, schema, epoch, whether it has a role of its own, and the regions that it may lie in.
type Lives = (String, String, String, i64, bool, Option<Vec<String>>);

/// One line of the ledger.
#[derive(Debug, Clone)]
pub(super) struct Move {
    pub(super) id: Uuid,
    pub(super) tenant: TenantId,
    pub(super) from_database: String,
    pub(super) from_schema: String,
    pub(super) from_epoch: i64,
    pub(super) to_database: String,
    pub(super) to_schema: String,
    pub(super) to_epoch: i64,
    pub(super) to_region: String,
    pub(super) step: MoveStep,
}

impl FromRow<'_, sqlx::postgres::PgRow> for Move {
    fn from_row(row: &sqlx::postgres::PgRow) -> Result<Self, sqlx::Error> {
        use sqlx::Row;
        let step: &str = row.try_get("step")?;
        let unknown = || sqlx::Error::Decode(format!("`{step}` is no step of a move").into());
        Ok(Self {
            id: row.try_get("id")?,
            tenant: row.try_get::<Uuid, _>("tenant_id")?.into(),
            from_database: row.try_get("from_database")?,
            from_schema: row.try_get("from_schema")?,
            from_epoch: row.try_get("from_epoch")?,
            to_database: row.try_get("to_database")?,
            to_schema: row.try_get("to_schema")?,
            to_epoch: row.try_get("to_epoch")?,
            to_region: row.try_get("to_region")?,
            step: MoveStep::parse(step).ok_or_else(unknown)?,
        })
    }
}

const OPEN: &str =
    "select * from platform.tenant_moves where tenant_id = $1 and step not in ('finished', 'aborted')";

pub(super) async fn look(pool: &PgPool, tenant: TenantId) -> Result<Option<OpenMove>, MoveError> {
    let found: Option<Move> = sqlx::query_as(OPEN).bind(tenant.as_uuid()).fetch_optional(pool).await?;
    Ok(found.map(|entry| OpenMove { entry }))
}

impl Move {
    /// Enters a new one.
    pub(super) async fn begin(
        main: &mut Hand,
        tenant: TenantId,
        to: &HomePlace,
        region: &str,
    ) -> Result<Self, MoveError> {
        let found: Option<Lives> = sqlx::query_as(
            "select status, database_name, schema_name, epoch, own_role, residency
               from platform.tenants where id = $1",
        )
        .bind(tenant.as_uuid())
        .fetch_optional(&mut main.conn)
        .await?;
        let (status, database, schema, epoch, own_role, residency) =
            found.ok_or(MoveRefusal::UnknownTenant { tenant })?;
        if let Some(allowed) = residency.filter(|allowed| !allowed.iter().any(|name| name == region)) {
            return Err(MoveRefusal::Residency { region: region.to_owned(), allowed }.into());
        }
        if own_role {
            return Err(MoveRefusal::OwnRole.into());
        }
        if let Ok(status @ (Status::Provisioning | Status::Deleting | Status::Deleted)) = status.parse() {
            return Err(MoveRefusal::NotMovable { status }.into());
        }
        if let Some(open) = Self::open(main, tenant).await? {
            return Err(MoveRefusal::Open { step: open.step }.into());
        }
        if database == to.database_name() && (schema != SHARED) == to.has_own_schema() {
            return Err(MoveRefusal::AlreadyThere.into());
        }
        Ok(sqlx::query_as(
            "insert into platform.tenant_moves (id, tenant_id, from_database, from_schema, from_epoch,
                                                to_database, to_schema, to_epoch, to_region)
             values ($1, $2, $3, $4, $5, $6, $7, $5 + 1, $8) returning *",
        )
        .bind(Uuid::now_v7())
        .bind(tenant.as_uuid())
        .bind(database)
        .bind(schema)
        .bind(epoch)
        .bind(to.database_name())
        .bind(to.schema_of(tenant))
        .bind(region)
        .fetch_one(&mut main.conn)
        .await?)
    }

    pub(super) async fn open(main: &mut Hand, tenant: TenantId) -> Result<Option<Self>, sqlx::Error> {
        sqlx::query_as(OPEN).bind(tenant.as_uuid()).fetch_optional(&mut main.conn).await
    }

    pub(super) fn from(&self) -> String {
        format!("{}/{}", self.from_database, self.from_schema)
    }

    pub(super) fn to(&self) -> String {
        format!("{}/{}", self.to_database, self.to_schema)
    }

    pub(super) fn is_within_one_database(&self) -> bool {
        self.from_database == self.to_database
    }

    /// Enters that a step is done.
    pub(super) async fn reach(&mut self, main: &mut Hand, step: MoveStep) -> Result<(), MoveFault> {
        sqlx::query(
            "update platform.tenant_moves
                set step = $2, changed_at = now(),
                    frozen_at = case when $2 = 'frozen' then now() else frozen_at end
              where id = $1",
        )
        .bind(self.id)
        .bind(step.as_str())
        .execute(&mut main.conn)
        .await?;
        self.step = step;
        Ok(())
    }

    pub(super) async fn keep_reason(&self, main: &mut Hand, reason: &str) -> Result<(), sqlx::Error> {
        sqlx::query("update platform.tenant_moves set reason = coalesce(reason, $2) where id = $1")
            .bind(self.id)
            .bind(reason)
            .execute(&mut main.conn)
            .await?;
        Ok(())
    }

    pub(super) async fn keep_tables(
        &self,
        main: &mut Hand,
        tables: &[MovedTable],
    ) -> Result<(), sqlx::Error> {
        sqlx::query("update platform.tenant_moves set tables = $2 where id = $1")
            .bind(self.id)
            .bind(Json(tables))
            .execute(&mut main.conn)
            .await?;
        Ok(())
    }

    /// What it did, by the ledger, which outlives whoever began it.
    pub(super) async fn report(&self, main: &mut Hand) -> Result<MoveReport, sqlx::Error> {
        let (Json(tables), frozen): (Json<Vec<MovedTable>>, f64) = sqlx::query_as(
            "select tables, coalesce(extract(epoch from changed_at - frozen_at), 0)::float8
               from platform.tenant_moves where id = $1",
        )
        .bind(self.id)
        .fetch_one(&mut main.conn)
        .await?;
        let frozen = Duration::try_from_secs_f64(frozen).unwrap_or_default();
        Ok(MoveReport { from: self.from(), to: self.to(), tables, frozen })
    }
}
