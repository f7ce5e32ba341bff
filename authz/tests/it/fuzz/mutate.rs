//! Texts that are nearly right: bytes lost, copied and changed, words and parts of others put in.

use super::next;

/// The longest text that is tried, in bytes.
const MAX_TEXT: usize = 20_000;

pub(super) fn text(text: &str, others: &[&str], words: &[&str], state: &mut u64) -> String {
    let mut bytes = text.as_bytes().to_vec();
    // Of a short text a little is much.
    let part = (bytes.len() / 4).clamp(3, 40);
    for _ in 0..=next(state) % 4 {
        let mut below = |limit: usize| next(state) as usize % limit.max(1);
        let at = below(bytes.len());
        let length = below(part).min(bytes.len() - at);
        match below(12) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..at + length)),
            2 => {
                let copy = bytes[at..at + length].to_vec();
                let to = below(bytes.len());
                bytes.splice(to..to, copy);
            }
            3 => {
                let other = others[below(others.len())].as_bytes();
                let from = below(other.len());
                let part = &other[from..(from + below(3 * part)).min(other.len())];
                bytes.splice(at..at, part.iter().copied());
            }
            4 => {
                let many = ["(", "[", "{", "((a)+", "- a ", "list<", "/// d\n", "!"][below(8)]
                    .repeat(below(8 * part));
                bytes.splice(at..at, many.bytes());
            }
            5 if !bytes.is_empty() => bytes[at] = below(256) as u8,
            _ => {
                bytes.splice(at..at + below(6).min(length), words[below(words.len())].bytes());
            }
        }
    }
    bytes.truncate(MAX_TEXT);
    String::from_utf8_lossy(&bytes).into_owned()
}
