//! Reading an archive, in one pass. Nothing of it is believed before its checksum was compared, and no more of it is
//! in memory than one line of JSON, of limited length, or one piece of rows.

use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

use super::{
    ArchiveError,
    format::{Announced, End, FORMAT, Header, Section, SectionBegin, SectionHead, VERSION, hex},
    scan::RowScanner,
};

const BUFFER: usize = 64 * 1024;
/// The longest line of JSON: a header of some thousand tables.
const LONGEST: usize = 16 * 1024 * 1024;
const FIRST_LINE: &str = "the first line";
const LAST_LINE: &str = "the last line";

pub(super) struct Reader<R> {
    from: BufReader<R>,
    whole: Sha256,
    bytes: u64,
    /// The next line, from 1.
    line: u64,
    sections: Vec<Section>,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// Reads the first line.
    pub(super) async fn begin(from: R) -> Result<(Self, Header), ArchiveError> {
        let from = BufReader::with_capacity(BUFFER, from);
        let mut this = Self { from, whole: Sha256::new(), bytes: 0, line: 1, sections: Vec::new() };
        let line = this.line(FIRST_LINE).await?;
        let announced: Announced = serde_json::from_slice(&line).map_err(|_| ArchiveError::NotAnArchive)?;
        if announced.format != FORMAT {
            return Err(ArchiveError::NotAnArchive);
        }
        if announced.version != VERSION {
            return Err(ArchiveError::Version { found: announced.version });
        }
        let header = parse(&line, FIRST_LINE, 1)?;
        this.count(&line);
        Ok((this, header))
    }

    fn count(&mut self, bytes: &[u8]) {
        self.whole.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    /// A line of JSON with its end, not yet counted into the checksum.
    async fn line(&mut self, place: &str) -> Result<Vec<u8>, ArchiveError> {
        let mut line = Vec::new();
        loop {
            let bytes = self.from.fill_buf().await.map_err(ArchiveError::Read)?;
            if bytes.is_empty() {
                return Err(ArchiveError::Truncated { place: place.to_owned(), line: self.line });
            }
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(bytes.len(), |end| end + 1);
            line.extend(bytes.iter().take(taken));
            self.from.consume(taken);
            if line.len() > LONGEST {
                return Err(match self.line {
                    1 => ArchiveError::NotAnArchive,
                    line => malformed(place, line, "the line is too long"),
                });
            }
            if end.is_some() {
                self.line += 1;
                return Ok(line);
            }
        }
    }

    /// Reads up to the rows of the section that must come now.
    pub(super) async fn section<'a>(
        &'a mut self,
        head: &'a SectionHead,
        tenant: Option<String>,
    ) -> Result<Rows<'a, R>, ArchiveError> {
        let line = self.line(&head.name).await?;
        let at = self.line - 1;
        let begin: SectionBegin = parse(&line, &format!("`{}`", head.name), at)?;
        if begin.section != head.name {
            return Err(ArchiveError::Order { line: at, found: begin.section, expected: head.name.clone() });
        }
        self.count(&line);
        let tenant = tenant.and_then(|tenant| {
            let column = head.columns.iter().position(|column| column.name == "tenant_id")?;
            Some((column, tenant))
        });
        let scanner = RowScanner::new(&head.name, head.columns.len(), tenant, self.line);
        Ok(Rows {
            reader: self,
            head,
            scanner,
            sum: Sha256::new(),
            bytes: 0,
            out: Vec::new(),
            is_over: false,
        })
    }

    /// Reads the last line, and that nothing stands behind it.
    pub(super) async fn end(mut self) -> Result<End, ArchiveError> {
        let (bytes, sections) = (self.bytes, std::mem::take(&mut self.sections));
        let sha256 = hex(std::mem::take(&mut self.whole).finalize());
        let line = self.line(LAST_LINE).await?;
        let end: End = parse(&line, LAST_LINE, self.line - 1)?;
        if end.sections != sections || end.bytes != bytes || end.sha256 != sha256 {
            return Err(ArchiveError::Checksum { place: "the archive".to_owned() });
        }
        if !self.from.fill_buf().await.map_err(ArchiveError::Read)?.is_empty() {
            return Err(malformed(LAST_LINE, self.line, "something stands behind it"));
        }
        Ok(end)
    }
}

/// The rows of one section, piece by piece.
pub(super) struct Rows<'a, R> {
    reader: &'a mut Reader<R>,
    head: &'a SectionHead,
    scanner: RowScanner,
    sum: Sha256,
    bytes: u64,
    out: Vec<u8>,
    is_over: bool,
}

impl<R: AsyncRead + Unpin> Rows<'_, R> {
    /// The next piece; none behind the last.
    pub(super) async fn next(&mut self) -> Result<Option<&[u8]>, ArchiveError> {
        self.out.clear();
        while self.out.is_empty() && !self.is_over {
            let bytes = self.reader.from.fill_buf().await.map_err(ArchiveError::Read)?;
            if bytes.is_empty() {
                let place = format!("`{}`", self.head.name);
                return Err(ArchiveError::Truncated { place, line: self.scanner.line() });
            }
            let scanned = self.scanner.scan(bytes, &mut self.out)?;
            self.reader.whole.update(bytes.get(..scanned.taken).unwrap_or(bytes));
            self.reader.bytes += scanned.taken as u64;
            self.reader.from.consume(scanned.taken);
            self.is_over = scanned.is_over;
        }
        self.sum.update(&self.out);
        self.bytes += self.out.len() as u64;
        Ok((!self.out.is_empty()).then_some(self.out.as_slice()))
    }

    pub(super) fn rows(&self) -> u64 {
        self.scanner.rows()
    }

    /// The line that comes next, from 1.
    pub(super) fn line(&self) -> u64 {
        self.scanner.line()
    }

    /// Bytes of the archive so far.
    pub(super) fn read(&self) -> u64 {
        self.reader.bytes
    }

    /// Compares what was read with what the archive says of it.
    pub(super) async fn end(self) -> Result<Section, ArchiveError> {
        let Self { reader, head, scanner, sum, bytes, .. } = self;
        reader.line = scanner.line();
        let place = format!("`{}`", head.name);
        let line = reader.line(&place).await?;
        let said: Section = parse(&line, &place, reader.line - 1)?;
        let sha256 = hex(sum.finalize());
        let found = Section { section: head.name.clone(), rows: scanner.rows(), bytes, sha256 };
        if said != found {
            return Err(ArchiveError::Checksum { place: format!("section {place}") });
        }
        reader.count(&line);
        reader.sections.push(found.clone());
        Ok(found)
    }
}

fn parse<T: DeserializeOwned>(line: &[u8], place: &str, nr: u64) -> Result<T, ArchiveError> {
    serde_json::from_slice(line).map_err(|error| malformed(place, nr, &error.to_string()))
}

fn malformed(place: &str, line: u64, why: &str) -> ArchiveError {
    ArchiveError::Malformed { place: place.to_owned(), line, why: why.to_owned() }
}
