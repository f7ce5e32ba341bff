//! Looks names up. One that is not there is offered a near one; one that is deprecated warns.

use crate::name::nearest;
use crate::schema::code::Code;
use crate::schema::resolve::Resolver;
use crate::schema::syntax::Name;

impl Resolver<'_, '_> {
    pub(super) fn type_named(&mut self, name: &Name) -> Option<u32> {
        let found = self.type_ids.get(&name.text);
        let Some(id) = found else {
            let types = &self.types;
            self.faults.report_with(
                Code::UnknownType,
                name.span,
                format!("unknown type `{}`", name.text),
                || nearest(&name.text, types.iter().map(|info| &*info.name)).map(did_you_mean),
            );
            return None;
        };
        if let Some(mark) = self.types.get(id as usize).and_then(|info| info.deprecated.as_ref()) {
            let why = (!mark.message.is_empty()).then(|| mark.message.to_string());
            let message = format!("`{}` is deprecated", name.text);
            self.faults.report_with(Code::DeprecatedUse, name.span, message, || why);
        }
        found
    }

    pub(super) fn slot_named(&mut self, type_id: u32, name: &Name) -> Option<u32> {
        let found = self.slot_of(type_id, &name.text);
        let Some(slot) = found else {
            let (info, slots) = (self.types.get(type_id as usize), &self.slots);
            let type_name = info.map_or("", |info| &info.name);
            let message = format!("`{type_name}` has no relation or permission `{}`", name.text);
            self.faults.report_with(Code::UnknownSlot, name.span, message, || {
                if name.text == "self" {
                    return Some("write `use self` at the top to name the object itself".to_owned());
                }
                let names = info.into_iter().flat_map(|info| info.names(slots));
                nearest(&name.text, names).map(did_you_mean)
            });
            return None;
        };
        self.deprecated_slot(slot, name);
        found
    }

    pub(super) fn deprecated_slot(&mut self, slot: u32, name: &Name) {
        if let Some(mark) = self.slots.get(slot as usize).and_then(|info| info.deprecated.as_ref()) {
            let why = (!mark.message.is_empty()).then(|| mark.message.to_string());
            let message = format!("`{}` is deprecated", name.text);
            self.faults.report_with(Code::DeprecatedUse, name.span, message, || why);
        }
    }

    pub(super) fn condition_named(&mut self, name: &Name) -> Option<u32> {
        let Some(&id) = self.condition_ids.get(name.text.as_str()) else {
            let conditions = &self.conditions;
            let message = format!("unknown condition `{}`", name.text);
            self.faults.report_with(Code::UnknownCondition, name.span, message, || {
                if name.text == "expiration" {
                    return Some("write `use expiration` at the top to let relationships expire".to_owned());
                }
                nearest(&name.text, conditions.iter().map(|info| &*info.name)).map(did_you_mean)
            });
            return None;
        };
        if let Some(used) = self.used.get_mut(id as usize) {
            *used = true;
        }
        Some(id)
    }

    pub(super) fn slot_of(&self, type_id: u32, name: &str) -> Option<u32> {
        self.types.get(type_id as usize)?.slot_ids.get(name)
    }
}

pub(super) fn did_you_mean(name: &str) -> String {
    format!("did you mean `{name}`?")
}
