//! Partials are put into the definitions that include them, before any name is looked up.
//!
//! A partial is put into one definition at most once, so that partials of partials cannot multiply.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::name::nearest;
use crate::schema::code::Code;
use crate::schema::diagnostic::Diagnostics;
use crate::schema::syntax::{Body, Definition, File, Item, Name};

/// Puts every `...name` to rest.
pub(crate) fn expand(file: &mut File, faults: &mut Diagnostics<'_>) {
    let mut partials: FxHashMap<&str, &Definition> = FxHashMap::default();
    for partial in &file.partials {
        let name = &partial.name;
        if let Some(first) = partials.insert(&name.text, partial) {
            let message = format!("the partial `{}` is defined twice", name.text);
            faults.report_again(Code::PartialTwice, name.span, message, first.name.span);
        }
    }
    let mut used = FxHashSet::default();
    for definition in &mut file.definitions {
        if definition.items.iter().any(|item| matches!(item.body, Body::Include)) {
            let mut expansion = Expansion {
                partials: &partials,
                seen: FxHashSet::default(),
                open: Vec::new(),
                items: Vec::new(),
                faults,
            };
            expansion.items(&definition.items);
            used.extend(expansion.seen);
            definition.items = expansion.items;
        }
    }
    for partial in &file.partials {
        if !used.contains(partial.name.text.as_str()) {
            let message = format!("no definition includes the partial `{}`", partial.name.text);
            faults.report(Code::UnusedPartial, partial.name.span, message);
        }
    }
}

struct Expansion<'p, 'f, 'a> {
    partials: &'f FxHashMap<&'p str, &'p Definition>,
    /// Of this definition.
    seen: FxHashSet<&'p str>,
    /// The partials that are being put in, the outermost first.
    open: Vec<&'p str>,
    items: Vec<Item>,
    faults: &'f mut Diagnostics<'a>,
}

/// Partials in partials; each level costs stack.
const MAX_DEPTH: usize = 64;

impl Expansion<'_, '_, '_> {
    fn items(&mut self, items: &[Item]) {
        for item in items {
            match item.body {
                Body::Include => self.include(&item.name),
                _ => self.items.push(item.clone()),
            }
        }
    }

    fn include(&mut self, name: &Name) {
        let Some((&known, &partial)) = self.partials.get_key_value(name.text.as_str()) else {
            let names = self.partials.keys().copied();
            let message = format!("unknown partial `{}`", name.text);
            self.faults.report_with(Code::UnknownPartial, name.span, message, || {
                nearest(&name.text, names).map(|near| format!("did you mean `{near}`?"))
            });
            return;
        };
        if self.open.contains(&known) || self.open.len() == MAX_DEPTH {
            let way: Vec<&str> = self.open.iter().copied().chain([known]).collect();
            let message = format!("the partial `{}` includes itself", name.text);
            self.faults.report_with(Code::CircularPartial, name.span, message, || Some(way.join(" -> ")));
        } else if !self.seen.insert(known) {
            let message = format!("the partial `{}` is included twice", name.text);
            self.faults.report(Code::PartialTwice, name.span, message);
        } else {
            self.open.push(known);
            self.items(&partial.items);
            self.open.pop();
        }
    }
}
