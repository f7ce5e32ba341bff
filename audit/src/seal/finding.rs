//! What verifying finds.

use std::fmt;

use serde::Serialize;
use uuid::Uuid;

use super::PublicKey;

/// One thing that is not as it was sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "found", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Finding {
    /// The event is not the one that was sealed.
    EventChanged {
        /// Its leaf.
        position: u64,
        /// The event.
        event: Uuid,
    },
    /// The event is gone.
    EventRemoved {
        /// Its leaf.
        position: u64,
        /// The event.
        event: Uuid,
    },
    /// The event was put among those that had been read and sealed before.
    EventInserted {
        /// The event.
        event: Uuid,
    },
    /// The event stands where another one was sealed.
    EventMoved {
        /// Its leaf now.
        position: u64,
        /// The event.
        event: Uuid,
        /// Where it was sealed.
        sealed_at: u64,
    },
    /// A leaf is gone.
    LeafRemoved {
        /// Its position.
        position: u64,
    },
    /// A leaf stands behind the last checkpoint.
    LeafUnsigned {
        /// Its position.
        position: u64,
    },
    /// Leaves are not those whose root was signed: one of them was changed, exchanged or replaced.
    LeavesChanged {
        /// The first checkpoint that does not fit.
        checkpoint: u64,
        /// The first leaf that the checkpoint before does not cover.
        from: u64,
        /// The first leaf that this one does not cover.
        until: u64,
    },
    /// A checkpoint is gone.
    CheckpointRemoved {
        /// Its number.
        number: u64,
    },
    /// A checkpoint is no text that a sealer writes for this tenant, at this place.
    CheckpointUnreadable {
        /// Its number.
        number: u64,
    },
    /// A checkpoint does not follow the one before it.
    CheckpointUnlinked {
        /// Its number.
        number: u64,
    },
    /// A checkpoint is not the one that was anchored.
    CheckpointSwapped {
        /// Its number.
        number: u64,
    },
    /// The trail ends before a checkpoint that was anchored.
    RolledBack {
        /// The last one that is there; 0 when there is none.
        last: u64,
        /// The last one that was anchored.
        anchored: u64,
    },
    /// A checkpoint is of a key that is not trusted, or is no longer.
    WrongKey {
        /// Its number.
        number: u64,
        /// The key that it names.
        key: PublicKey,
    },
    /// A checkpoint's text was not signed by the key that it names.
    WrongSignature {
        /// Its number.
        number: u64,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EventChanged { position, event } => {
                write!(f, "event {event} (leaf {position}) is not as it was sealed")
            }
            Self::EventRemoved { position, event } => {
                write!(f, "event {event} (leaf {position}) was removed")
            }
            Self::EventInserted { event } => write!(f, "event {event} was inserted among sealed ones"),
            Self::EventMoved { position, event, sealed_at } => {
                write!(f, "event {event} stands at leaf {position} and was sealed at {sealed_at}")
            }
            Self::LeafRemoved { position } => write!(f, "leaf {position} was removed"),
            Self::LeafUnsigned { position } => write!(f, "leaf {position} stands behind the last checkpoint"),
            Self::LeavesChanged { checkpoint, from, until } => {
                write!(
                    f,
                    "leaves {from} to {} are not those of checkpoint {checkpoint}",
                    until.saturating_sub(1)
                )
            }
            Self::CheckpointRemoved { number } => write!(f, "checkpoint {number} was removed"),
            Self::CheckpointUnreadable { number } => write!(f, "checkpoint {number} is none of this tenant"),
            Self::CheckpointUnlinked { number } => {
                write!(f, "checkpoint {number} does not follow the one before it")
            }
            Self::CheckpointSwapped { number } => {
                write!(f, "checkpoint {number} is not the one that was anchored")
            }
            Self::RolledBack { last, anchored } => {
                write!(
                    f,
                    "the trail was rolled back: it ends at checkpoint {last}, and {anchored} is anchored"
                )
            }
            Self::WrongKey { number, key } => {
                write!(f, "checkpoint {number} is of `{key}`, which is not trusted")
            }
            Self::WrongSignature { number } => {
                write!(f, "the signature of checkpoint {number} is not its key's")
            }
        }
    }
}
