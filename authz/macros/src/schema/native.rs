//! The names of SpiceDB's language: definitions, and partials put into them.

use std::collections::BTreeMap;

use super::lex::{self, Kind, Token, Unreadable};
use super::model::{Model, Slot, Type, nearest_first};
use super::read::{Read, Source};

/// What stands between the braces of a definition or partial.
struct Block<'a> {
    source: &'a Source,
    name: String,
    doc: String,
    items: Vec<Item<'a>>,
}

enum Item<'a> {
    Slot(Slot),
    /// `...name`
    Include(Token<'a>),
}

pub(crate) fn model(read: &Read) -> Result<Model, String> {
    let (mut definitions, mut partials) = (Vec::new(), BTreeMap::new());
    for source in &read.sources {
        let blocks = blocks(source).map_err(|fault| fault.within(source))?;
        for (is_partial, block) in blocks {
            if is_partial {
                partials.insert(block.name.clone(), block);
            } else {
                definitions.push(block);
            }
        }
    }
    let types = definitions.iter().map(|block| {
        let mut slots = Vec::new();
        put(block, &partials, &mut slots, &mut Vec::new())?;
        Ok(Type { name: block.name.clone(), doc: block.doc.clone(), slots })
    });
    Ok(Model { types: types.collect::<Result<_, String>>()? })
}

/// The items of a block, with those of the partials that it includes in their place.
fn put<'b>(
    block: &'b Block<'_>,
    partials: &'b BTreeMap<String, Block<'_>>,
    slots: &mut Vec<Slot>,
    open: &mut Vec<&'b str>,
) -> Result<(), String> {
    for item in &block.items {
        match item {
            Item::Slot(slot) => slots.push(slot.clone()),
            Item::Include(name) => {
                let fault = |message: String| Unreadable { at: name.start, message }.within(block.source);
                let Some(partial) = partials.get(name.text) else {
                    let known = nearest_first(name.text, partials.keys().map(String::as_str));
                    let known =
                        known.map_or("there are none".to_owned(), |names| format!("there are {names}"));
                    return Err(fault(format!("no partial is named `{}`; {known}", name.text)));
                };
                if open.contains(&name.text) {
                    return Err(fault(format!("the partial `{}` includes itself", name.text)));
                }
                open.push(&partial.name);
                put(partial, partials, slots, open)?;
                open.pop();
            }
        }
    }
    Ok(())
}

/// Definitions, and partials, which are marked.
fn blocks(source: &Source) -> Result<Vec<(bool, Block<'_>)>, Unreadable> {
    let tokens = lex::tokens(&source.text)?;
    let mut rest = tokens.as_slice();
    let (mut blocks, mut docs) = (Vec::new(), String::new());
    while let Some((token, after)) = rest.split_first() {
        rest = after;
        match token.kind {
            Kind::Doc => doc(&mut docs, token.text),
            // `use partial` begins none.
            Kind::Word if token.is("use") => rest = rest.get(1..).unwrap_or_default(),
            Kind::Word if token.is("definition") || token.is("partial") => {
                let block = block(source, token, &mut rest, std::mem::take(&mut docs))?;
                blocks.push((token.is("partial"), block));
            }
            // What else stands here has no names of types, and a doc comment of its own.
            _ if token.is("}") => docs.clear(),
            _ => {}
        }
    }
    Ok(blocks)
}

fn block<'a>(
    source: &'a Source,
    keyword: &Token<'a>,
    rest: &mut &[Token<'a>],
    doc: String,
) -> Result<Block<'a>, Unreadable> {
    let open = rest.iter().position(|token| token.is("{"));
    let (name, inside) = open.and_then(|at| rest.split_at_checked(at)).unwrap_or((&[], &[]));
    let name: String = name.iter().map(|token| token.text).collect();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '/';
    if name.is_empty() || !name.chars().all(is_name) {
        let message = format!("expected `{} name {{ .. }}`", keyword.text);
        return Err(Unreadable { at: keyword.start, message });
    }
    let inside = inside.get(1..).unwrap_or_default();
    let close = inside.iter().position(|token| token.is("}"));
    let Some((items, after)) = close.and_then(|at| inside.split_at_checked(at)) else {
        return Err(Unreadable {
            at: keyword.start,
            message: format!("`{name}` is not closed, expected `}}`"),
        });
    };
    *rest = after;
    Ok(Block { source, name, doc, items: self::items(source, items) })
}

fn items<'a>(source: &Source, tokens: &[Token<'a>]) -> Vec<Item<'a>> {
    let starts: Vec<usize> = (0..tokens.len()).filter(|&at| is_start(tokens, at)).collect();
    let ends = starts.iter().skip(1).copied().chain([tokens.len()]);
    let befores = [0].into_iter().chain(starts.iter().copied());
    let mut items = Vec::new();
    for ((&start, end), before) in starts.iter().zip(ends).zip(befores) {
        let (Some(first), Some(name)) = (tokens.get(start), tokens.get(start + 1)) else { continue };
        if first.kind == Kind::Ellipsis {
            items.push(Item::Include(*name));
            continue;
        }
        let mut docs = String::new();
        let before = tokens.get(before..start).unwrap_or_default();
        before.iter().filter(|token| token.kind == Kind::Doc).for_each(|token| doc(&mut docs, token.text));
        let item = tokens.get(start..end).unwrap_or_default();
        let (rule, holds) = (rule(item, &source.text), holds(item));
        items.push(Item::Slot(Slot { name: name.text.to_owned(), doc: docs, rule, holds }));
    }
    items
}

/// Whether an item begins here: both words are reserved, and `user#...` is no include.
fn is_start(tokens: &[Token<'_>], at: usize) -> bool {
    let Some(token) = tokens.get(at) else { return false };
    let before = at.checked_sub(1).and_then(|at| tokens.get(at));
    let has_name = tokens.get(at + 1).is_some_and(|name| name.kind == Kind::Word);
    match token.kind {
        Kind::Word => has_name && (token.text == "relation" || token.text == "permission"),
        Kind::Ellipsis => has_name && !before.is_some_and(|before| before.is("#")),
        _ => false,
    }
}

/// The text of an item in one line, without what belongs to the next: its doc comment and its mark.
fn rule(tokens: &[Token<'_>], source: &str) -> String {
    let is_mark = |at: &usize| {
        let before = at.checked_sub(1).and_then(|at| tokens.get(at));
        tokens.get(*at).is_some_and(|token| token.is("@"))
            && !before.is_some_and(|before| before.is("|") || before.is(":"))
    };
    let end = (0..tokens.len()).find(is_mark).unwrap_or(tokens.len());
    let (mut rule, mut last) = (String::new(), None);
    for token in tokens.iter().take(end).filter(|token| token.kind != Kind::Doc && !token.is(";")) {
        if last.is_some_and(|last: usize| source.get(last..token.start) != Some("")) {
            rule.push(' ');
        }
        rule.push_str(token.text);
        last = Some(token.end());
    }
    rule
}

/// What a relation may hold: `relation name: form | form`, each perhaps with a mark before it and terms behind.
fn holds(tokens: &[Token<'_>]) -> Vec<String> {
    let [keyword, _, colon, types @ ..] = tokens else { return Vec::new() };
    if !keyword.is("relation") || !colon.is(":") {
        return Vec::new();
    }
    types.split(|token| token.is("|")).map(form).filter(|form| !form.is_empty()).collect()
}

/// `user`, `team#member` or `user:*`, without its terms.
fn form(tokens: &[Token<'_>]) -> String {
    let mut form = String::new();
    let mut rest = tokens.iter().filter(|token| token.kind != Kind::Doc).peekable();
    while let Some(token) = rest.next() {
        if token.is("@") {
            // `deprecated`, and what stands in its parentheses.
            rest.next();
            if rest.next_if(|token| token.is("(")).is_some() {
                rest.by_ref().take_while(|token| !token.is(")")).for_each(drop);
            }
            if !form.is_empty() {
                break;
            }
            continue;
        }
        if token.is("with") || token.is(";") {
            break;
        }
        form.push_str(token.text);
    }
    form.strip_suffix("#...").map_or(form.clone(), str::to_owned)
}

/// The words of a doc comment, behind those of the lines before it.
fn doc(words: &mut String, comment: &str) {
    let body = comment.strip_prefix("///").or_else(|| comment.strip_prefix("/**")).unwrap_or(comment);
    let lines = body.strip_suffix("*/").unwrap_or(body).lines();
    for line in lines.map(|line| line.trim().trim_start_matches('*').trim()).filter(|line| !line.is_empty()) {
        if !words.is_empty() {
            words.push(' ');
        }
        words.push_str(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Model, String> {
        let source = Source { name: "a.zed".to_owned(), text: text.to_owned(), is_file: true };
        model(&Read { sources: vec![source], is_openfga: false })
    }

    #[test]
    fn a_definition_gives_its_names_rules_and_comments() {
        let text = "
            use partial
            /// Somebody.
            definition user {}
            partial owned { /** Who
              * pays. */ relation owner: user#... | @deprecated(warn, \"x\") user:* with odd | a/doc#reader // aside
              @deprecated(error, \"permission x = y\") permission a = owner }
            caveat odd(n int) { \"}\" != 'definition x {' /* } */ && n in {1: 2} }
            definition a/doc {
              relation
                reader : user
              ...owned
              permission read=reader+owner->a }";
        let slot = |name: &str, doc: &str, rule: &str, holds: &[&str]| Slot {
            name: name.to_owned(),
            doc: doc.to_owned(),
            rule: rule.to_owned(),
            holds: holds.iter().map(|&form| form.to_owned()).collect(),
        };
        let model = read(text).unwrap();
        let [user, doc] = model.types.as_slice() else { panic!("{model:?}") };
        assert_eq!((user.name.as_str(), user.doc.as_str(), user.slots.len()), ("user", "Somebody.", 0));
        assert_eq!(doc.name, "a/doc");
        assert_eq!(
            doc.slots,
            [
                slot("reader", "", "relation reader : user", &["user"]),
                slot(
                    "owner",
                    "Who pays.",
                    "relation owner: user#... | @deprecated(warn, \"x\") user:* with odd | a/doc#reader",
                    &["user", "user:*", "a/doc#reader"],
                ),
                slot("a", "", "permission a = owner", &[]),
                slot("read", "", "permission read=reader+owner->a", &[]),
            ]
        );
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_line() {
        for (text, message) in [
            ("definition user {}\ndefinition {}", "a.zed:2: expected `definition name { .. }`"),
            ("definition user {\nrelation a: user", "a.zed:1: `user` is not closed, expected `}`"),
            ("\n/* what", "a.zed:2: the comment is not closed"),
            ("caveat x(n int) { n > 1", "a.zed:1: the condition is not closed, expected `}`"),
            (
                "partial owned {}\npartial seen {}\ndefinition a {\n...owend }",
                "a.zed:4: no partial is named `owend`; there are `owned` and `seen`",
            ),
            ("partial a { ...a }\ndefinition b { ...a }", "a.zed:1: the partial `a` includes itself"),
        ] {
            assert_eq!(read(text).unwrap_err(), message, "{text}");
        }
    }
}
