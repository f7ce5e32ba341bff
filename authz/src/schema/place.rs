//! What a schema has a place for, as text that Postgres writes in the same way (`platform.permission_place`).

use crate::schema::{AllowedSubject, Schema};

impl Schema {
    /// Every form of relationship that can be stored: `document#viewer@team#member with in_team expiring`. Sorted.
    ///
    /// ```
    /// use formwork_authz::Schema;
    ///
    /// let schema = Schema::parse("definition user {} definition rfi { relation viewer: user | user:* }")?;
    /// assert_eq!(schema.places(), ["rfi#viewer@user", "rfi#viewer@user:*"]);
    /// # Ok::<(), formwork_authz::SchemaError>(())
    /// ```
    pub fn places(&self) -> Vec<String> {
        let mut places: Vec<String> = (0..)
            .zip(&self.slots)
            .flat_map(|(slot, info)| info.allowed.iter().map(move |allowed| self.place(slot, allowed)))
            .collect();
        places.sort_unstable();
        places.dedup();
        places
    }

    fn place(&self, slot: u32, allowed: &AllowedSubject) -> String {
        let condition = allowed.condition.and_then(|id| self.conditions.get(id as usize));
        let with = condition.map(|condition| format!(" with {}", condition.name)).unwrap_or_default();
        let expiring = if allowed.expiration { " expiring" } else { "" };
        format!("{}@{}{with}{expiring}", self.slot_text(slot), self.subject_text(allowed.subject))
    }
}
