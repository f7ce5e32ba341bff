//! Several values as one string of bytes, from which they could be told apart again.
//!
//! INVARIANT: two different lists never give the same bytes: every part is led by its length. Without that `ab` + `c`
//! and `a` + `bc` would be one place.

/// The parts, each behind its length as 4 bytes, big-endian.
pub(super) fn joined(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len() + 4).sum());
    for part in parts {
        // A part of 4 GiB does not fit into a row of Postgres.
        let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::joined;

    #[test]
    fn no_two_lists_are_one_string() {
        let lists: [&[&[u8]]; 6] =
            [&[b"ab", b"c"], &[b"a", b"bc"], &[b"abc"], &[b"abc", b""], &[b"", b"abc"], &[]];
        for (index, one) in lists.iter().enumerate() {
            for other in lists.iter().skip(index + 1) {
                assert_ne!(joined(one), joined(other));
            }
        }
    }
}
