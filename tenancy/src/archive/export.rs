//! One tenant into an archive, from one snapshot of its home, while it is written.

use futures::StreamExt;
use sqlx::FromRow;
use tokio::io::AsyncWrite;
use uuid::Uuid;

use super::{
    ArchiveEvent, ExportError, ExportOptions, Manifest,
    format::{AppliedStep, Column, FORMAT, Header, SectionHead, TenantRecord, VERSION, hex},
    people,
    select::{Identities, copy_out},
    write::Writer,
};
use crate::{
    ControlPlane, Status, TenantId,
    control_plane::SHARED,
    databases::MAIN,
    moves::{
        hands::{Hand, Role},
        steps, tables,
    },
};

type Progress<'a> = &'a (dyn Fn(ArchiveEvent<'_>) + Send + Sync);

/// How often rows are told of.
const TELL_EVERY: u64 = 1024;

const SNAPSHOT: &str = "isolation level repeatable read read only";

pub(super) async fn export<W: AsyncWrite + Unpin + Send>(
    control: &ControlPlane,
    tenant: TenantId,
    options: ExportOptions,
    into: W,
    progress: Progress<'_>,
) -> Result<Manifest, ExportError> {
    let mut main = Hand::open(control, Role::Reader, MAIN, tenant).await?;
    let entry = Entry::read(&mut main, tenant).await?;
    let mut home = Hand::open(control, Role::Reader, &entry.database_name, tenant).await?;
    home.begin_in(&entry.schema_name, SNAPSHOT).await?;
    let exported_at = is_home_here(&mut home, &entry).await?;
    let tables = tables::of_home(&mut home, &entry.schema_name).await?;
    hold(&mut home, &entry.schema_name, &tables).await?;
    let migrations = migrations(&mut home, &entry.schema_name).await?;
    main.run(&format!("begin {SNAPSHOT}")).await?;

    let mut sections: Vec<_> = tables.iter().map(head).collect();
    sections.extend(people::heads());
    let total = sections.len();
    let record = entry.record()?;
    let header = Header {
        format: FORMAT.to_owned(),
        version: VERSION,
        exported_at,
        tenant: record,
        migrations,
        sections,
    };
    let mut writer = Writer::begin(into, &header).await?;
    for (done, table) in tables.iter().enumerate() {
        progress(ArchiveEvent::Section { name: &table.name, done, total });
        let select = Identities::same(tenant).into_archive(table, &entry.schema_name);
        section(&mut writer, &mut home, &table.name, &select, progress).await?;
    }
    for (done, (name, select)) in people::selects(tenant, options.password_hashes).iter().enumerate() {
        progress(ArchiveEvent::Section { name, done: tables.len() + done, total });
        section(&mut writer, &mut main, name, select, progress).await?;
    }
    home.commit().await?;
    main.commit().await?;
    let end = writer.end().await?;
    Ok(Manifest::new(header, end))
}

async fn section<W: AsyncWrite + Unpin>(
    writer: &mut Writer<W>,
    hand: &mut Hand,
    name: &str,
    select: &str,
    progress: Progress<'_>,
) -> Result<(), ExportError> {
    writer.begin_section(name).await?;
    let mut rows = hand.conn.copy_out_raw(&copy_out(select)).await?;
    while let Some(row) = rows.next().await {
        writer.row(&row?).await?;
        if writer.rows().is_multiple_of(TELL_EVERY) {
            progress(ArchiveEvent::Rows { rows: writer.rows(), bytes: writer.bytes() });
        }
    }
    progress(ArchiveEvent::Rows { rows: writer.rows(), bytes: writer.bytes() });
    writer.end_section(name).await
}

/// The registry's row.
#[derive(Debug, FromRow)]
struct Entry {
    id: Uuid,
    slug: String,
    name: String,
    status: String,
    isolation: String,
    database_name: String,
    schema_name: String,
    epoch: i64,
    region: String,
    residency: Option<Vec<String>>,
    plan: String,
    default_currency: String,
    time_zone: String,
    own_role: bool,
}

impl Entry {
    async fn read(main: &mut Hand, tenant: TenantId) -> Result<Self, ExportError> {
        let found: Option<Self> = sqlx::query_as(
            "select id, slug, name, status, isolation, database_name, schema_name, epoch, region, residency, plan,
                    default_currency, time_zone, own_role
               from platform.tenants where id = $1",
        )
        .bind(tenant.as_uuid())
        .fetch_optional(&mut main.conn)
        .await?;
        let entry = found.ok_or(ExportError::UnknownTenant { tenant })?;
        match entry.record()?.status {
            Status::Active | Status::Suspended | Status::Archived => Ok(entry),
            status => Err(ExportError::NotExportable { status }),
        }
    }

    fn record(&self) -> Result<TenantRecord, ExportError> {
        let decode = |error: crate::UnknownName| sqlx::Error::Decode(error.into());
        Ok(TenantRecord {
            id: self.id,
            slug: self.slug.clone(),
            name: self.name.clone(),
            status: self.status.parse().map_err(decode)?,
            isolation: self.isolation.parse().map_err(decode)?,
            database: self.database_name.clone(),
            own_schema: self.schema_name != SHARED,
            own_role: self.own_role,
            epoch: self.epoch,
            region: self.region.clone(),
            residency: self.residency.clone(),
            plan: self.plan.clone(),
            default_currency: self.default_currency.clone(),
            time_zone: self.time_zone.clone(),
        })
    }
}

/// The first question in the snapshot: does the tenant live where the registry said? It answers with the time.
async fn is_home_here(home: &mut Hand, entry: &Entry) -> Result<chrono::DateTime<chrono::Utc>, ExportError> {
    let at = sqlx::query_scalar(
        "select now() from platform.homes
          where tenant_id = $1 and epoch = $2 and schema_name = $3 and state in ('live', 'frozen')",
    )
    .bind(entry.id)
    .bind(entry.epoch)
    .bind(&entry.schema_name)
    .fetch_optional(&mut home.conn)
    .await?;
    at.ok_or(ExportError::Moved)
}

/// So that the home is not dropped meanwhile; nobody who reads or writes notices.
async fn hold(home: &mut Hand, schema: &str, tables: &[tables::Table]) -> Result<(), ExportError> {
    let names: Vec<_> = tables.iter().map(|table| format!("{schema}.{}", table.name)).collect();
    if !names.is_empty() {
        home.run(&format!("lock table {} in access share mode", names.join(", "))).await?;
    }
    Ok(())
}

pub(super) async fn migrations(hand: &mut Hand, schema: &str) -> Result<Vec<AppliedStep>, sqlx::Error> {
    let applied = steps::migrations(hand, schema).await?;
    let step = |(set, version, checksum)| AppliedStep { set, version, sha256: hex(checksum) };
    Ok(applied.into_iter().map(step).collect())
}

pub(super) fn head(table: &tables::Table) -> SectionHead {
    let columns = table.columns.iter().zip(&table.types);
    let column =
        |(name, type_name): (&String, &String)| Column { name: name.clone(), type_name: type_name.clone() };
    SectionHead { name: table.name.clone(), columns: columns.map(column).collect() }
}
