//! Seals: proof that no event was changed, removed, inserted or reordered.
//!
//! A [`Sealer`] in the background takes the events that have become visible, in an order of its own, as leaves of a
//! Merkle tree a tenant (RFC 6962), and signs a [`Checkpoint`] over it that names the one before. Whoever writes events
//! waits for nothing. An [`Anchor`] keeps checkpoints where the database's owner cannot write. A [`Verifier`] holds all
//! events against all of it and names what is wrong; an [`InclusionProof`] or a [`ConsistencyProof`] is checked far from
//! the database, with a public key.
//!
//! Events whose time is over are removed under a [`Tombstone`], a checkpoint that says which: their leaves stay, so proofs
//! of all others hold, and a verifier names the tombstone in their place.
//!
//! What is sealed of personal fields is their ciphertext: when the tenant's key is destroyed, every proof still holds.

mod anchor;
mod checkpoint;
mod error;
mod finding;
mod health;
mod key;
mod merkle;
mod offline;
mod proof;
mod row;
mod sealer;
mod store;
mod tombstone;
mod verify;

pub use anchor::{Anchor, AnchorError, FileAnchor};
pub use checkpoint::{Checkpoint, InvalidCheckpoint, SignedCheckpoint, Tombstone};
pub use error::SealError;
pub use finding::Finding;
pub use health::{SealHealth, SealMetrics};
pub use key::{InvalidKey, PublicKey, SealKey};
pub use merkle::{Frontier, Hash, leaf_hash, node_hash};
pub use offline::OfflineTrail;
pub use proof::{ConsistencyProof, InclusionProof};
pub use row::{EventRow, LEAF_FORMAT};
pub use sealer::{Sealed, Sealer};
pub use verify::{Buried, Verification, Verifier};
