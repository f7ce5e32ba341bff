//! The shape of a relationship's text with variables in it.

/// Types and relations are names; ids are text and variables.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shape<'a> {
    pub(crate) object: (&'a str, &'a str),
    pub(crate) relation: &'a str,
    pub(crate) subject: (&'a str, &'a str, Option<&'a str>),
}

const FORM: &str = "a relationship is `type:id#relation@type:id`, with `#relation` behind a userset";

pub(crate) fn parse(text: &str) -> Result<Shape<'_>, String> {
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
    Ok(Shape { object, relation, subject: (subject_type, subject_id, userset) })
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
        let first = |c: char| c.is_alphabetic() || c == '_';
        if !variable.starts_with(first) || !variable.chars().all(|c| c.is_alphanumeric() || c == '_') {
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
        let expected =
            Shape { object: ("rfi", "{rfi}"), relation: "assignee", subject: ("user", "{bob}", None) };
        assert_eq!(parse("rfi:{rfi}#assignee@user:{bob}"), Ok(expected));
        let expected = Shape {
            object: ("rfi", "a-{n}@x"),
            relation: "assignee",
            subject: ("team", "t{a}{b}", Some("member")),
        };
        assert_eq!(parse("rfi:a-{n}@x#assignee@team:t{a}{b}#member"), Ok(expected));
        assert!(parse("rfi:7#viewer@user:*").is_ok());
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
        ] {
            assert_eq!(parse(text).unwrap_err(), message);
        }
    }
}
