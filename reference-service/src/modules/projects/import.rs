//! Imported projects: a batch is one transaction, a row is written when its content is new.

use std::collections::{HashMap, HashSet};

use formwork_audit::{AuditError, Event};
use formwork_authz::{Relationship, RequireError, WriteError};
use formwork_tenancy::{Evidence, StorageError, TenantTx};
use serde_json::json;
use sqlx::{Arguments, error::BoxDynError, postgres::PgArguments};
use uuid::Uuid;

use super::{object, organization, relationships};
use crate::{app::App, import::PermitRow};

/// Rows of one file, to be applied together.
#[derive(Debug)]
pub struct Batch<'a> {
    /// Where they come from: the mapping's name.
    pub origin: &'a str,
    /// The rows; no key twice.
    pub rows: &'a [PermitRow],
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Applied {
    /// Projects that were made.
    pub created: u64,
    /// Projects that were changed.
    pub updated: u64,
    /// Projects that say the same already.
    pub unchanged: u64,
    /// Projects that were removed here; they stay removed.
    pub removed: u64,
}

impl Applied {
    /// Was anything written?
    pub fn wrote(&self) -> bool {
        self.created + self.updated > 0
    }
}

/// A batch could not be applied; nothing of it is stored once its transaction is dropped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// The actor may not do it, or that could not be decided.
    #[error(transparent)]
    Require(#[from] RequireError),
    /// The actor may not change a project that the file would change.
    #[error(
        "line {line} changes project `{id}`, which the one who acts may not edit: name another one with --as"
    )]
    MayNotEdit {
        /// The project.
        id: Uuid,
        /// The row.
        line: u64,
    },
    /// The permission tuples could not be written.
    #[error("the projects' permissions could not be written")]
    Write(#[from] WriteError),
    /// The audit trail could not be written.
    #[error("the import could not be recorded")]
    Audit(#[from] AuditError),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<sqlx::Error> for ApplyError {
    fn from(source: sqlx::Error) -> Self {
        Self::Storage(source.into())
    }
}

/// What is kept of a row that was imported before.
struct Known {
    id: Uuid,
    hash: Vec<u8>,
    removed: bool,
}

/// Applies a batch in the transaction: rows, tuples, one event a project. The actor needs `create_project` on the
/// tenant for new ones and `edit` on those that change.
///
/// # Errors
///
/// [`ApplyError`]; the transaction must then be dropped.
pub async fn apply(app: &App, tx: &mut TenantTx, batch: Batch<'_>) -> Result<Applied, ApplyError> {
    let known = known(tx, &batch).await?;
    let mut applied = Applied::default();
    let (mut new, mut changed) = (Vec::new(), Vec::new());
    for row in batch.rows {
        match known.get(row.key.as_str()) {
            None => new.push((Uuid::now_v7(), row)),
            Some(known) if known.removed => applied.removed += 1,
            Some(known) if known.hash == row.content_hash => applied.unchanged += 1,
            Some(known) => changed.push((known.id, row)),
        }
    }
    if !new.is_empty() {
        create(app, tx, batch.origin, &new).await?;
    }
    if !changed.is_empty() {
        applied.updated = update(app, tx, &changed).await?;
    }
    applied.created = new.len() as u64;
    applied.removed += changed.len() as u64 - applied.updated;
    Ok(applied)
}

async fn known(tx: &mut TenantTx, batch: &Batch<'_>) -> Result<HashMap<String, Known>, ApplyError> {
    let keys: Vec<&str> = batch.rows.iter().map(|row| row.key.as_str()).collect();
    let rows: Vec<(String, Uuid, Vec<u8>, bool)> = sqlx::query_as(
        // A look into the index for each key. Of a table that has just grown the planner knows too little to find
        // that by itself: it would compare every key with every row.
        "select k.key, p.id, p.origin_hash, p.removed
           from unnest($2::text[]) as k (key)
          cross join lateral (select id, origin_hash, deleted_at is not null as removed from projects
                               where origin = $1 and origin_id = k.key limit 1) as p",
    )
    .bind(batch.origin)
    .bind(keys)
    .fetch_all(&mut **tx)
    .await?;
    let keep = |(key, id, hash, removed)| (key, Known { id, hash, removed });
    Ok(rows.into_iter().map(keep).collect())
}

async fn create(
    app: &App,
    tx: &mut TenantTx,
    origin: &str,
    rows: &[(Uuid, &PermitRow)],
) -> Result<(), ApplyError> {
    let tenant = tx.tenant_id();
    let actor = tx.session().actor().clone();
    let grant = app.authz.require(tx, &actor, "create_project", &organization(tenant)).await?;
    sqlx::query_with(
        "insert into projects (id, number, name, address, description, contractor, owner, stage, status, applied_on,
                               issued_on, completed_on, valuation, currency, origin_id, origin_hash, origin,
                               created_by, updated_by)
         select r.*, $17, $18, $18
           from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                       $9::text[], $10::date[], $11::date[], $12::date[], $13::numeric[], $14::text[], $15::text[],
                       $16::bytea[]) as r",
        Columns::of(rows).arguments()?,
    )
    .bind(origin)
    .bind(actor.to_string())
    .execute(&mut **tx)
    .await?;
    let tuples: Vec<Relationship> =
        rows.iter().flat_map(|(id, _)| relationships(*id, tenant, &actor)).collect();
    app.authz.touch_many(tx, &tuples).await?;
    let evidence = grant.evidence();
    let event = |(id, row): &(Uuid, &PermitRow)| {
        Event::new("project.created").target(object(*id)).after(summary(row)).evidence(evidence.clone())
    };
    let events: Vec<Event> = rows.iter().map(event).collect();
    Ok(app.audit.record_many(tx, &events).await?)
}

/// Answers how many were changed: all but those that somebody removed meanwhile.
async fn update(app: &App, tx: &mut TenantTx, rows: &[(Uuid, &PermitRow)]) -> Result<u64, ApplyError> {
    let actor = tx.session().actor().clone();
    let mut grants: Vec<Evidence> = Vec::with_capacity(rows.len());
    for (id, row) in rows {
        match app.authz.require(tx, &actor, "edit", &object(*id)).await {
            Ok(grant) => grants.push(grant.evidence()),
            Err(RequireError::Denied(_)) => return Err(ApplyError::MayNotEdit { id: *id, line: row.line }),
            Err(error) => return Err(error.into()),
        }
    }
    let changed: Vec<Uuid> = sqlx::query_scalar_with(
        "update projects p
            set number = r.number, name = r.name, address = r.address, description = r.description,
                contractor = r.contractor, owner = r.owner, stage = r.stage, status = r.status,
                applied_on = r.applied_on, issued_on = r.issued_on, completed_on = r.completed_on,
                valuation = r.valuation, currency = r.currency, origin_hash = r.hash,
                updated_by = $17, updated_at = now(), version = version + 1
           from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                       $9::text[], $10::date[], $11::date[], $12::date[], $13::numeric[], $14::text[], $15::text[],
                       $16::bytea[])
                as r (id, number, name, address, description, contractor, owner, stage, status, applied_on,
                      issued_on, completed_on, valuation, currency, key, hash)
          where p.id = r.id and p.deleted_at is null
      returning p.id",
        Columns::of(rows).arguments()?,
    )
    .bind(actor.to_string())
    .fetch_all(&mut **tx)
    .await?;
    let changed: HashSet<Uuid> = changed.into_iter().collect();
    let event = |((id, row), grant): (&(Uuid, &PermitRow), Evidence)| {
        Event::new("project.updated").target(object(*id)).after(summary(row)).evidence(grant)
    };
    let written = rows.iter().zip(grants).filter(|((id, _), _)| changed.contains(id));
    let events: Vec<Event> = written.map(event).collect();
    app.audit.record_many(tx, &events).await?;
    Ok(events.len() as u64)
}

fn summary(row: &PermitRow) -> serde_json::Value {
    json!({
        "number": row.number, "name": row.name, "address": row.address, "stage": row.stage.as_str(),
        "issued_on": row.issued_on, "valuation": row.valuation, "currency": row.currency,
        "contractor": row.contractor, "owner": row.owner, "line": row.line,
    })
}

/// Rows, a column at a time, as `unnest` takes them.
struct Columns<'a> {
    ids: Vec<Uuid>,
    numbers: Vec<&'a str>,
    names: Vec<&'a str>,
    addresses: Vec<Option<&'a str>>,
    descriptions: Vec<Option<&'a str>>,
    contractors: Vec<Option<&'a str>>,
    owners: Vec<Option<&'a str>>,
    stages: Vec<&'a str>,
    statuses: Vec<&'a str>,
    applied_on: Vec<Option<chrono::NaiveDate>>,
    issued_on: Vec<Option<chrono::NaiveDate>>,
    completed_on: Vec<Option<chrono::NaiveDate>>,
    valuations: Vec<Option<rust_decimal::Decimal>>,
    currencies: Vec<&'a str>,
    keys: Vec<&'a str>,
    hashes: Vec<&'a [u8]>,
}

impl<'a> Columns<'a> {
    fn of(rows: &'a [(Uuid, &'a PermitRow)]) -> Self {
        let all = || rows.iter().map(|(_, row)| *row);
        Self {
            ids: rows.iter().map(|(id, _)| *id).collect(),
            numbers: all().map(|row| row.number.as_str()).collect(),
            names: all().map(|row| row.name.as_str()).collect(),
            addresses: all().map(|row| row.address.as_deref()).collect(),
            descriptions: all().map(|row| row.description.as_deref()).collect(),
            contractors: all().map(|row| row.contractor.as_deref()).collect(),
            owners: all().map(|row| row.owner.as_deref()).collect(),
            stages: all().map(|row| row.stage.as_str()).collect(),
            statuses: all().map(|row| row.status().as_str()).collect(),
            applied_on: all().map(|row| row.applied_on).collect(),
            issued_on: all().map(|row| row.issued_on).collect(),
            completed_on: all().map(|row| row.completed_on).collect(),
            valuations: all().map(|row| row.valuation).collect(),
            currencies: all().map(|row| row.currency.as_str()).collect(),
            keys: all().map(|row| row.key.as_str()).collect(),
            hashes: all().map(|row| row.content_hash.as_slice()).collect(),
        }
    }

    /// As the parameters `$1` to `$16`, in the order of the fields.
    fn arguments(self) -> Result<PgArguments, sqlx::Error> {
        self.encoded().map_err(sqlx::Error::Encode)
    }

    fn encoded(self) -> Result<PgArguments, BoxDynError> {
        let mut arguments = PgArguments::default();
        arguments.add(self.ids)?;
        arguments.add(self.numbers)?;
        arguments.add(self.names)?;
        arguments.add(self.addresses)?;
        arguments.add(self.descriptions)?;
        arguments.add(self.contractors)?;
        arguments.add(self.owners)?;
        arguments.add(self.stages)?;
        arguments.add(self.statuses)?;
        arguments.add(self.applied_on)?;
        arguments.add(self.issued_on)?;
        arguments.add(self.completed_on)?;
        arguments.add(self.valuations)?;
        arguments.add(self.currencies)?;
        arguments.add(self.keys)?;
        arguments.add(self.hashes)?;
        Ok(arguments)
    }
}
