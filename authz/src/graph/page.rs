//! Lists in pages: complete, or with a cursor to the rest.

use crate::object::Object;

/// Where a page ended: the next one begins behind it, whatever has changed meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Cursor(String);

impl Cursor {
    pub(crate) fn after(last: String) -> Self {
        Self(last)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A part of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T = Object> {
    /// What was found.
    pub items: Vec<T>,
    /// Those of which it depends on conditions: none of them is in `items`.
    pub conditional: Vec<T>,
    /// Where the rest begins; `None` when there is none.
    pub next: Option<Cursor>,
}
