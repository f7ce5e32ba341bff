//! Is an archive whole? Needs no database.

use tokio::io::AsyncRead;

use super::{ArchiveError, ArchiveEvent, Manifest, people, read::Reader};

/// Reads an archive to its end and compares every count and checksum; each row must be one of COPY text, with the
/// columns that the archive names, of its tenant. Whether the rows suit a database shows when they are imported. A
/// checksum is no signature: it shows what was damaged, not what was forged with care.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let file = tokio::fs::File::open("acme.export").await?;
/// let manifest = formwork_tenancy::archive::verify(file, |_| ()).await?;
/// println!("{manifest}");
/// # Ok(()) }
/// ```
///
/// # Errors
///
/// [`ArchiveError`] names the section and the line.
pub async fn verify<R, P>(from: R, progress: P) -> Result<Manifest, ArchiveError>
where
    R: AsyncRead + Unpin + Send,
    P: Fn(ArchiveEvent<'_>) + Send + Sync,
{
    let (mut reader, header) = Reader::begin(from).await?;
    let total = header.sections.len();
    for (done, head) in header.sections.iter().enumerate() {
        progress(ArchiveEvent::Section { name: &head.name, done, total });
        let tenant = (!people::is_part(&head.name)).then(|| header.tenant.id.to_string());
        let mut rows = reader.section(head, tenant).await?;
        while rows.next().await?.is_some() {
            progress(ArchiveEvent::Rows { rows: rows.rows(), bytes: rows.read() });
        }
        rows.end().await?;
    }
    let end = reader.end().await?;
    Ok(Manifest::new(header, end))
}
