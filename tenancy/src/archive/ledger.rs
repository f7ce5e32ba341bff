//! The registry's row of a tenant that is being imported, and its line in `platform.tenant_imports`.
//!
//! INVARIANT: while an import is open the tenant is in `provisioning`, so nobody works for it; whatever stands at the
//! place and epoch of its row was put there by that import, and may be removed.

use sqlx::types::Json;
use uuid::Uuid;

use super::{
    ImportError, ImportRefusal,
    format::{Header, TenantRecord},
};
use crate::{
    ControlPlane, HomePlace, Status, TenantId,
    databases::MAIN,
    moves::{
        hands::{Hand, Role},
        undo,
    },
    own_role,
    tenant::is_slug,
};

/// Beyond it no epoch was ever raised by moving.
const HIGHEST_EPOCH: i64 = 1 << 52;

/// Where a tenant is to come to.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) tenant: TenantId,
    pub(super) slug: String,
    pub(super) place: HomePlace,
}

/// An import that is at work.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) id: Uuid,
    pub(super) tenant: TenantId,
    pub(super) schema: String,
    pub(super) epoch: i64,
    pub(super) own_role: bool,
}

/// The identity under which a copy with this name was begun and cut off.
pub(super) async fn copy_begun(
    control: &ControlPlane,
    slug: &str,
    from: TenantId,
) -> Result<Option<TenantId>, ImportError> {
    let found: Option<Uuid> = sqlx::query_scalar(
        "select i.tenant_id from platform.tenant_imports i join platform.tenants t on t.id = i.tenant_id
          where i.outcome = 'open' and i.from_tenant = $2 and i.from_tenant <> i.tenant_id and t.slug = $1",
    )
    .bind(slug)
    .bind(from.as_uuid())
    .fetch_optional(&control.pool)
    .await?;
    Ok(found.map(TenantId::from))
}

/// Enters an import, when nothing is in its way. What an earlier one has left is removed before.
pub(super) async fn begin(
    control: &ControlPlane,
    main: &mut Hand,
    plan: &Plan,
    header: &Header,
) -> Result<Entry, ImportError> {
    check(main, plan, &header.tenant).await?;
    undo_open(control, main, plan.tenant, "begun again").await?;
    main.run("begin").await?;
    let there: Option<(String, i64, serde_json::Value)> =
        sqlx::query_as("select status, epoch, to_jsonb(t) from platform.tenants t where id = $1 for update")
            .bind(plan.tenant.as_uuid())
            .fetch_optional(&mut main.conn)
            .await?;
    let (epoch, replaced) = match there {
        None => (0, None),
        Some((status, epoch, row)) => {
            let status: Status =
                status.parse().map_err(|error: crate::UnknownName| sqlx::Error::Decode(error.into()))?;
            if status != Status::Deleted {
                return Err(ImportRefusal::Exists { tenant: plan.tenant, status }.into());
            }
            (epoch, Some(row))
        }
    };
    let of_archive = if plan.tenant == header.tenant.id() { header.tenant.epoch } else { 0 };
    let entry = Entry {
        id: Uuid::now_v7(),
        tenant: plan.tenant,
        schema: plan.place.schema_of(plan.tenant),
        epoch: epoch.max(of_archive) + 1,
        own_role: header.tenant.own_role && plan.place == HomePlace::schema(),
    };
    // First the line: a deleted tenant comes back by an open import alone.
    sqlx::query(
        "insert into platform.tenant_imports (id, tenant_id, from_tenant, replaced) values ($1, $2, $3, $4)",
    )
    .bind(entry.id)
    .bind(entry.tenant.as_uuid())
    .bind(header.tenant.id)
    .bind(replaced)
    .execute(&mut main.conn)
    .await?;
    say_which(main, entry.id).await?;
    enter(control, main, plan, &entry, &header.tenant).await?;
    main.commit().await?;
    Ok(entry)
}

/// The transaction is this import's. The registry lets no other one change the tenant while its line is open.
pub(super) async fn say_which(main: &mut Hand, id: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query("select set_config('app.import', $1, true)")
        .bind(id.to_string())
        .execute(&mut main.conn)
        .await?;
    Ok(())
}

/// Was it done, whatever its last answer was?
pub(super) async fn is_done(control: &ControlPlane, entry: &Entry) -> Result<bool, ImportError> {
    let done: Option<bool> =
        sqlx::query_scalar("select outcome = 'done' from platform.tenant_imports where id = $1")
            .bind(entry.id)
            .fetch_optional(&control.pool)
            .await?;
    Ok(done.unwrap_or(false))
}

/// What the registry's own checks do not say, or not so clearly.
async fn check(main: &mut Hand, plan: &Plan, record: &TenantRecord) -> Result<(), ImportError> {
    let refuse = |why: String| Err(ImportRefusal::Record { why }.into());
    if !is_slug(&plan.slug) {
        return refuse(format!("`{}` is no slug", plan.slug));
    }
    if !(1..=HIGHEST_EPOCH).contains(&record.epoch) {
        return refuse(format!("{} is no epoch", record.epoch));
    }
    if !matches!(record.status, Status::Active | Status::Suspended | Status::Archived) {
        return refuse(format!("it was {} when it was exported", record.status));
    }
    let zone = sqlx::query("select now() at time zone $1").bind(&record.time_zone);
    if let Err(error) = zone.execute(&mut main.conn).await {
        return match error.as_database_error() {
            Some(_) => refuse(format!("`{}` is no time zone", record.time_zone)),
            None => Err(error.into()),
        };
    }
    Ok(())
}

async fn enter(
    control: &ControlPlane,
    main: &mut Hand,
    plan: &Plan,
    entry: &Entry,
    record: &TenantRecord,
) -> Result<(), ImportError> {
    let region = control.region_in(&mut main.conn, plan.place.database_name()).await;
    let region = region.map_err(|error| ImportRefusal::Record { why: error.to_string() })?;
    if let Some(allowed) = record.residency.as_ref().filter(|allowed| !allowed.contains(&region)) {
        let allowed = allowed.join(", ");
        let why = format!("its data may lie in {allowed} and nowhere else, and this place is in {region}");
        return Err(ImportRefusal::Record { why }.into());
    }
    let done = sqlx::query(
        "insert into platform.tenants as t (id, slug, name, status, isolation, database_name, schema_name, epoch,
                                            region, plan, default_currency, time_zone, own_role, residency)
         values ($1, $2, $3, 'provisioning', $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
         on conflict (id) do update
            set slug = excluded.slug, name = excluded.name, status = excluded.status, isolation = excluded.isolation,
                database_name = excluded.database_name, schema_name = excluded.schema_name, epoch = excluded.epoch,
                region = excluded.region, plan = excluded.plan, default_currency = excluded.default_currency,
                time_zone = excluded.time_zone, own_role = excluded.own_role,
                residency = excluded.residency, version = t.version + 1",
    )
    .bind(entry.tenant.as_uuid())
    .bind(&plan.slug)
    .bind(&record.name)
    .bind(plan.place.isolation().as_str())
    .bind(plan.place.database_name())
    .bind(&entry.schema)
    .bind(entry.epoch)
    .bind(region)
    .bind(&record.plan)
    .bind(&record.default_currency)
    .bind(&record.time_zone)
    .bind(entry.own_role)
    .bind(&record.residency)
    .execute(&mut main.conn)
    .await;
    match done {
        Ok(_) => Ok(()),
        Err(error) => match error.as_database_error() {
            Some(said) if said.is_unique_violation() => {
                Err(ImportRefusal::SlugTaken { slug: plan.slug.clone() }.into())
            }
            Some(said) if said.is_check_violation() => {
                Err(ImportRefusal::Record { why: said.message().to_owned() }.into())
            }
            _ => Err(error.into()),
        },
    }
}

/// Opens the tenant, in the control plane's transaction; its status is the archive's.
pub(super) async fn finish(
    main: &mut Hand,
    entry: &Entry,
    status: Status,
    manifest: &super::Manifest,
) -> Result<(), ImportError> {
    let opened = sqlx::query(
        "update platform.tenants set status = $2, version = version + 1
          where id = $1 and status = 'provisioning' and epoch = $3",
    )
    .bind(entry.tenant.as_uuid())
    .bind(status.as_str())
    .bind(entry.epoch)
    .execute(&mut main.conn)
    .await?;
    let closed = sqlx::query(
        "update platform.tenant_imports set outcome = 'done', ended_at = now(), sections = $2, sha256 = $3
          where id = $1 and outcome = 'open'",
    )
    .bind(entry.id)
    .bind(Json(manifest.sections()))
    .bind(manifest.sha256())
    .execute(&mut main.conn)
    .await?;
    if (opened.rows_affected(), closed.rows_affected()) != (1, 1) {
        return Err(ImportError::Disturbed);
    }
    main.commit().await?;
    Ok(())
}

/// Undoes what is open; was anything?
pub(super) async fn undo(
    control: &ControlPlane,
    tenant: TenantId,
    reason: &str,
) -> Result<bool, ImportError> {
    let mut main = Hand::open(control, Role::Main, MAIN, tenant).await?;
    undo_open(control, &mut main, tenant, reason).await
}

async fn undo_open(
    control: &ControlPlane,
    main: &mut Hand,
    tenant: TenantId,
    reason: &str,
) -> Result<bool, ImportError> {
    let open: Option<(Uuid, String, String, i64, bool)> = sqlx::query_as(
        "select i.id, t.database_name, t.schema_name, t.epoch, t.own_role
           from platform.tenant_imports i join platform.tenants t on t.id = i.tenant_id
          where i.tenant_id = $1 and i.outcome = 'open' and t.status = 'provisioning'",
    )
    .bind(tenant.as_uuid())
    .fetch_optional(&mut main.conn)
    .await?;
    let Some((id, database, schema, epoch, own_role)) = open else { return Ok(false) };
    let mut target = Hand::open(control, Role::Target, &database, tenant).await?;
    sqlx::query(
        "update platform.homes set state = 'coming' where tenant_id = $1 and epoch = $2 and state = 'live'",
    )
    .bind(tenant.as_uuid())
    .bind(epoch)
    .execute(&mut target.conn)
    .await?;
    undo::remove(&mut target, tenant, &schema, epoch, undo::Leaves::Nothing).await?;
    if own_role {
        // It held nothing but rights in the schema that is gone.
        target.run(&format!("drop role if exists {}", own_role::name(tenant))).await?;
    }
    put_back(main, id, tenant, reason).await?;
    Ok(true)
}

/// The registry says again what it said before; only the epoch stays raised.
async fn put_back(main: &mut Hand, id: Uuid, tenant: TenantId, reason: &str) -> Result<(), ImportError> {
    main.run("begin").await?;
    say_which(main, id).await?;
    sqlx::query(
        "update platform.tenants t
            set slug = r.slug, name = r.name, status = r.status, isolation = r.isolation,
                database_name = r.database_name, schema_name = r.schema_name, region = r.region, plan = r.plan,
                default_currency = r.default_currency, time_zone = r.time_zone, own_role = r.own_role,
                residency = r.residency,
                version = t.version + 1
           from platform.tenant_imports i cross join lateral jsonb_populate_record(null::platform.tenants, i.replaced) r
          where t.id = $1 and i.id = $2 and i.replaced is not null",
    )
    .bind(tenant.as_uuid())
    .bind(id)
    .execute(&mut main.conn)
    .await?;
    sqlx::query(
        "delete from platform.tenants t using platform.tenant_imports i
          where t.id = $1 and i.id = $2 and i.replaced is null and t.status = 'provisioning'",
    )
    .bind(tenant.as_uuid())
    .bind(id)
    .execute(&mut main.conn)
    .await?;
    sqlx::query(
        "update platform.tenant_imports set outcome = 'undone', ended_at = now(), reason = $2 where id = $1",
    )
    .bind(id)
    .bind(reason)
    .execute(&mut main.conn)
    .await?;
    main.commit().await?;
    Ok(())
}
