//! Short text as one number: two are compared without reading text.
//!
//! INVARIANT: no two texts have the same number, and the last byte of a number is at most [`SHORT`].

/// Longer text has no number.
pub(crate) const SHORT: usize = 15;

/// At most fifteen bytes and their number, by at most two reads.
#[inline]
pub(crate) fn pack(bytes: &[u8]) -> Option<u128> {
    let len = bytes.len();
    if len > SHORT {
        return None;
    }
    let text = if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        let last = u64::from_le_bytes(*last).checked_shr((16 - len as u32) * 8).unwrap_or(0);
        u128::from(u64::from_le_bytes(*first)) | (u128::from(last) << 64)
    } else if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let last = u64::from(u32::from_le_bytes(*last)) >> ((8 - len) * 8);
        u128::from(u64::from(u32::from_le_bytes(*first)) | (last << 32))
    } else {
        bytes.iter().rev().fold(0, |text, &byte| (text << 8) | u128::from(byte))
    };
    Some(text | ((len as u128) << 120))
}

/// Both halves of the product, so that every bit of the input reaches every bit of the output.
#[inline]
pub(crate) fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}
