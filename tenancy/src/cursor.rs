//! Where the next page of a list begins.

use std::{fmt, str::FromStr};

use uuid::Uuid;

/// The last row of a page, by its id, as opaque text for callers: the next page begins behind it.
///
/// ```
/// use formwork_tenancy::Cursor;
///
/// let cursor = Cursor::after(uuid::Uuid::from_u128(7));
/// assert_eq!(cursor.to_string().parse::<Cursor>()?, cursor);
/// # Ok::<(), formwork_tenancy::InvalidCursor>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor(Uuid);

impl Cursor {
    /// Behind this row.
    pub fn after(row: Uuid) -> Self {
        Self(row)
    }

    /// The row that it stands behind.
    pub fn row(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

/// Text that no page gave.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no cursor: pass back the one that the last page gave")]
pub struct InvalidCursor {
    given: String,
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let given = || InvalidCursor { given: text.chars().take(80).collect() };
        // Only the form that is written: a UUID has others.
        let id = Uuid::try_parse(text).ok().filter(|_| text.len() == 32);
        id.map(Self).ok_or_else(given)
    }
}
