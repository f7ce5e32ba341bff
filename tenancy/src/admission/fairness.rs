//! How connections are shared between tenants.

/// How the connections to one database are shared between tenants.
///
/// By default a tenant holds at most three quarters of them, however idle the rest may be, so that the next tenant finds
/// one at once; a quarter while others wait; and at most 128 of its transactions wait.
///
/// ```
/// use formwork_tenancy::{Tenants, admission::Fairness};
///
/// let builder = Tenants::builder()
///     .max_connections(20)
///     .fairness(Fairness::new().at_most(12).share(4).queue(50));
/// # let _ = builder;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fairness {
    at_most: Option<u32>,
    share: Option<u32>,
    queue: usize,
    is_first_come: bool,
}

impl Default for Fairness {
    fn default() -> Self {
        Self::new()
    }
}

/// The numbers for a queue of so many.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) capacity: u32,
    /// INVARIANT: `1 <= share <= at_most <= capacity`.
    pub(super) share: u32,
    pub(super) at_most: u32,
    pub(super) queue: usize,
    pub(super) is_first_come: bool,
}

impl Fairness {
    /// The default.
    pub fn new() -> Self {
        Self { at_most: None, share: None, queue: 128, is_first_come: false }
    }

    /// Everybody stands in one queue, whoever it is for. For a service whose tenants trust each other, and for
    /// comparison. As many may wait as like.
    pub fn first_come_first_served() -> Self {
        Self { queue: usize::MAX, is_first_come: true, ..Self::new() }
    }

    /// The most that a tenant holds, even when nobody else wants any.
    #[must_use]
    pub fn at_most(mut self, count: u32) -> Self {
        self.at_most = Some(count);
        self
    }

    /// What a tenant has before others that wait get more: whoever holds less is served first.
    #[must_use]
    pub fn share(mut self, count: u32) -> Self {
        self.share = Some(count);
        self
    }

    /// How many of a tenant's transactions may wait; the next one fails at once as [`Busy`](super::Busy).
    #[must_use]
    pub fn queue(mut self, length: usize) -> Self {
        self.queue = length;
        self
    }

    pub(super) fn limits(self, capacity: u32) -> Limits {
        let capacity = capacity.max(1);
        let at_most = match self.is_first_come {
            true => capacity,
            false => self.at_most.unwrap_or(capacity - capacity / 4).clamp(1, capacity),
        };
        let share = self.share.unwrap_or(capacity / 4).clamp(1, at_most);
        Limits { capacity, share, at_most, queue: self.queue, is_first_come: self.is_first_come }
    }
}
