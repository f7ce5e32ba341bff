//! Names to numbers: every name is looked up, every rule of the language verified.

mod declare;
mod names;
mod relation;
mod rewrite;
mod verify;

use rustc_hash::FxHashMap;

use crate::schema::code::Code;
use crate::schema::diagnostic::{Diagnostics, SchemaError, Span};
use crate::schema::name_table::NameTable;
use crate::schema::program::{self, MAX_STEPS, Program, Unfit};
use crate::schema::rule::{ConditionInfo, Dialect};
use crate::schema::syntax::{Condition, File, Name};
use crate::schema::{EdgeInfo, Schema, SlotInfo, TypeInfo};

/// Operations in operations of one rule; each level costs stack.
pub(crate) const MAX_DEPTH: usize = 256;

/// What the sources had to say about the whole.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Language {
    pub(crate) dialect: Dialect,
    /// OpenFGA: schema 1.2 and not 1.1.
    pub(crate) modular: bool,
}

pub(crate) fn compile(
    language: Language,
    file: &File,
    faults: Diagnostics<'_>,
) -> Result<Schema, SchemaError> {
    let mut resolver = Resolver::declare(language, file, faults);
    // What is stored first: what stands left of an arrow must be known.
    for stored in [true, false] {
        for definition in &file.definitions {
            resolver.definition(definition, stored);
        }
    }
    resolver.finish()
}

struct Resolver<'d, 'a> {
    language: Language,
    faults: Diagnostics<'a>,
    types: Vec<TypeInfo>,
    type_ids: NameTable,
    slots: Vec<SlotInfo>,
    /// Where each relation and permission is named.
    places: Vec<&'d Name>,
    edges: Vec<EdgeInfo>,
    conditions: Vec<ConditionInfo>,
    condition_ids: FxHashMap<Box<str>, u32>,
    /// Where each condition is declared.
    declared: Vec<&'d Condition>,
    used: Vec<bool>,
    /// Is the operand at hand one that is taken away?
    subtracted: bool,
    /// An exclusion goes through a cycle, and that is no error.
    unstratified: bool,
}

impl Resolver<'_, '_> {
    fn finish(mut self) -> Result<Schema, SchemaError> {
        if self.faults.is_empty() {
            self.wildcards();
            self.stratify();
            self.reach();
            self.unused();
        }
        let mut program = Program::default();
        if self.faults.is_empty() {
            match program::compile(self.types.len(), &self.slots, &self.edges) {
                Ok(compiled) => program = compiled,
                Err(Unfit::TooLarge) => self.too_large(Span::default()),
            }
        }
        if self.faults.is_empty()
            && let Err((span, message)) = program.take_conditions(&self.conditions, self.language.dialect)
        {
            self.faults.report(Code::ExpressionSyntax, span, message);
        }
        let warnings = self.faults.finish()?;
        let Self { language, types, type_ids, slots, edges, conditions, unstratified, .. } = self;
        let Language { dialect, modular } = language;
        Ok(Schema {
            types,
            type_ids,
            slots,
            edges,
            conditions,
            dialect,
            modular,
            unstratified,
            warnings,
            program,
        })
    }

    fn too_large(&mut self, span: Span) {
        let message = format!("the schema is too large: it takes more than {MAX_STEPS} steps");
        self.faults.report(Code::TooLarge, span, message);
    }

    /// `document#view`.
    fn text_of(&self, slot: u32) -> Option<String> {
        let slot = self.slots.get(slot as usize)?;
        let info = self.types.get(slot.type_id as usize)?;
        Some(format!("{}#{}", info.name, slot.name))
    }
}
