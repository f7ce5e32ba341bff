//! Who may see which field: four classes, and answers without what the reader is not cleared for.
//!
//! INVARIANT: a field that nobody has classified, or that is written and not known, is shown only to who may see everything.

use std::{fmt, rc::Rc, sync::Arc};

use serde::{Deserialize, Serialize, Serializer, ser::Error};
use serde_json::Value;

pub use formwork_audit_macros::Classified;

/// How far a field may go; and, of a reader, the highest class that they may see.
///
/// ```
/// use formwork_audit::classification::Classification;
///
/// assert!(Classification::Public < Classification::Restricted);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Classification {
    /// Anybody.
    Public,
    /// Whoever belongs to the tenant.
    Internal,
    /// Those who need it for their work.
    Confidential,
    /// Those few who are named.
    Restricted,
}

impl fmt::Display for Classification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "PUBLIC",
            Self::Internal => "INTERNAL",
            Self::Confidential => "CONFIDENTIAL",
            Self::Restricted => "RESTRICTED",
        })
    }
}

/// A struct whose fields say who may see them. Derived.
///
/// # How is an answer stripped?
///
/// ```
/// use formwork_audit::classification::{Classification, Classified, Cleared, unclassified};
///
/// #[derive(serde::Serialize, Classified)]
/// struct Person {
///     #[class(public)]
///     name: &'static str,
///     #[class(confidential)]
///     phone: &'static str,
///     #[class(nested)]
///     contracts: Vec<Contract>,
///     nickname: &'static str,
/// }
///
/// #[derive(serde::Serialize, Classified)]
/// #[serde(rename_all = "camelCase")]
/// struct Contract {
///     #[class(internal)]
///     begins_on: &'static str,
///     #[class(restricted)]
///     salary: u32,
/// }
///
/// let contracts = vec![Contract { begins_on: "2026-01-01", salary: 1 }];
/// let ada = Person { name: "Ada", phone: "1", contracts, nickname: "A" };
/// let seen = |clearance| serde_json::to_string(&Cleared::new(&ada, clearance)).unwrap();
/// assert_eq!(
///     seen(Classification::Confidential),
///     r#"{"contracts":[{"beginsOn":"2026-01-01"}],"name":"Ada","phone":"1"}"#
/// );
/// assert_eq!(seen(Classification::Public), r#"{"contracts":[{}],"name":"Ada"}"#);
/// // The test that every program has: it names what nobody has thought of.
/// assert_eq!(unclassified::<Person>(), ["nickname"]);
/// ```
///
/// ```compile_fail
/// #[derive(serde::Serialize, formwork_audit::classification::Classified)]
/// struct Person {
///     #[class(secret)]
///     name: String,
/// }
/// ```
pub trait Classified {
    /// Each field that is serialized, by the name that it has then.
    const FIELDS: &'static [Field];

    /// The same, for fields that refer to it.
    fn fields() -> &'static [Field] {
        Self::FIELDS
    }
}

/// A field, and who may see it.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    name: &'static str,
    class: Class,
}

#[derive(Debug, Clone, Copy)]
enum Class {
    Unclassified,
    Is(Classification),
    Nested(fn() -> &'static [Field]),
    Flattened(fn() -> &'static [Field]),
}

impl Field {
    /// Of this class.
    pub const fn classified(name: &'static str, class: Classification) -> Self {
        Self { name, class: Class::Is(class) }
    }

    /// Of none, which counts as restricted.
    pub const fn unclassified(name: &'static str) -> Self {
        Self { name, class: Class::Unclassified }
    }

    /// With fields of its own, each with its class.
    pub const fn nested(name: &'static str, fields: fn() -> &'static [Field]) -> Self {
        Self { name, class: Class::Nested(fields) }
    }

    /// Whose fields stand among the others.
    pub const fn flattened(fields: fn() -> &'static [Field]) -> Self {
        Self { name: "", class: Class::Flattened(fields) }
    }

    /// As it is serialized; empty for what is flattened.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Its class; none where it has fields of its own, or nobody has said.
    pub fn class(&self) -> Option<Classification> {
        match self.class {
            Class::Is(class) => Some(class),
            _ => None,
        }
    }
}

/// Something that is serialized without the fields above the reader's clearance.
#[derive(Debug, Clone, Copy)]
pub struct Cleared<'a, T> {
    thing: &'a T,
    clearance: Classification,
}

impl<'a, T: Classified + Serialize> Cleared<'a, T> {
    /// For a reader who may see up to this class.
    pub fn new(thing: &'a T, clearance: Classification) -> Self {
        Self { thing, clearance }
    }
}

impl<T: Classified + Serialize> Serialize for Cleared<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut value = serde_json::to_value(self.thing).map_err(S::Error::custom)?;
        strip(&mut value, T::FIELDS, self.clearance);
        value.serialize(serializer)
    }
}

/// Takes away what is above the clearance; a list is stripped element by element.
pub fn strip(value: &mut Value, fields: &[Field], clearance: Classification) {
    match value {
        Value::Array(all) => all.iter_mut().for_each(|one| strip(one, fields, clearance)),
        Value::Object(members) => members.retain(|name, value| match class_of(name, fields) {
            Some(Class::Is(class)) => class <= clearance,
            Some(Class::Nested(of)) => {
                strip(value, of(), clearance);
                true
            }
            _ => clearance == Classification::Restricted,
        }),
        Value::Null => {}
        // A bare value stands where fields are expected: nobody has said what it is.
        other if clearance < Classification::Restricted => *other = Value::Null,
        _ => {}
    }
}

fn class_of(name: &str, fields: &[Field]) -> Option<Class> {
    fields.iter().find_map(|field| match field.class {
        Class::Flattened(of) => class_of(name, of()),
        class => (field.name == name).then_some(class),
    })
}

/// The fields, also nested ones, that nobody has classified, by their paths. A program's test asks for all its types and
/// expects nothing.
pub fn unclassified<T: Classified>() -> Vec<String> {
    let mut found = Vec::new();
    collect(T::FIELDS, "", &mut Vec::new(), &mut found);
    found
}

fn collect(fields: &'static [Field], path: &str, above: &mut Vec<&'static [Field]>, found: &mut Vec<String>) {
    // A type that has itself inside is looked at once. By what it says: a constant has no one address.
    if above.iter().any(|other| is_same(other, fields)) {
        return;
    }
    above.push(fields);
    for field in fields {
        match field.class {
            Class::Unclassified => found.push(format!("{path}{}", field.name)),
            Class::Nested(of) => collect(of(), &format!("{path}{}.", field.name), above, found),
            Class::Flattened(of) => collect(of(), path, above, found),
            Class::Is(_) => {}
        }
    }
    above.pop();
}

fn is_same(a: &[Field], b: &[Field]) -> bool {
    let same = |(a, b): (&Field, &Field)| {
        let classes = std::mem::discriminant(&a.class) == std::mem::discriminant(&b.class);
        a.name == b.name && classes && a.class() == b.class()
    };
    a.len() == b.len() && a.iter().zip(b).all(same)
}

macro_rules! as_what_is_inside {
    ($($outer:ty),*) => {
        $(impl<T: Classified> Classified for $outer {
            const FIELDS: &'static [Field] = T::FIELDS;
        })*
    };
}
as_what_is_inside!(Option<T>, Vec<T>, Box<T>, Rc<T>, Arc<T>, &T, [T]);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    struct Tree;

    impl Classified for Tree {
        const FIELDS: &'static [Field] = &[
            Field::classified("name", Classification::Internal),
            Field::unclassified("new"),
            Field::nested("below", <Vec<Tree>>::fields),
        ];
    }

    #[test]
    fn what_is_not_known_is_shown_to_nobody_but_who_may_see_everything() {
        let tree = json!({"name": "a", "new": 1, "other": {"name": "b"}, "below": [
            {"name": "c", "new": 2, "below": []}, null, 7]});
        let seen = |clearance| {
            let mut seen = tree.clone();
            strip(&mut seen, Tree::FIELDS, clearance);
            seen
        };
        assert_eq!(
            seen(Classification::Confidential),
            json!({"name": "a", "below": [{"name": "c", "below": []}, null, null]})
        );
        assert_eq!(seen(Classification::Public), json!({"below": [{"below": []}, null, null]}));
        assert_eq!(seen(Classification::Restricted), tree);
        assert_eq!(unclassified::<Tree>(), ["new"]);
    }
}
