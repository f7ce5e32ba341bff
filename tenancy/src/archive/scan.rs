//! The rows of a section, looked at byte by byte: is each a line of COPY text with the right columns and the right
//! tenant? No more than a field's first bytes are held, however long a row is.

use super::ArchiveError;

/// Where in a line the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    LineStart,
    /// Behind a backslash that begins a line.
    MaybeEnd,
    /// Behind `\.` that begins a line.
    End,
    Field,
    Escape,
}

/// What came of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scanned {
    /// So many of them were of this section.
    pub(super) taken: usize,
    /// The rows are over.
    pub(super) is_over: bool,
}

#[derive(Debug)]
pub(super) struct RowScanner {
    table: String,
    columns: usize,
    /// The column that must hold the tenant, and what must stand there.
    tenant: Option<(usize, String)>,
    at: At,
    column: usize,
    /// Bytes of the tenant's column that were as they must be.
    matched: usize,
    /// The line in the archive, from 1.
    line: u64,
    rows: u64,
}

impl RowScanner {
    pub(super) fn new(table: &str, columns: usize, tenant: Option<(usize, String)>, line: u64) -> Self {
        let table = table.to_owned();
        Self { table, columns, tenant, at: At::LineStart, column: 0, matched: 0, line, rows: 0 }
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// Looks at the next bytes; those that belong to rows go to `out`.
    pub(super) fn scan(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Scanned, ArchiveError> {
        for (nr, &byte) in bytes.iter().enumerate() {
            if self.step(byte, out)? {
                return Ok(Scanned { taken: nr + 1, is_over: true });
            }
        }
        Ok(Scanned { taken: bytes.len(), is_over: false })
    }

    /// Was this the last byte?
    fn step(&mut self, byte: u8, out: &mut Vec<u8>) -> Result<bool, ArchiveError> {
        match (self.at, byte) {
            (At::LineStart, b'\\') => {
                self.at = At::MaybeEnd;
                return Ok(false);
            }
            (At::MaybeEnd, b'.') => {
                self.at = At::End;
                return Ok(false);
            }
            (At::MaybeEnd, _) => {
                out.push(b'\\');
                self.look(b'\\')?;
                self.escaped(byte)?;
            }
            (At::End, b'\n') => {
                self.line += 1;
                return Ok(true);
            }
            (At::End, _) => return Err(self.malformed("a line begins with `\\.` and goes on")),
            (At::Escape, _) => self.escaped(byte)?,
            (At::LineStart | At::Field, b'\t') => self.next_column()?,
            (At::LineStart | At::Field, b'\n') => self.end_row()?,
            (At::LineStart | At::Field, b'\r' | 0) => {
                return Err(self.malformed("a character that must be escaped stands bare"));
            }
            (At::LineStart | At::Field, _) => {
                self.at = if byte == b'\\' { At::Escape } else { At::Field };
                self.look(byte)?;
            }
        }
        out.push(byte);
        Ok(false)
    }

    /// Behind a backslash; what COPY writes, and nothing else that it would read.
    fn escaped(&mut self, byte: u8) -> Result<(), ArchiveError> {
        if !b"bfnrtv\\N".contains(&byte) {
            return Err(self.malformed("an escape that is none"));
        }
        self.at = At::Field;
        self.look(byte)
    }

    /// A byte of a field.
    fn look(&mut self, byte: u8) -> Result<(), ArchiveError> {
        if let Some((column, expected)) = &self.tenant
            && *column == self.column
        {
            if expected.as_bytes().get(self.matched) != Some(&byte) {
                return Err(self.foreign());
            }
            self.matched += 1;
        }
        Ok(())
    }

    fn end_field(&mut self) -> Result<(), ArchiveError> {
        match &self.tenant {
            Some((column, expected)) if *column == self.column && self.matched != expected.len() => {
                Err(self.foreign())
            }
            _ => Ok(()),
        }
    }

    fn next_column(&mut self) -> Result<(), ArchiveError> {
        self.end_field()?;
        self.column += 1;
        self.at = At::Field;
        match self.column < self.columns {
            true => Ok(()),
            false => Err(self.malformed(&format!("the row has more than {} columns", self.columns))),
        }
    }

    fn end_row(&mut self) -> Result<(), ArchiveError> {
        self.end_field()?;
        if self.column + 1 != self.columns {
            let (has, needs) = (self.column + 1, self.columns);
            return Err(self.malformed(&format!("the row has {has} columns of {needs}")));
        }
        (self.at, self.column, self.matched) = (At::LineStart, 0, 0);
        self.line += 1;
        self.rows += 1;
        Ok(())
    }

    fn foreign(&self) -> ArchiveError {
        ArchiveError::ForeignRow { table: self.table.clone(), line: self.line }
    }

    fn malformed(&self, why: &str) -> ArchiveError {
        ArchiveError::Malformed { place: format!("`{}`", self.table), line: self.line, why: why.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanner() -> RowScanner {
        RowScanner::new("notes", 3, Some((1, "ab".to_owned())), 10)
    }

    /// In pieces of every size the answer is the same.
    fn scan(text: &str) -> Result<(String, u64), String> {
        let mut answers = Vec::new();
        for size in 1..=text.len() {
            let (mut scanner, mut out, mut over) = (scanner(), Vec::new(), false);
            let pieces = text.as_bytes().chunks(size).try_for_each(|piece| {
                assert!(!over, "bytes behind the end");
                over = scanner.scan(piece, &mut out)?.is_over;
                Ok(())
            });
            let pieces = pieces.map_err(|error: ArchiveError| error.to_string());
            answers.push(pieces.map(|()| (String::from_utf8(out).unwrap(), scanner.rows())));
        }
        answers.dedup();
        assert_eq!(answers.len(), 1, "{answers:?}");
        answers.remove(0)
    }

    #[test]
    fn rows_pass_as_they_are_and_the_end_is_no_row() {
        let rows = "1\tab\tx\n\\N\tab\t\\N\n\\\\.\tab\t\n";
        assert_eq!(scan(&format!("{rows}\\.\n")), Ok((rows.to_owned(), 3)));
        assert_eq!(scan("\\.\n"), Ok((String::new(), 0)));
    }

    #[test]
    fn what_is_no_row_is_named_with_its_line() {
        let good = "1\tab\tx\n";
        for (bad, why) in [
            ("1\tab\n", "2 columns of 3"),
            ("\n", "1 columns of 3"),
            ("1\tab\tx\ty\n", "more than 3"),
            ("1\tab\tx\\q\n", "escape"),
            ("1\tab\tx\r\n", "bare"),
            ("1\tab\tx\0\n", "bare"),
            ("\\.x\n", "goes on"),
            ("1\tac\tx\n", "not of the archive's tenant"),
            ("1\ta\tx\n", "not of the archive's tenant"),
            ("1\tabc\tx\n", "not of the archive's tenant"),
            ("1\t\\N\tx\n", "not of the archive's tenant"),
        ] {
            let error = scan(&format!("{good}{bad}")).unwrap_err();
            assert!(error.contains(why) && error.contains("`notes`, line 11"), "{bad:?}: {error}");
        }
    }
}
