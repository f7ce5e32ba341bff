//! The names of OpenFGA's language: `type` and `define`, a line each.

use super::model::{Model, Slot, Type};
use super::read::Read;

/// Whether a text is of this language: it begins with the word `model`.
pub(crate) fn is_model(text: &str) -> bool {
    let mut lines = text.lines().map(without_comment).filter(|line| !line.is_empty());
    lines.next() == Some("model")
}

pub(crate) fn model(read: &Read) -> Model {
    let mut model = Model::default();
    // Conditions have lines of another language.
    let mut is_open = false;
    for line in read.sources.iter().flat_map(|source| source.text.lines()).map(without_comment) {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match (word, model.types.last_mut()) {
            ("type", _) if is_name(rest) => {
                model.types.push(Type { name: rest.trim().to_owned(), ..Type::default() });
                is_open = true;
            }
            ("condition", _) if rest.contains('(') => is_open = false,
            ("define", Some(last)) if is_open => last.slots.extend(define(line, rest)),
            // An expression goes on.
            (_, Some(last)) if is_open && !matches!(word, "" | "relations") => {
                if let Some(slot) = last.slots.last_mut() {
                    slot.rule.push(' ');
                    slot.rule.push_str(line);
                }
            }
            _ => {}
        }
    }
    for slot in model.types.iter_mut().flat_map(|of| &mut of.slots) {
        slot.holds = holds(&slot.rule);
    }
    model
}

/// What stands in brackets, without conditions.
fn holds(rule: &str) -> Vec<String> {
    let inside = rule.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    let forms = inside.into_iter().flat_map(|(inside, _)| inside.split(','));
    forms.filter_map(|form| form.split_whitespace().next()).map(str::to_owned).collect()
}

fn define(line: &str, rest: &str) -> Option<Slot> {
    let (name, _) = rest.split_once(':')?;
    let name = name.trim();
    is_name(name).then(|| Slot {
        name: name.to_owned(),
        doc: String::new(),
        rule: line.to_owned(),
        holds: Vec::new(),
    })
}

fn is_name(text: &str) -> bool {
    let text = text.trim();
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || matches!(c, ':' | '#' | '@' | '*'))
}

/// A `#` begins a comment at the start of a line or behind a space: `team#member` is none.
fn without_comment(line: &str) -> &str {
    let mut before = ' ';
    let comment = line.char_indices().find(|&(_, c)| {
        let found = c == '#' && before.is_whitespace();
        before = c;
        found
    });
    comment.and_then(|(at, _)| line.get(..at)).unwrap_or(line).trim()
}

#[cfg(test)]
mod tests {
    use super::super::read::Source;
    use super::*;

    #[test]
    fn types_and_what_they_define_are_found() {
        let text = "# model of a folder
            model
              schema 1.1
            type user # a person
            type doc
              relations
                define owner : [user, team#member]
                define editor: [user with odd,
                  team#member, user:*] or owner
                define viewer: editor
            condition odd(x: int) {
              x > 1
            }";
        assert!(is_model(text));
        assert!(!is_model("definition model {}"));
        let source = Source { name: "a.fga".to_owned(), text: text.to_owned(), is_file: true };
        let model = model(&Read { sources: vec![source], is_openfga: true });
        let [user, doc] = model.types.as_slice() else { panic!("{model:?}") };
        assert_eq!((user.name.as_str(), user.slots.len()), ("user", 0));
        let found: Vec<_> = doc
            .slots
            .iter()
            .map(|slot| (slot.name.as_str(), slot.rule.as_str(), slot.holds.join(" ")))
            .collect();
        assert_eq!(
            found,
            [
                ("owner", "define owner : [user, team#member]", "user team#member".to_owned()),
                (
                    "editor",
                    "define editor: [user with odd, team#member, user:*] or owner",
                    "user team#member user:*".to_owned()
                ),
                ("viewer", "define viewer: editor", String::new()),
            ]
        );
    }
}
