//! The shape of a relationship's text with variables in it.

/// Types and relations are names; ids are text and variables.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shape<'a> {
    pub(crate) object: (&'a str, &'a str),
    pub(crate) relation: &'a str,
    pub(crate) subject: (&'a str, &'a str, Option<&'a str>),
    pub(crate) terms: Terms<'a>,
}

/// Under which it counts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Terms<'a> {
    /// The name, and the variable with its context.
    pub(crate) condition: Option<(&'a str, Option<&'a str>)>,
    /// The variable with the time.
    pub(crate) expiration: Option<&'a str>,
}

const FORM: &str = "a relationship is `type:id#relation@type:id`, with `#relation` behind a userset";
const TERMS: &str = "behind a relationship stands `[condition]`, `[condition:{context}]`, `[expiration:{until}]` or \
                     a condition and then an expiration";

pub(crate) fn parse(text: &str) -> Result<Shape<'_>, String> {
    // No part before has a `[`.
    let (text, terms) = match text.find('[').and_then(|at| text.split_at_checked(at)) {
        Some((text, terms)) => (text, self::terms(terms)?),
        None => (text, Terms::default()),
    };
    let missing = |separator: char, part: &str| format!("expected `{separator}` after the {part}: {FORM}");
    let (object, rest) = text.split_once('#').ok_or_else(|| missing('#', "object"))?;
    let object = object.split_once(':').ok_or_else(|| missing(':', "object type"))?;
    let (relation, subject) = rest.split_once('@').ok_or_else(|| missing('@', "relation"))?;
    let (subject_type, rest) = subject.split_once(':').ok_or_else(|| missing(':', "subject type"))?;
    let (subject_id, userset) = match rest.split_once('#') {
        Some((id, relation)) => (id, Some(relation)),
        None => (rest, None),
    };
    name("object type", object.0)?;
    id("object id", object.1)?;
    name("relation", relation)?;
    name("subject type", subject_type)?;
    if subject_id != "*" || userset.is_some() {
        id("subject id", subject_id)?;
    }
    userset.map_or(Ok(()), |relation| name("subject relation", relation))?;
    Ok(Shape { object, relation, subject: (subject_type, subject_id, userset), terms })
}

fn terms(text: &str) -> Result<Terms<'_>, String> {
    let (mut found, mut rest) = (Terms::default(), text);
    while !rest.is_empty() {
        let inside = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let Some((term, after)) = inside else {
            return Err(format!("`{rest}` is not closed, or does not belong here: {TERMS}"));
        };
        let (name, value) = match term.split_once(':') {
            Some((name, value)) => (name, Some(variable_of(name, value)?)),
            None => (term, None),
        };
        match (name, value) {
            ("expiration", Some(time)) if found.expiration.is_none() => found.expiration = Some(time),
            ("expiration", None) => return Err(format!("the expiration has no time: {TERMS}")),
            _ if found == Terms::default() => {
                self::name("condition", name)?;
                found.condition = Some((name, value));
            }
            _ => return Err(format!("`[{term}]` cannot stand here: {TERMS}")),
        }
        rest = after;
    }
    Ok(found)
}

/// The variable in braces.
fn variable_of<'a>(name: &str, value: &'a str) -> Result<&'a str, String> {
    let inside = value.strip_prefix('{').and_then(|value| value.strip_suffix('}'));
    inside.filter(|inside| is_variable(inside)).ok_or_else(|| {
        let kind = if name == "expiration" { "a time" } else { "a map of JSON values" };
        format!("`{value}` is not a variable: write `[{name}:{{value}}]`, bound to {kind} before")
    })
}

fn is_variable(text: &str) -> bool {
    let first = |c: char| c.is_alphabetic() || c == '_';
    text.starts_with(first) && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

fn name(part: &str, name: &str) -> Result<(), String> {
    let rest = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.is_empty() {
        return Err(format!("the {part} is empty: {FORM}"));
    }
    if name.contains('{') {
        return Err(format!("the {part} `{name}` must be written out: only ids can be variables"));
    }
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(rest) || name.len() > 64 {
        return Err(format!("the {part} `{name}` is not a name: `[a-z][a-z0-9_]*`, at most 64 bytes"));
    }
    Ok(())
}

/// Text and `{variable}`, in any order.
fn id(part: &str, id: &str) -> Result<(), String> {
    if id.is_empty() {
        return Err(format!("the {part} is empty: {FORM}"));
    }
    let mut rest = id;
    while let Some((text, after)) = rest.split_once('{') {
        literal(part, text)?;
        let Some((variable, after)) = after.split_once('}') else {
            return Err(format!("the {part} `{id}` has a `{{` without its `}}`"));
        };
        if !is_variable(variable) {
            return Err(format!(
                "`{{{variable}}}` is not a variable: write `{{name}}`, bound before if it is an expression"
            ));
        }
        rest = after;
    }
    literal(part, rest)?;
    if id.len() > 200 && !id.contains('{') {
        return Err(format!("the {part} is longer than 200 bytes"));
    }
    Ok(())
}

fn literal(part: &str, text: &str) -> Result<(), String> {
    let bad = |c: &char| matches!(c, ':' | '#' | '*' | '}') || c.is_whitespace() || c.is_control();
    match text.chars().find(bad) {
        Some(c) => Err(format!("the {part} cannot contain `{}`", c.escape_debug())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_taken_apart() {
        let expected = Shape {
            object: ("rfi", "{rfi}"),
            relation: "assignee",
            subject: ("user", "{bob}", None),
            terms: Terms::default(),
        };
        assert_eq!(parse("rfi:{rfi}#assignee@user:{bob}"), Ok(expected));
        let expected = Shape {
            object: ("rfi", "a-{n}@x"),
            relation: "assignee",
            subject: ("team", "t{a}{b}", Some("member")),
            terms: Terms::default(),
        };
        assert_eq!(parse("rfi:a-{n}@x#assignee@team:t{a}{b}#member"), Ok(expected));
        assert!(parse("rfi:7#viewer@user:*").is_ok());
        for (text, condition, expiration) in [
            ("[in_hours]", Some(("in_hours", None)), None),
            ("[in_hours:{hours}]", Some(("in_hours", Some("hours"))), None),
            ("[expiration:{until}]", None, Some("until")),
            ("[in_hours:{hours}][expiration:{until}]", Some(("in_hours", Some("hours"))), Some("until")),
        ] {
            let text = format!("rfi:7#viewer@user:*{text}");
            assert_eq!(parse(&text).unwrap().terms, Terms { condition, expiration });
        }
    }

    #[test]
    fn errors_teach() {
        for (text, message) in [
            (
                "rfi:7",
                "expected `#` after the object: a relationship is `type:id#relation@type:id`, with `#relation` behind a userset",
            ),
            (
                "rfi:{a.b}#assignee@user:1",
                "`{a.b}` is not a variable: write `{name}`, bound before if it is an expression",
            ),
            ("rfi:{a#assignee@user:1", "the object id `{a` has a `{` without its `}`"),
            (
                "{kind}:7#assignee@user:1",
                "the object type `{kind}` must be written out: only ids can be variables",
            ),
            (
                "rfi:7#Assignee@user:1",
                "the relation `Assignee` is not a name: `[a-z][a-z0-9_]*`, at most 64 bytes",
            ),
            ("rfi:*#assignee@user:1", "the object id cannot contain `*`"),
            ("rfi:7#assignee@user:*#x", "the subject id cannot contain `*`"),
            (
                "rfi:7#assignee@user:1[",
                "`[` is not closed, or does not belong here: behind a relationship stands `[condition]`, `[condition:{context}]`, `[expiration:{until}]` or a condition and then an expiration",
            ),
            (
                "rfi:7#assignee@user:1[in_hours:{\"hour\":1}]",
                "`{\"hour\":1}` is not a variable: write `[in_hours:{value}]`, bound to a map of JSON values before",
            ),
            (
                "rfi:7#assignee@user:1[expiration:{until}][in_hours]",
                "`[in_hours]` cannot stand here: behind a relationship stands `[condition]`, `[condition:{context}]`, `[expiration:{until}]` or a condition and then an expiration",
            ),
            (
                "rfi:7#assignee@user:1[InHours]",
                "the condition `InHours` is not a name: `[a-z][a-z0-9_]*`, at most 64 bytes",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err(), message);
        }
    }
}
