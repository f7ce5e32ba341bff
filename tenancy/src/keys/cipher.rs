//! XChaCha20-Poly1305, as the crate `chacha20poly1305` has it: sealing in place behind a header.
//!
//! Nonces are 192 random bits, so that any number of values may be sealed under one key without a counter that nodes
//! would have to share.

use chacha20poly1305::{AeadInOut, Key, KeyInit, Tag, XChaCha20Poly1305, XNonce};

use super::SecretKey;

pub(super) const NONCE: usize = 24;
pub(super) const TAG: usize = 16;

/// The bytes do not stand in the place for which they were sealed, or are not what was sealed.
#[derive(Debug)]
pub(super) struct Refused;

/// What a sealing begins with: the header, and room for the nonce. The plaintext is appended to it.
pub(super) fn begin(header: &[u8], plaintext: usize) -> Vec<u8> {
    let mut buffer = Vec::with_capacity(header.len() + NONCE + plaintext + TAG);
    buffer.extend_from_slice(header);
    buffer.extend_from_slice(&[0; NONCE]);
    buffer
}

/// Seals what stands behind a header of `header` bytes and its nonce.
pub(super) fn seal(
    key: &SecretKey,
    associated: &[u8],
    header: usize,
    mut buffer: Vec<u8>,
) -> Result<Vec<u8>, std::io::Error> {
    let short = || std::io::Error::other("nothing to seal");
    let (nonce, plaintext) =
        buffer.get_mut(header..).and_then(|rest| rest.split_at_mut_checked(NONCE)).ok_or_else(short)?;
    getrandom::fill(nonce).map_err(std::io::Error::other)?;
    let nonce = XNonce::try_from(&*nonce).map_err(std::io::Error::other)?;
    let tag = cipher(key)
        .encrypt_inout_detached(&nonce, associated, plaintext.into())
        .map_err(|_| std::io::Error::other("a value of more than 256 GiB cannot be sealed"))?;
    buffer.extend_from_slice(&tag);
    Ok(buffer)
}

/// The plaintext of `sealed`, which is nonce, ciphertext and tag.
pub(super) fn open(key: &SecretKey, associated: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Refused> {
    let (nonce, rest) = sealed.split_at_checked(NONCE).ok_or(Refused)?;
    let (text, tag) =
        rest.len().checked_sub(TAG).and_then(|length| rest.split_at_checked(length)).ok_or(Refused)?;
    let nonce = XNonce::try_from(nonce).map_err(|_| Refused)?;
    let tag = Tag::try_from(tag).map_err(|_| Refused)?;
    let mut text = text.to_vec();
    cipher(key)
        .decrypt_inout_detached(&nonce, associated, text.as_mut_slice().into(), &tag)
        .map_err(|_| Refused)?;
    Ok(text)
}

/// Overwrites its copy of the key when it is dropped (feature `zeroize` of the crate).
fn cipher(key: &SecretKey) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(<&Key>::from(key.expose()))
}
