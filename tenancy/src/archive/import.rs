//! An archive into a home, one pass over its bytes.
//!
//! The registry's row comes first, in `provisioning`, so that name and identity are held; then an empty home; then one
//! transaction in it with every row, committed only when each checksum was compared and the rows, exported again, are
//! the archive's bytes; last the registry's row and the control plane's part, in one transaction.

use std::collections::BTreeMap;

use tokio::io::AsyncRead;

use super::{
    ArchiveError, ArchiveEvent, ImportError, ImportOptions, ImportRefusal, ImportReport, ImportStep,
    Manifest, export,
    format::{AppliedStep, Header, SectionHead},
    ledger::{self, Entry, Plan},
    load, people,
    read::Reader,
    select::Identities,
};
use crate::{
    ControlPlane, TenantId,
    control_plane::beside_migrations,
    databases::MAIN,
    moves::{
        hands::{Hand, Role},
        tables::{self, Table},
    },
    own_role,
};

type Progress<'a> = &'a (dyn Fn(ArchiveEvent<'_>) + Send + Sync);

pub(super) async fn import<R: AsyncRead + Unpin + Send>(
    control: &ControlPlane,
    from: R,
    options: &ImportOptions,
    progress: Progress<'_>,
) -> Result<ImportReport, ImportError> {
    let (reader, header) = Reader::begin(from).await?;
    let plan = plan(control, &header, options).await?;
    let mut main = Hand::open(control, Role::Main, MAIN, plan.tenant).await?;
    let entry = ledger::begin(control, &mut main, &plan, &header).await?;
    let attempt = Attempt { control, plan, entry, header, options, progress };
    let (source, report) = match attempt.store(&mut main, reader).await {
        Err(source) => (source, None),
        Ok(manifest) => {
            let report = attempt.report(manifest);
            match attempt.finish(&mut main, &report).await {
                Ok(()) => return Ok(report),
                Err(source) => (source, Some(report)),
            }
        }
    };
    // Whether its last commit was done, if that was on its way, is known when this connection is gone.
    drop(main);
    match (ledger::undo(control, attempt.plan.tenant, &source.to_string()).await, report) {
        (Ok(false), Some(report)) if ledger::is_done(control, &attempt.entry).await? => Ok(report),
        (Ok(_), _) => Err(source),
        (Err(error), _) => {
            tracing::warn!(%error, tenant = %attempt.plan.tenant, "a failed import could not be undone");
            Err(ImportError::Interrupted { source: Box::new(source) })
        }
    }
}

async fn plan(control: &ControlPlane, header: &Header, options: &ImportOptions) -> Result<Plan, ImportError> {
    let record = &header.tenant;
    let slug = options.slug.clone().unwrap_or_else(|| record.slug.clone());
    let place = options.place.clone().unwrap_or_else(|| record.place());
    control.pool_of(place.database_name()).map_err(ImportRefusal::UnknownDatabase)?;
    let tenant = if options.is_copy {
        let begun = ledger::copy_begun(control, &slug, record.id()).await?;
        begun.unwrap_or_else(TenantId::generate)
    } else {
        record.id()
    };
    Ok(Plan { tenant, slug, place })
}

/// One import that has been entered.
struct Attempt<'a> {
    control: &'a ControlPlane,
    plan: Plan,
    entry: Entry,
    header: Header,
    options: &'a ImportOptions,
    progress: Progress<'a>,
}

impl Attempt<'_> {
    fn reached(&self, step: ImportStep) {
        (self.progress)(ArchiveEvent::Reached { step });
    }

    /// Everything but the last step.
    async fn store<R: AsyncRead + Unpin>(
        &self,
        main: &mut Hand,
        mut reader: Reader<R>,
    ) -> Result<Manifest, ImportError> {
        self.reached(ImportStep::Begun);
        let database = self.plan.place.database_name();
        let mut target = Hand::open(self.control, Role::Target, database, self.entry.tenant).await?;
        self.prepare(&mut target).await?;
        self.reached(ImportStep::Prepared);

        let schema = &self.entry.schema;
        target.begin_in(schema, "").await?;
        target.run("set constraints all deferred").await?;
        let tables = tables::of_home(&mut target, schema).await?;
        let pairs = pairs(&self.header.sections, &tables)?;
        let identities = Identities { archive: self.header.tenant.id(), here: self.entry.tenant };
        let total = self.header.sections.len();
        let sections =
            load::load(&mut target, schema, &mut reader, &pairs, identities, total, self.progress).await?;
        main.run("begin").await?;
        ledger::say_which(main, self.entry.id).await?;
        people::take(main, &mut reader, self.entry.tenant, self.options, self.progress).await?;
        self.reached(ImportStep::Loaded);

        let end = reader.end().await?;
        load::compare(&mut target, schema, &pairs, &sections, identities).await?;
        let manifest = Manifest::new(self.header.clone(), end);
        self.reached(ImportStep::Verified);

        target.commit().await?;
        open(&mut target, &self.entry).await?;
        self.reached(ImportStep::Stored);

        Ok(manifest)
    }

    async fn finish(&self, main: &mut Hand, report: &ImportReport) -> Result<(), ImportError> {
        ledger::finish(main, &self.entry, self.header.tenant.status, report.manifest()).await?;
        self.reached(ImportStep::Done);
        Ok(())
    }

    fn report(&self, manifest: Manifest) -> ImportReport {
        let Plan { tenant, slug, place } = self.plan.clone();
        ImportReport { tenant, slug, place, epoch: self.entry.epoch, manifest }
    }

    /// The home: there, empty, and at the archive's version.
    async fn prepare(&self, target: &mut Hand) -> Result<(), ImportError> {
        let Entry { tenant, schema, epoch, own_role, .. } = &self.entry;
        target.run(&beside_migrations()).await?;
        if *own_role {
            own_role::check(&mut target.conn).await?;
        }
        let role = own_role.then_some(*tenant);
        let made = self.control.make_home(&mut target.conn, *tenant, schema, *epoch, "coming", role).await;
        made.map_err(|error| error.in_database(self.plan.place.database_name()))?;
        target.commit().await?;
        let here = export::migrations(target, schema).await?;
        same_version(&self.header.migrations, &here)?;
        Ok(())
    }
}

/// The home may be written, as soon as somebody may work for the tenant.
async fn open(target: &mut Hand, entry: &Entry) -> Result<(), ImportError> {
    let opened = sqlx::query(
        "update platform.homes set state = 'live', changed_at = now()
          where tenant_id = $1 and epoch = $2 and state = 'coming'",
    )
    .bind(entry.tenant.as_uuid())
    .bind(entry.epoch)
    .execute(&mut target.conn)
    .await?;
    if opened.rows_affected() == 1 { Ok(()) } else { Err(ImportError::Disturbed) }
}

fn same_version(archive: &[AppliedStep], here: &[AppliedStep]) -> Result<(), ImportRefusal> {
    if archive == here {
        return Ok(());
    }
    let by_set = |steps: &[AppliedStep]| {
        let mut sets: BTreeMap<String, Vec<AppliedStep>> = BTreeMap::new();
        for step in steps {
            sets.entry(step.set.clone()).or_default().push(step.clone());
        }
        sets
    };
    let newest = |steps: Option<&Vec<AppliedStep>>| steps?.iter().map(|step| step.version).max();
    let (there, ours) = (by_set(archive), by_set(here));
    let differs = there.keys().chain(ours.keys()).find(|set| there.get(*set) != ours.get(*set));
    // Steps that stand in another order are another archive than this program writes.
    let set = differs.cloned().unwrap_or_default();
    Err(ImportRefusal::Migrations { archive: newest(there.get(&set)), here: newest(ours.get(&set)), set })
}

/// Each section with the table of the catalogue that it is for: the same ones, in the same order.
fn pairs<'a>(
    sections: &'a [SectionHead],
    tables: &'a [Table],
) -> Result<Vec<(&'a SectionHead, &'a Table)>, ImportError> {
    let refuse = |table: &str, why: String| ImportRefusal::Table { table: table.to_owned(), why };
    let expected: Vec<_> = tables.iter().map(export::head).chain(people::heads()).collect();
    for head in sections {
        let Some(known) = expected.iter().find(|known| known.name == head.name) else {
            return Err(refuse(&head.name, "there is none here".to_owned()).into());
        };
        if let Some(why) = difference(head, known) {
            return Err(refuse(&head.name, why).into());
        }
    }
    if let Some(missing) = expected.iter().find(|known| !sections.iter().any(|head| head.name == known.name))
    {
        return Err(refuse(&missing.name, "the archive has none".to_owned()).into());
    }
    let in_order = expected.iter().map(Some).chain([None]).zip(sections.iter().map(Some).chain([None]));
    for (known, head) in in_order {
        if known.map(|known| &known.name) != head.map(|head| &head.name) {
            let name = |head: Option<&SectionHead>| head.map_or("nothing", |head| &head.name).to_owned();
            return Err(ArchiveError::Order { line: 1, found: name(head), expected: name(known) }.into());
        }
    }
    Ok(sections.iter().zip(tables).collect())
}

fn difference(archive: &SectionHead, here: &SectionHead) -> Option<String> {
    let lacks = |of: &SectionHead, name: &str| !of.columns.iter().any(|column| column.name == name);
    for column in &here.columns {
        if lacks(archive, &column.name) {
            return Some(format!("the archive lacks column `{}`", column.name));
        }
    }
    for column in &archive.columns {
        if lacks(here, &column.name) {
            return Some(format!("there is no column `{}` here", column.name));
        }
    }
    let other = archive.columns.iter().zip(&here.columns).find(|(archive, here)| archive != here);
    if let Some((archive, here)) = other {
        let (name, there) = (&archive.name, &archive.type_name);
        return Some(format!(
            "`{name}` of type {there} stands where `{}` of type {} belongs",
            here.name, here.type_name
        ));
    }
    (archive.columns.len() != here.columns.len()).then(|| "a column stands there twice".to_owned())
}
