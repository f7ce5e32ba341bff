//! The bytes of a file as UTF-8 text, whatever encoding they were written in.
//!
//! A byte order mark decides; else a file is UTF-8 if its bytes are, and Windows-1252 if not. One
//! damaged cell must not turn a whole UTF-8 file into mojibake, so a file with more intact UTF-8
//! letters than broken ones stays UTF-8, and its damaged rows are refused one by one: whatever
//! cannot be decoded reaches the rows as the byte [`DAMAGED`], which no UTF-8 text has.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use encoding_rs::{Decoder, DecoderResult, UTF_8, WINDOWS_1252};
use sha2::{Digest, Sha256};

use super::error::FileError;
use super::progress::Progress;

/// Stands for bytes that the encoding does not have.
const DAMAGED: u8 = 0xFF;
const CHUNK: usize = 64 * 1024;

/// What files of other kinds begin with.
const OTHER_KINDS: [(&[u8], &str); 8] = [
    (b"PK\x03\x04", "is a ZIP archive or an Excel workbook: save the sheet as CSV"),
    (b"\xD0\xCF\x11\xE0", "is an old Office document: save the sheet as CSV"),
    (b"\x89PNG", "is a picture: give a CSV file"),
    (b"\xFF\xD8\xFF", "is a picture: give a CSV file"),
    (b"GIF8", "is a picture: give a CSV file"),
    (b"%PDF", "is a PDF: give a CSV file"),
    (b"\x1F\x8B", "is compressed with gzip: unpack it first"),
    (b"\x28\xB5\x2F\xFD", "is compressed with zstd: unpack it first"),
];

/// A file's encoding, and what else one look at all of its bytes gives.
#[derive(Debug, Clone)]
pub(super) struct Detected {
    pub(super) encoding: &'static encoding_rs::Encoding,
    /// The byte order mark's length.
    pub(super) mark: u64,
    pub(super) bytes: u64,
    pub(super) sha256: [u8; 32],
}

/// Reads the whole file once.
pub(super) fn detect(path: &Path, progress: &Progress) -> Result<Detected, FileError> {
    let mut file = open(path)?;
    let mut buffer = vec![0; CHUNK];
    let (mut hash, mut letters, mut bytes) = (Sha256::new(), Letters::default(), 0);
    let mut marked = None;
    loop {
        let read = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(FileError::io(path, e)),
        };
        let chunk = buffer.get(..read).unwrap_or_default();
        if bytes == 0 {
            marked = encoding_rs::Encoding::for_bom(chunk);
            refuse_other_kinds(path, chunk, marked.is_some_and(|(found, _)| found != UTF_8))?;
        }
        bytes += read as u64;
        hash.update(chunk);
        letters.count(chunk);
        progress.advance(bytes);
    }
    let (encoding, mark) = marked.unwrap_or((if letters.mostly_utf8() { UTF_8 } else { WINDOWS_1252 }, 0));
    if bytes <= mark as u64 {
        return Err(empty(path));
    }
    Ok(Detected { encoding, mark: mark as u64, bytes, sha256: hash.finalize().into() })
}

/// Looks at the first bytes only.
pub(super) fn probe(path: &Path) -> Result<(), FileError> {
    let mut head = Vec::new();
    open(path)?.take(CHUNK as u64).read_to_end(&mut head).map_err(|e| FileError::io(path, e))?;
    if head.is_empty() {
        return Err(empty(path));
    }
    let marked = encoding_rs::Encoding::for_bom(&head);
    refuse_other_kinds(path, &head, marked.is_some_and(|(found, _)| found != UTF_8))
}

fn empty(path: &Path) -> FileError {
    FileError::new(path, "is empty: give a CSV file with a header and rows")
}

/// The size of a file that can be read twice.
pub(super) fn size(path: &Path) -> Result<u64, FileError> {
    let kind = std::fs::metadata(path).map_err(|e| FileError::io(path, e))?;
    if kind.is_dir() {
        return Err(FileError::new(path, "is a directory: name a CSV file in it"));
    }
    if !kind.is_file() {
        return Err(FileError::new(path, "is not a regular file, and is read twice: save it to disk first"));
    }
    Ok(kind.len())
}

fn open(path: &Path) -> Result<File, FileError> {
    size(path)?;
    File::open(path).map_err(|e| FileError::io(path, e))
}

/// A file of another kind would fail at its header too, with its bytes in the message.
fn refuse_other_kinds(path: &Path, head: &[u8], wide: bool) -> Result<(), FileError> {
    if let Some((_, message)) = OTHER_KINDS.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Err(FileError::new(path, *message));
    }
    let control = |byte: &&u8| matches!(**byte, 0..=8 | 14..=25 | 27..=31);
    // One stray NUL is a bad row. Of a compressed file, one byte in ten is a control character.
    if !wide && head.iter().filter(control).count() * 25 > head.len() {
        let message = "is not text: give a CSV file in UTF-8, Windows-1252, or UTF-16 with a byte order mark";
        return Err(FileError::new(path, message));
    }
    Ok(())
}

/// Counts multi-byte letters, across chunks.
#[derive(Debug, Default)]
struct Letters {
    intact: u64,
    broken: u64,
    /// The bytes of a letter that the last chunk cut in two.
    cut: Vec<u8>,
}

impl Letters {
    fn count(&mut self, chunk: &[u8]) {
        let mut rest = chunk;
        while !self.cut.is_empty() {
            let Some((next, after)) = rest.split_first() else { return };
            self.cut.push(*next);
            match std::str::from_utf8(&self.cut) {
                Ok(_) => self.intact += 1,
                Err(e) if e.error_len().is_none() => {
                    rest = after;
                    continue;
                }
                // The byte that breaks the letter may begin another: it is counted with the rest.
                Err(_) => {
                    self.broken += 1;
                    self.cut.clear();
                    break;
                }
            }
            self.cut.clear();
            rest = after;
        }
        loop {
            let (valid, error) = match std::str::from_utf8(rest) {
                Ok(_) => (rest, None),
                Err(e) => (rest.get(..e.valid_up_to()).unwrap_or_default(), Some(e)),
            };
            if !valid.is_ascii() {
                self.intact += valid.iter().filter(|byte| **byte >= 0xC0).count() as u64;
            }
            let Some(error) = error else { return };
            let after = rest.get(error.valid_up_to()..).unwrap_or_default();
            match error.error_len() {
                Some(length) => {
                    self.broken += 1;
                    rest = after.get(length..).unwrap_or_default();
                }
                None => {
                    self.cut = after.to_vec();
                    return;
                }
            }
        }
    }

    fn mostly_utf8(&self) -> bool {
        let broken = self.broken + u64::from(!self.cut.is_empty());
        broken == 0 || self.intact > broken
    }
}

/// A file as UTF-8, and how many of its bytes were read so far.
pub(super) fn text(
    path: &Path,
    found: &Detected,
) -> Result<(Box<dyn BufRead + Send>, Arc<AtomicU64>), FileError> {
    let mut file = open(path)?;
    file.seek(SeekFrom::Start(found.mark)).map_err(|e| FileError::io(path, e))?;
    let read = Arc::new(AtomicU64::new(found.mark));
    let counted = Counted { file, read: Arc::clone(&read) };
    let text: Box<dyn BufRead + Send> = if found.encoding == UTF_8 {
        Box::new(BufReader::with_capacity(CHUNK, counted))
    } else {
        let decoder = found.encoding.new_decoder_without_bom_handling();
        Box::new(Decoded {
            inner: counted,
            decoder,
            raw: vec![0; CHUNK],
            text: Vec::new(),
            at: 0,
            ended: false,
        })
    };
    Ok((text, read))
}

struct Counted {
    file: File,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

struct Decoded<R> {
    inner: R,
    decoder: Decoder,
    raw: Vec<u8>,
    text: Vec<u8>,
    /// Up to where `text` was consumed.
    at: usize,
    ended: bool,
}

impl<R: Read> Decoded<R> {
    fn decode(&mut self) -> io::Result<()> {
        let read = self.inner.read(&mut self.raw)?;
        self.ended = read == 0;
        let mut rest = self.raw.get(..read).unwrap_or_default();
        self.text.clear();
        self.at = 0;
        loop {
            let from = self.text.len();
            let room = self.decoder.max_utf8_buffer_length_without_replacement(rest.len()).unwrap_or(CHUNK);
            self.text.resize(from + room, 0);
            let into = self.text.get_mut(from..).unwrap_or_default();
            let (result, used, written) =
                self.decoder.decode_to_utf8_without_replacement(rest, into, self.ended);
            self.text.truncate(from + written);
            rest = rest.get(used..).unwrap_or_default();
            match result {
                DecoderResult::InputEmpty => return Ok(()),
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(..) => self.text.push(DAMAGED),
            }
        }
    }
}

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut available = self.fill_buf()?;
        let read = available.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl<R: Read> BufRead for Decoded<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.at >= self.text.len() && !self.ended {
            self.decode()?;
        }
        Ok(self.text.get(self.at..).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> (&'static str, Vec<u8>) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let found = detect(file.path(), &Progress::hidden()).unwrap();
        let (mut reader, count) = text(file.path(), &found).unwrap();
        let mut decoded = Vec::new();
        reader.read_to_end(&mut decoded).unwrap();
        assert_eq!(count.load(Ordering::Relaxed), bytes.len() as u64);
        assert_eq!(found.bytes, bytes.len() as u64);
        (found.encoding.name(), decoded)
    }

    fn wide(text: &str, to_bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        std::iter::once(0xFEFF).chain(text.encode_utf16()).flat_map(to_bytes).collect()
    }

    #[test]
    fn a_mark_decides() {
        let text = "número,😀\r\n".repeat(9000);
        assert_eq!(read(format!("\u{feff}{text}").as_bytes()), ("UTF-8", text.clone().into_bytes()));
        assert_eq!(read(&wide(&text, u16::to_le_bytes)), ("UTF-16LE", text.clone().into_bytes()));
        assert_eq!(read(&wide(&text, u16::to_be_bytes)), ("UTF-16BE", text.into_bytes()));
    }

    #[test]
    fn without_a_mark_the_bytes_decide() {
        assert_eq!(read(b"plain").0, "UTF-8");
        assert_eq!(read("número".as_bytes()).0, "UTF-8");
        assert_eq!(read(b"n\xFAmero, 5\x80"), ("windows-1252", "número, 5€".as_bytes().to_vec()));
        assert_eq!(read(b"caf\xC3"), ("windows-1252", "cafÃ".as_bytes().to_vec()));
    }

    #[test]
    fn damage_stays_where_it_is() {
        assert_eq!(read("é é \u{0}".replace('\0', "x").as_bytes()).0, "UTF-8");
        let (encoding, text) = read(b"\xC3\xA9 \xC3\xA9 \xE9 x");
        assert_eq!((encoding, text.as_slice()), ("UTF-8", b"\xC3\xA9 \xC3\xA9 \xE9 x".as_slice()));
        let lone_surrogate = [0xFF, 0xFE, b'a', 0, 0x00, 0xD8, b'b', 0, b'c'];
        assert_eq!(read(&lone_surrogate), ("UTF-16LE", vec![b'a', DAMAGED, b'b', DAMAGED]));
    }

    #[test]
    fn letters_are_counted_across_chunks() {
        for cut in 1..6 {
            let (head, tail) = "é€".as_bytes().split_at(cut.min(5));
            let mut letters = Letters::default();
            letters.count(head);
            letters.count(tail);
            assert_eq!((letters.intact, letters.broken), (2, 0), "cut at {cut}");
        }
        let mut letters = Letters::default();
        letters.count(b"\xC3");
        letters.count(b"\xC3\xA9\xE9 ");
        assert_eq!((letters.intact, letters.broken), (1, 2));
    }

    #[test]
    fn what_is_no_text_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let refuse = |bytes: &[u8]| {
            let path = folder.path().join("file");
            std::fs::write(&path, bytes).unwrap();
            let message = detect(&path, &Progress::hidden()).unwrap_err().to_string();
            message.split_once("` ").unwrap().1.to_owned()
        };
        assert_eq!(refuse(b""), "is empty: give a CSV file with a header and rows");
        assert_eq!(refuse(b"\xEF\xBB\xBF"), "is empty: give a CSV file with a header and rows");
        assert_eq!(refuse(b"\x89PNG\r\n\x1a\n"), "is a picture: give a CSV file");
        let workbook = "is a ZIP archive or an Excel workbook: save the sheet as CSV";
        assert_eq!(refuse(b"PK\x03\x04\x14"), workbook);
        assert!(refuse(b"\x00\x01\x02\x03").starts_with("is not text"));
        assert!(refuse(b"a\x00,\x00b\x00").starts_with("is not text"));
        let directory = detect(folder.path(), &Progress::hidden()).unwrap_err().to_string();
        assert!(directory.ends_with("is a directory: name a CSV file in it"), "{directory}");
        let absent = detect(&folder.path().join("absent"), &Progress::hidden()).unwrap_err().to_string();
        assert!(absent.ends_with("does not exist: check the path"), "{absent}");
    }
}
