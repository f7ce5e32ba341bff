//! The records of a CSV (RFC 4180), with the physical line that each begins on.
//!
//! Written here and not taken from the `csv` crate, which reads a record whole, however long: one
//! quote that is never closed would take the rest of the file into memory; and which counts a
//! record's line from before the blank lines above it, so that a report would name the wrong line.
//!
//! INVARIANT: a record holds at most [`LONGEST_RECORD`] bytes. What is longer is read to its end
//! and marked, not kept.

use std::io::{self, BufRead};

/// The longest cell that is kept.
pub(super) const LONGEST_CELL: usize = 1024 * 1024;
/// The longest record that is kept, with eight bytes a cell.
const LONGEST_RECORD: usize = 8 * LONGEST_CELL;

/// Why a record's cells cannot be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    LongCell,
    LongRecord,
    TextAfterQuote,
    Nul,
}

impl Fault {
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::LongCell => "the cell is longer than 1 MiB",
            Self::LongRecord => "the row is longer than 8 MiB",
            Self::TextAfterQuote => "text follows the closing quote: double a quote that belongs to the text",
            Self::Nul => "the cell has a NUL byte",
        }
    }
}

/// One record; reused for the next.
#[derive(Debug, Default)]
pub(super) struct Record {
    line: u64,
    data: Vec<u8>,
    ends: Vec<usize>,
    fault: Option<(usize, Fault)>,
}

impl Record {
    /// The line that the record begins on, from 1.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The first fault, and the cell that has it.
    pub(super) fn fault(&self) -> Option<(usize, Fault)> {
        self.fault
    }

    /// A cell's bytes; empty where there is none.
    pub(super) fn cell(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.ends.get(index).and_then(|end| self.data.get(start..*end)).unwrap_or_default()
    }

    /// The first cell that is no UTF-8. Cell by cell: halves of a letter on both sides of a
    /// delimiter would make a whole one.
    pub(super) fn damaged(&self) -> Option<usize> {
        (0..self.len()).find(|cell| std::str::from_utf8(self.cell(*cell)).is_err())
    }

    /// Whether the line has nothing but spaces.
    fn is_blank(&self) -> bool {
        self.len() <= 1 && self.fault.is_none() && self.data.iter().all(u8::is_ascii_whitespace)
    }

    fn begin(&mut self, line: u64) {
        self.line = line;
        self.data.clear();
        self.ends.clear();
        self.fault = None;
    }

    fn push(&mut self, byte: u8) {
        let cell = self.data.len() - self.ends.last().copied().unwrap_or(0);
        if byte == 0 {
            self.mark(Fault::Nul);
        }
        if cell >= LONGEST_CELL {
            self.mark(Fault::LongCell);
        } else if self.has_room() {
            self.data.push(byte);
        }
    }

    fn end_cell(&mut self) {
        if self.has_room() {
            self.ends.push(self.data.len());
        }
    }

    fn has_room(&mut self) -> bool {
        let room = self.data.len() + 8 * self.ends.len() < LONGEST_RECORD;
        if !room {
            self.mark(Fault::LongRecord);
        }
        room
    }

    fn mark(&mut self, fault: Fault) {
        self.fault = self.fault.or(Some((self.ends.len(), fault)));
    }
}

/// Why the next record cannot be read at all.
#[derive(Debug)]
pub(super) enum ReadError {
    Io(io::Error),
    /// The file ends inside a quote. All that follows it would be one cell, so this is no bad row.
    OpenQuote {
        line: u64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    CellStart,
    Plain,
    Quoted,
    /// After a quote inside a quoted cell: the end of it, or the first of a doubled quote.
    Quote,
}

/// Reads records one after the other.
pub(super) struct Records {
    input: Box<dyn BufRead + Send>,
    delimiter: u8,
    line: u64,
    after_return: bool,
}

impl Records {
    pub(super) fn new(input: Box<dyn BufRead + Send>, delimiter: u8) -> Self {
        Self { input, delimiter, line: 1, after_return: false }
    }

    /// Reads the next record that is not blank; false at the end of the file.
    pub(super) fn read(&mut self, record: &mut Record) -> Result<bool, ReadError> {
        loop {
            let more = self.read_one(record)?;
            if !record.is_blank() {
                return Ok(true);
            }
            if !more {
                return Ok(false);
            }
        }
    }

    /// Reads to the end of a record (true) or of the file (false).
    fn read_one(&mut self, record: &mut Record) -> Result<bool, ReadError> {
        record.begin(self.line);
        let (mut state, mut quote_line) = (State::CellStart, self.line);
        loop {
            let chunk = match self.input.fill_buf() {
                Ok(chunk) => chunk,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(ReadError::Io(e)),
            };
            if chunk.is_empty() {
                if state == State::Quoted {
                    return Err(ReadError::OpenQuote { line: quote_line });
                }
                if state != State::CellStart || record.len() > 0 {
                    record.end_cell();
                }
                return Ok(false);
            }
            let mut used = 0;
            let mut ended = false;
            for &byte in chunk {
                used += 1;
                let second_of_pair = self.after_return && byte == b'\n';
                self.after_return = byte == b'\r';
                let breaks = matches!(byte, b'\r' | b'\n');
                if breaks && !second_of_pair {
                    self.line += 1;
                }
                match state {
                    State::Quoted if byte == b'"' => state = State::Quote,
                    State::Quoted => record.push(byte),
                    // The other half of the line break before this record.
                    State::CellStart if second_of_pair && record.len() == 0 => {}
                    _ if breaks => {
                        record.end_cell();
                        ended = true;
                        break;
                    }
                    _ if byte == self.delimiter => {
                        record.end_cell();
                        state = State::CellStart;
                    }
                    State::CellStart if byte == b'"' => {
                        state = State::Quoted;
                        quote_line = self.line;
                    }
                    State::CellStart | State::Plain => {
                        record.push(byte);
                        state = State::Plain;
                    }
                    State::Quote if byte == b'"' => {
                        record.push(byte);
                        state = State::Quoted;
                    }
                    State::Quote => {
                        // Kept for the report, and read on as plain text: the row's end is found.
                        record.mark(Fault::TextAfterQuote);
                        record.push(byte);
                        state = State::Plain;
                    }
                }
            }
            self.input.consume(used);
            if ended {
                return Ok(true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(text: &[u8]) -> Vec<(u64, Vec<String>)> {
        // A buffer of three bytes puts every state across a chunk's end.
        let input = io::BufReader::with_capacity(3, io::Cursor::new(text.to_vec()));
        let mut records = Records::new(Box::new(input), b',');
        let mut record = Record::default();
        let mut all = Vec::new();
        while records.read(&mut record).unwrap() {
            let cells = (0..record.len()).map(|i| String::from_utf8_lossy(record.cell(i)).into_owned());
            all.push((record.line(), cells.collect()));
        }
        all
    }

    fn check(text: &str, expected: &[(u64, &[&str])]) {
        let expected: Vec<_> = expected
            .iter()
            .map(|(line, cells)| (*line, cells.iter().map(|c| (*c).to_owned()).collect()))
            .collect();
        assert_eq!(records(text.as_bytes()), expected, "{text:?}");
    }

    #[test]
    fn cells_and_lines() {
        check("", &[]);
        check("\n\r\n \n", &[]);
        check("a", &[(1, &["a"])]);
        check("a,b\nc,d", &[(1, &["a", "b"]), (2, &["c", "d"])]);
        check("a,b\r\nc,d\r\n", &[(1, &["a", "b"]), (2, &["c", "d"])]);
        check("a,b\rc,d\r", &[(1, &["a", "b"]), (2, &["c", "d"])]);
        check("a,\n,b\n,\n", &[(1, &["a", ""]), (2, &["", "b"]), (3, &["", ""])]);
        check("a,", &[(1, &["a", ""])]);
        check("a\n\n\r\n  \nb\n", &[(1, &["a"]), (5, &["b"])]);
        check("a\r\n\r\n\r\nb,c", &[(1, &["a"]), (4, &["b", "c"])]);
    }

    #[test]
    fn quotes() {
        check("\"a,b\",c", &[(1, &["a,b", "c"])]);
        check("\"a\"\"b\"", &[(1, &["a\"b"])]);
        check("\"\",x", &[(1, &["", "x"])]);
        check("\"\"\n", &[]);
        check("5\" pipe,b\"c\"", &[(1, &["5\" pipe", "b\"c\""])]);
        check("a,\"b\nc\r\nd\"\ne,f", &[(1, &["a", "b\nc\r\nd"]), (4, &["e", "f"])]);
    }

    #[test]
    fn a_quote_that_is_never_closed_is_named_by_its_line() {
        let input = io::Cursor::new(b"a,b\n1,\"2\n3\"\n4,\"5\n6,7\n".to_vec());
        let mut records = Records::new(Box::new(input), b',');
        let mut record = Record::default();
        assert!(records.read(&mut record).unwrap() && records.read(&mut record).unwrap());
        assert!(matches!(records.read(&mut record), Err(ReadError::OpenQuote { line: 4 })));
    }

    fn fault(text: Vec<u8>) -> Option<(usize, Fault)> {
        let mut records = Records::new(Box::new(io::Cursor::new(text)), b',');
        let mut record = Record::default();
        assert!(records.read(&mut record).unwrap());
        let fault = record.fault();
        assert!(record.data.capacity() <= 2 * LONGEST_RECORD && record.ends.len() * 8 <= LONGEST_RECORD);
        assert!(records.read(&mut record).unwrap(), "the next record is found");
        assert_eq!((record.cell(0), record.fault()), (b"next".as_slice(), None));
        fault
    }

    #[test]
    fn a_faulty_record_is_marked_and_the_next_is_read() {
        assert_eq!(fault(b"a,\"b\"c,d\nnext".to_vec()), Some((1, Fault::TextAfterQuote)));
        assert_eq!(fault(b"a,b\0,c\nnext".to_vec()), Some((1, Fault::Nul)));
        let mut long = b"a,".to_vec();
        long.resize(long.len() + LONGEST_CELL + 1, b'x');
        long.extend(b",b\nnext");
        assert_eq!(fault(long), Some((1, Fault::LongCell)));
        let mut wide = vec![b','; LONGEST_RECORD];
        wide.extend(b"\nnext");
        assert_eq!(fault(wide), Some((LONGEST_RECORD / 8, Fault::LongRecord)));
    }
}
