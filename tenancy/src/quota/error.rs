//! Why nothing was taken.

use crate::{Retryable, StorageError};

/// A taking or a settling failed; it changed nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuotaError {
    /// The limit has no room. HTTP 403, or 429 where a period ends.
    #[error(transparent)]
    Exceeded(#[from] QuotaExceeded),
    /// Neither the plan nor the tenant has a limit for it: nothing is let through.
    #[error("plan `{plan}` has no quota of `{resource}`: name one, if only `Quota::unlimited()`")]
    Unknown {
        /// What was asked for.
        resource: String,
        /// The tenant's plan.
        plan: String,
    },
    /// The reservation was settled or released before, or its room was needed after it had expired.
    #[error("the reservation is there no more: it was settled, released, or has expired; consume instead")]
    Gone,
    /// A number that cannot be taken.
    #[error("{units} units cannot be taken: a reservation is of 1 to 2^53, an amount of at most 2^53")]
    OutOfRange {
        /// As given.
        units: u64,
    },
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// The limit has no room for what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the quota of `{resource}` is {limit}, of which {used} are used and {reserved} set aside: no room for {asked}"
)]
pub struct QuotaExceeded {
    pub(super) resource: String,
    pub(super) asked: u64,
    pub(super) limit: u64,
    pub(super) used: u64,
    pub(super) reserved: u64,
}

impl QuotaExceeded {
    /// What was asked for.
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// Units that were asked for.
    pub fn asked(&self) -> u64 {
        self.asked
    }

    /// The limit in force.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Units that are used.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// Units that are set aside.
    pub fn reserved(&self) -> u64 {
        self.reserved
    }
}

impl Retryable for QuotaError {
    fn is_retryable(&self) -> bool {
        matches!(self, Self::Storage(error) if error.is_retryable())
    }
}

impl From<sqlx::Error> for QuotaError {
    fn from(source: sqlx::Error) -> Self {
        Self::Storage(source.into())
    }
}
