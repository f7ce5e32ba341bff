//! One tenant in one file: exported while it is written, and imported into any home.
//!
//! [`ControlPlane::export_tenant`] writes every table of the tenant's home from one snapshot, and the control plane's
//! part, into any [`AsyncWrite`]; [`ControlPlane::import_tenant`] restores it into any isolation mode, under the same
//! identity or as a copy; [`verify`] needs no database. The format is lines of JSON around the rows as `COPY` writes
//! them; `docs/export.md` describes it so that others can read it.
//!
//! INVARIANT: nothing of an archive is visible before all of it was read, its checksums compared, and the rows in the
//! database found to be the archive's, byte for byte.
//!
//! # What is not in it
//!
//! - Streams, which are a database's: undelivered events of the outbox, the log of permission changes. The log is
//!   written anew, by the triggers, under the new epoch.
//! - Generated columns, `xid8` columns with a default, sequences: as for a [move](crate::moves).
//! - Password hashes, unless they are asked for.
//! - The key that unwraps `tenant_keys`: that stays with the key provider. What is sealed opens where the provider has
//!   it, and nowhere else; so it cannot be copied to another identity, and of a shredded tenant it stays shredded.

mod error;
mod export;
mod format;
mod import;
mod ledger;
mod load;
mod options;
mod people;
mod read;
mod report;
mod scan;
mod select;
mod verify;
mod write;

use tokio::io::{AsyncRead, AsyncWrite};

pub use error::{ArchiveError, ExportError, ImportError, ImportRefusal};
pub use format::{Section, TenantRecord};
pub use options::{ExportOptions, ImportOptions};
pub use report::{ArchiveEvent, ImportReport, ImportStep, Manifest};
pub use verify::verify;

use crate::{ControlPlane, TenantId};

impl ControlPlane {
    /// Writes the tenant into `into`, and shuts that down. Nobody waits for it: neither who reads nor who writes.
    ///
    /// In memory is one row and one buffer, whatever the size; what is slow to take it slows the database down. Dropped,
    /// it leaves an archive without an end, which nobody imports.
    ///
    /// ```no_run
    /// # async fn example(control: formwork_tenancy::ControlPlane, acme: formwork_tenancy::TenantId)
    /// # -> Result<(), Box<dyn std::error::Error>> {
    /// use formwork_tenancy::archive::ExportOptions;
    ///
    /// let file = tokio::fs::File::create("acme.export").await?;
    /// let manifest = control.export_tenant(acme, ExportOptions::new(), file, |_| ()).await?;
    /// println!("{manifest}");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ExportError`]; what was written until then is no archive.
    pub async fn export_tenant<W, P>(
        &self,
        tenant: TenantId,
        options: ExportOptions,
        into: W,
        progress: P,
    ) -> Result<Manifest, ExportError>
    where
        W: AsyncWrite + Unpin + Send,
        P: Fn(ArchiveEvent<'_>) + Send + Sync,
    {
        export::export(self, tenant, options, into, &progress).await
    }

    /// Restores a tenant that is not there, or was deleted; or makes a copy of it under a new identity.
    ///
    /// It reads `from` once, and holds no more than a piece of it in memory. Cut off at any point, the tenant stays in
    /// `provisioning`, unreachable, until this is called again, which begins anew, or
    /// [`abort_import`](Self::abort_import).
    ///
    /// ```no_run
    /// # async fn example(control: formwork_tenancy::ControlPlane) -> Result<(), Box<dyn std::error::Error>> {
    /// use formwork_tenancy::{HomePlace, archive::ImportOptions};
    ///
    /// let file = tokio::fs::File::open("acme.export").await?;
    /// let options = ImportOptions::new().place(HomePlace::schema());
    /// let report = control.import_tenant(file, &options, |_| ()).await?;
    /// println!("{} lives at {}", report.slug(), report.place());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ImportError`]: nothing of the archive is there. [`ImportError::Interrupted`]: the same, and there is something to
    /// be cleared up.
    pub async fn import_tenant<R, P>(
        &self,
        from: R,
        options: &ImportOptions,
        progress: P,
    ) -> Result<ImportReport, ImportError>
    where
        R: AsyncRead + Unpin + Send,
        P: Fn(ArchiveEvent<'_>) + Send + Sync,
    {
        import::import(self, from, options, &progress).await
    }

    /// Removes what an import that was cut off has left; a tenant that was deleted before is deleted again.
    ///
    /// # Errors
    ///
    /// [`ImportRefusal::NotOpen`] when there is none.
    pub async fn abort_import(&self, tenant: TenantId) -> Result<(), ImportError> {
        match ledger::undo(self, tenant, "aborted by an operator").await? {
            true => Ok(()),
            false => Err(ImportRefusal::NotOpen.into()),
        }
    }
}
