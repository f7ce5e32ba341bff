//! Cuts off what a crash has torn: the end of a file whose last write was never confirmed.
//!
//! INVARIANT: a file that is not ours is refused, not cut.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use serde::de::IgnoredAny;

/// No write is longer.
const TAIL: u64 = 64 * 1024 * 1024;

/// Leaves lines of JSON, each with its end; answers their length.
pub(super) fn repair(file: &mut File, path: &Path) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let begin = length.saturating_sub(TAIL);
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(begin))?;
    file.read_to_end(&mut tail)?;
    let Some(whole) = whole_lines(&tail, begin == 0) else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "its lines are no JSON: name another file"));
    };
    let good = begin + whole as u64;
    if good < length {
        tracing::warn!(path = %path.display(), bytes = length - good, "the torn end of a file was cut off");
        file.set_len(good)?;
    }
    Ok(good)
}

/// How many of the bytes end with a line of JSON; none when there is not one, unless all that there is may be a torn one.
fn whole_lines(tail: &[u8], is_all: bool) -> Option<usize> {
    let mut rest = tail;
    while let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') {
        let before = rest.get(..end).unwrap_or_default();
        let begin = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        // In the first line of a part of the file the beginning is missing.
        let is_cut = begin == 0 && !is_all;
        let line = before.get(begin..).unwrap_or_default();
        if !is_cut && serde_json::from_slice::<IgnoredAny>(line).is_ok() {
            return Some(end + 1);
        }
        rest = rest.get(..begin).unwrap_or_default();
    }
    let may_be_torn =
        is_all && !tail.contains(&b'\n') && tail.first().is_none_or(|byte| matches!(byte, b'{' | 0));
    may_be_torn.then_some(0)
}

#[cfg(test)]
mod tests {
    use super::whole_lines;

    #[test]
    fn what_is_torn_is_found() {
        for (text, whole) in [
            ("", Some(0)),
            ("{\"a\":1}\n", Some(8)),
            ("{\"a\":1}\n{\"a\"", Some(8)),
            ("{\"a\":1}\n{\"a\":2}", Some(8)),
            ("{\"a\":1}\n{\"a\":\n", Some(8)),
            ("{\"a\":1}\n\0\0\0\n\0\0", Some(8)),
            ("{\"a\"", Some(0)),
            ("\0\0\0", Some(0)),
            ("127.0.0.1 localhost\n", None),
            ("localhost", None),
        ] {
            assert_eq!(whole_lines(text.as_bytes(), true), whole, "{text:?}");
        }
        assert_eq!(whole_lines(b"1}\n{\"a\":1}\n", false), Some(11));
        assert_eq!(whole_lines(b"1}\n", false), None);
    }
}
