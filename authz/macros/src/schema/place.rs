//! Whether a schema has a place for a relationship, by the names alone.

use std::fmt::Write as _;

use super::model::{Model, nearest_first};
use crate::shape::Shape;

/// The names as one text, which the generated `rel!` hands back: `type;`, or `type name form,form;`.
pub(super) fn written(model: &Model) -> String {
    let mut text = String::new();
    for of in &model.types {
        let _ = write!(text, "{};", of.name);
        for slot in &of.slots {
            let _ = write!(text, "{} {} {};", of.name, slot.name, slot.holds.join(","));
        }
    }
    text
}

/// One relation, or permission, and what it holds.
struct Place<'a> {
    object_type: &'a str,
    name: &'a str,
    holds: Vec<&'a str>,
}

/// What is wrong with the relationship, when something is.
pub(crate) fn verify(names: &str, shape: &Shape<'_>) -> Result<(), String> {
    let mut types = Vec::new();
    let mut places = Vec::new();
    for entry in names.split_terminator(';') {
        match entry.splitn(3, ' ').collect::<Vec<_>>().as_slice() {
            [object_type, name, holds] => {
                let holds = holds.split_terminator(',').collect();
                places.push(Place { object_type, name, holds });
            }
            _ => types.push(entry),
        }
    }
    let (object_type, relation) = (shape.object.0, shape.relation);
    if !types.contains(&object_type) {
        let known = nearest_first(object_type, types.into_iter()).unwrap_or_default();
        return Err(format!("the schema has no type `{object_type}`; it has {known}"));
    }
    let of_type = || places.iter().filter(|place| place.object_type == object_type);
    match of_type().find(|place| place.name == relation) {
        None => {
            let stored = of_type().filter(|place| !place.holds.is_empty());
            let known = nearest_first(relation, stored.map(|place| place.name));
            let known = known.map_or("it has none".to_owned(), |names| format!("it has {names}"));
            Err(format!("`{object_type}` has no relation `{relation}`; {known}"))
        }
        Some(place) if place.holds.is_empty() => Err(format!(
            "`{relation}` of `{object_type}` is computed, and is not stored: store one of the relations from which it follows"
        )),
        Some(place) => held(place, shape),
    }
}

fn held(place: &Place<'_>, shape: &Shape<'_>) -> Result<(), String> {
    let form = match shape.subject {
        (subject_type, _, Some(relation)) => format!("{subject_type}#{relation}"),
        (subject_type, "*", None) => format!("{subject_type}:*"),
        (subject_type, ..) => subject_type.to_owned(),
    };
    if place.holds.contains(&form.as_str()) {
        return Ok(());
    }
    let known = nearest_first(&form, place.holds.iter().copied()).unwrap_or_default();
    Err(format!("`{}` of `{}` does not hold `{form}`; it holds {known}", place.name, place.object_type))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape;

    #[test]
    fn what_the_schema_has_no_place_for_is_told_with_what_it_has() {
        let names = "user;team;team member user,team#member;doc;doc reader user,user:*,team#member;doc owner user;doc view ;";
        for (text, message) in [
            ("doc:7#reader@user:anna", ""),
            ("doc:7#reader@user:*", ""),
            ("doc:7#reader@team:site#member", ""),
            ("dok:7#reader@user:anna", "the schema has no type `dok`; it has `doc`, `team` and `user`"),
            ("doc:7#raeder@user:anna", "`doc` has no relation `raeder`; it has `reader` and `owner`"),
            ("user:7#reader@user:anna", "`user` has no relation `reader`; it has none"),
            (
                "doc:7#view@user:anna",
                "`view` of `doc` is computed, and is not stored: store one of the relations from which it follows",
            ),
            ("doc:7#owner@team:site#member", "`owner` of `doc` does not hold `team#member`; it holds `user`"),
            (
                "doc:7#reader@team:site",
                "`reader` of `doc` does not hold `team`; it holds `user`, `user:*` and `team#member`",
            ),
        ] {
            let verified = verify(names, &shape::parse(text).unwrap());
            assert_eq!(verified.err().unwrap_or_default(), message, "{text}");
        }
    }
}
