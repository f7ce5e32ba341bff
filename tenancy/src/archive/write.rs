//! Writing an archive, from its first line to its last. What is in memory is one buffer and one row.

use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncWrite, AsyncWriteExt, BufWriter};

use super::{
    ExportError,
    format::{END_OF_ROWS, End, Header, Section, SectionBegin, hex},
};

const BUFFER: usize = 64 * 1024;

pub(super) struct Writer<W> {
    into: BufWriter<W>,
    whole: Sha256,
    bytes: u64,
    /// What is summed of the section that is being written.
    section: Sha256,
    section_bytes: u64,
    rows: u64,
    sections: Vec<Section>,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    pub(super) async fn begin(into: W, header: &Header) -> Result<Self, ExportError> {
        let mut this = Self {
            into: BufWriter::with_capacity(BUFFER, into),
            whole: Sha256::new(),
            bytes: 0,
            section: Sha256::new(),
            section_bytes: 0,
            rows: 0,
            sections: Vec::new(),
        };
        this.line(header).await?;
        Ok(this)
    }

    async fn put(&mut self, bytes: &[u8]) -> Result<(), ExportError> {
        self.whole.update(bytes);
        self.bytes += bytes.len() as u64;
        self.into.write_all(bytes).await.map_err(ExportError::Write)
    }

    async fn line(&mut self, line: &impl Serialize) -> Result<(), ExportError> {
        let line = as_line(line)?;
        self.put(&line).await
    }

    pub(super) async fn begin_section(&mut self, name: &str) -> Result<(), ExportError> {
        (self.section, self.section_bytes, self.rows) = (Sha256::new(), 0, 0);
        self.line(&SectionBegin { section: name.to_owned() }).await
    }

    /// One row, with the end of its line, as COPY gives it.
    pub(super) async fn row(&mut self, row: &[u8]) -> Result<(), ExportError> {
        self.section.update(row);
        self.section_bytes += row.len() as u64;
        self.rows += 1;
        self.put(row).await
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) async fn end_section(&mut self, name: &str) -> Result<(), ExportError> {
        self.put(END_OF_ROWS.as_bytes()).await?;
        let sha256 = hex(std::mem::take(&mut self.section).finalize());
        let section =
            Section { section: name.to_owned(), rows: self.rows, bytes: self.section_bytes, sha256 };
        self.line(&section).await?;
        self.sections.push(section);
        Ok(())
    }

    /// The last line; then everything is handed on.
    pub(super) async fn end(mut self) -> Result<End, ExportError> {
        let end = End { sections: self.sections, bytes: self.bytes, sha256: hex(self.whole.finalize()) };
        let line = as_line(&end)?;
        self.into.write_all(&line).await.map_err(ExportError::Write)?;
        self.into.shutdown().await.map_err(ExportError::Write)?;
        Ok(end)
    }
}

fn as_line(line: &impl Serialize) -> Result<Vec<u8>, ExportError> {
    let mut line = serde_json::to_vec(line).map_err(|error| ExportError::Write(error.into()))?;
    line.push(b'\n');
    Ok(line)
}
