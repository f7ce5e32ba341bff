//! Names of fields as serde writes them: from `snake_case` to the other cases.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rename {
    Lower,
    Upper,
    Pascal,
    Camel,
    Snake,
    ScreamingSnake,
    Kebab,
    ScreamingKebab,
}

impl Rename {
    pub(crate) fn of(text: &str) -> Option<Self> {
        Some(match text {
            "lowercase" => Self::Lower,
            "UPPERCASE" => Self::Upper,
            "PascalCase" => Self::Pascal,
            "camelCase" => Self::Camel,
            "snake_case" => Self::Snake,
            "SCREAMING_SNAKE_CASE" => Self::ScreamingSnake,
            "kebab-case" => Self::Kebab,
            "SCREAMING-KEBAB-CASE" => Self::ScreamingKebab,
            _ => return None,
        })
    }
}

/// A field's name in that case.
pub(crate) fn renamed(field: &str, to: Rename) -> String {
    match to {
        // A field is written in these already.
        Rename::Lower | Rename::Snake => field.to_owned(),
        Rename::Upper | Rename::ScreamingSnake => field.to_ascii_uppercase(),
        Rename::Kebab => field.replace('_', "-"),
        Rename::ScreamingKebab => field.to_ascii_uppercase().replace('_', "-"),
        Rename::Pascal => words(field, true),
        Rename::Camel => words(field, false),
    }
}

fn words(field: &str, mut capital: bool) -> String {
    let mut name = String::with_capacity(field.len());
    for c in field.chars() {
        if c == '_' {
            capital = true;
        } else {
            name.push(if capital { c.to_ascii_uppercase() } else { c });
            capital = false;
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_serde_writes() {
        for (case, expected) in [
            ("lowercase", "first_name"),
            ("UPPERCASE", "FIRST_NAME"),
            ("PascalCase", "FirstName"),
            ("camelCase", "firstName"),
            ("snake_case", "first_name"),
            ("SCREAMING_SNAKE_CASE", "FIRST_NAME"),
            ("kebab-case", "first-name"),
            ("SCREAMING-KEBAB-CASE", "FIRST-NAME"),
        ] {
            assert_eq!(renamed("first_name", Rename::of(case).unwrap_or(Rename::Lower)), expected);
        }
        assert_eq!(Rename::of("other"), None);
    }
}
