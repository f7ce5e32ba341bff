//! The second pass: a batch is read and checked, on a thread of its own, while the one before it is written.

use formwork_audit::Event;
use formwork_tenancy::{CommitError, Session};
use serde_json::json;
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    app::App,
    cli::{Failure, failure},
    import::{ImportError, PermitRow, Progress, Rows, Survey},
    modules::{
        members::organization,
        projects::{self, Applied, Batch},
    },
};

/// Rows in one transaction.
const BATCH: usize = 1_000;

type Read = Result<Vec<PermitRow>, ImportError>;

/// Writes what the survey has found, a transaction a batch.
pub(super) async fn write(
    app: &App,
    session: &Session,
    survey: &Survey,
    progress: &Progress,
) -> Result<Applied, Failure> {
    let mut total = Applied::default();
    progress.start_rows("writing", survey.counts().keys);
    match write_batches(app, session, survey, progress, &mut total).await {
        Ok(()) => progress.end(&format!("{} projects written", total.created + total.updated)),
        Err(error) => {
            let stored = match total.created + total.updated {
                0 => "this run stored nothing".to_owned(),
                stored => format!("{stored} projects are stored, and the same command goes on from there"),
            };
            return Err(format!("{}; {stored}", failure::sentence(error.as_ref())).into());
        }
    }
    Ok(total)
}

async fn write_batches(
    app: &App,
    session: &Session,
    survey: &Survey,
    progress: &Progress,
    total: &mut Applied,
) -> Result<(), Failure> {
    let (mut batches, reader) = read_ahead(survey.rows()?);
    let mut rows = 0;
    while let Some(batch) = batches.recv().await {
        let batch = batch?;
        let applied = write_batch(app, session, survey, &batch, !total.wrote()).await?;
        total.created += applied.created;
        total.updated += applied.updated;
        total.unchanged += applied.unchanged;
        total.removed += applied.removed;
        rows += batch.len() as u64;
        progress.advance(rows);
    }
    // Without it, a reader that had died would look like the end of the file.
    Ok(reader.await?)
}

/// One batch waits while another is written, and no more.
fn read_ahead(mut rows: Rows) -> (mpsc::Receiver<Read>, JoinHandle<()>) {
    let (send, batches) = mpsc::channel(1);
    let reader = tokio::task::spawn_blocking(move || {
        loop {
            let batch: Read = rows.by_ref().take(BATCH).collect();
            let is_last = batch.as_ref().map_or(true, |batch| batch.len() < BATCH);
            if batch.as_ref().is_ok_and(Vec::is_empty) || send.blocking_send(batch).is_err() || is_last {
                return;
            }
        }
    });
    (batches, reader)
}

/// One transaction. The first one that writes also records the import itself, so that neither is without the
/// other; one that has nothing to write leaves nothing, no event either.
async fn write_batch(
    app: &App,
    session: &Session,
    survey: &Survey,
    rows: &[PermitRow],
    first: bool,
) -> Result<Applied, Failure> {
    let origin = survey.mapping().name();
    let mut tx = app.tenants.begin(session).await?;
    // Two imports into one tenant take turns, batch by batch.
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('formwork.import:' || $1, 0))")
        .bind(session.tenant_id().to_string())
        .execute(&mut *tx)
        .await?;
    let applied = projects::apply(app, &mut tx, Batch { origin, rows }).await?;
    if !applied.wrote() {
        tx.rollback().await?;
        return Ok(applied);
    }
    if first {
        app.audit.record(&mut tx, event(session, survey)).await?;
    }
    match tx.commit().await {
        Ok(_) | Err(CommitError::WithoutToken(_)) => Ok(applied),
        Err(error) => Err(error.into()),
    }
}

fn event(session: &Session, survey: &Survey) -> Event {
    let counts = survey.counts();
    let hash: String = survey.sha256().iter().map(|byte| format!("{byte:02x}")).collect();
    let file = survey.path().file_name().map(|name| name.to_string_lossy().into_owned());
    Event::new("permits.imported").target(organization(session.tenant_id())).after(json!({
        "file": file, "sha256": hash, "mapping": survey.mapping().name(), "rows": counts.rows,
        "keys": counts.keys, "updated": counts.updated, "duplicates": counts.duplicates,
        "refused": counts.refused,
    }))
}
