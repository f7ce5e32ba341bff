//! The code that stands for a schema: its text, its compiler's call, a type for each type of objects.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::model::{Model, Slot, Type};
use super::read::{Read, Source};

/// Names that Rust takes for something else even behind `r#`.
const NEVER_RAW: [&str; 5] = ["crate", "self", "super", "Self", "_"];

pub(crate) fn code(read: &Read, model: &Model) -> Result<String, String> {
    let mut code = schema(read);
    let mut taken = BTreeMap::new();
    for of in &model.types {
        let name = type_name(&of.name);
        for item in [name.clone(), format!("{name}Can")] {
            if let Some(other) = taken.insert(item.clone(), &of.name) {
                return Err(format!(
                    "`{other}` and `{}` would both be `{item}` in Rust: rename one of them",
                    of.name
                ));
            }
        }
        object_type(&mut code, &name, of)?;
    }
    code.push_str(&names(model));
    code.push_str(&rel(model));
    Ok(code)
}

/// `rel!`, which knows the schema.
fn rel(model: &Model) -> String {
    format!(
        "#[allow(unused_macros, reason = \"a program need not store anything\")]
         macro_rules! formwork_rel_of_schema {{
             ($($text:tt)*) => {{ ::formwork_authz::rel_of_schema!({:?} $($text)*) }};
         }}
         /// A relationship that the schema has a place for: as `formwork_authz::rel!`, and what is misspelt does not
         /// compile.
         #[allow(unused_imports, reason = \"a program need not store anything\")]
         pub(crate) use formwork_rel_of_schema as rel;",
        super::place::written(model)
    )
}

/// `NAMES`, for menus and tests.
fn names(model: &Model) -> String {
    let mut list = String::new();
    for of in &model.types {
        let slots: Vec<&str> = of.slots.iter().map(|slot| slot.name.as_str()).collect();
        let _ = write!(list, "({:?}, &{slots:?}),", of.name);
    }
    format!(
        "/// Every type of objects, with its relations and permissions.
         #[allow(dead_code, reason = \"a program need not use it\")]
         pub const NAMES: &[(&str, &[&str])] = &[{list}];"
    )
}

/// `TEXT`, and `schema()`.
fn schema(read: &Read) -> String {
    let Some((root, imported)) = read.sources.split_first() else { return String::new() };
    let mut arms = String::new();
    for source in imported {
        let _ = write!(
            arms,
            "{:?} => ::core::option::Option::Some(::std::string::String::from({})),",
            source.name,
            text_of(source)
        );
    }
    let compile = match (read.is_openfga, imported) {
        (true, _) => "::formwork_authz::Schema::parse_openfga(TEXT)".to_owned(),
        (false, []) => format!(
            "::formwork_authz::Schema::compose(&[::formwork_authz::Source {{ name: {:?}, text: TEXT }}])",
            root.name
        ),
        (false, _) => format!(
            "::formwork_authz::Schema::parse_with_imports(
                ::formwork_authz::Source {{ name: {:?}, text: TEXT }},
                |path| match path {{ {arms} _ => ::core::option::Option::None }},
            )",
            root.name
        ),
    };
    let text = text_of(root);
    format!(
        "/// The text of the schema.
         #[allow(dead_code, reason = \"a program need not use it\")]
         pub const TEXT: &str = {text};
         /// The schema, compiled.
         ///
         /// # Errors
         ///
         /// `SchemaError` with every fault of the text.
         #[allow(dead_code, reason = \"a program need not use it\")]
         pub fn schema() -> ::core::result::Result<::formwork_authz::Schema, ::formwork_authz::SchemaError> {{
             {compile}
         }}"
    )
}

/// A file is included by name, so that cargo builds anew when it changes.
fn text_of(source: &Source) -> String {
    if source.is_file {
        let path = format!("/{}", source.name);
        format!("::core::include_str!(::core::concat!(::core::env!(\"CARGO_MANIFEST_DIR\"), {path:?}))")
    } else {
        format!("{:?}", source.text)
    }
}

fn object_type(code: &mut String, name: &str, of: &Type) -> Result<(), String> {
    let Type { name: written, doc, .. } = of;
    let about = format!("One `{written}`, by its id.{}{doc}", if doc.is_empty() { "" } else { " " });
    let (fields, values) = can(name, of)?;
    let _ = write!(
        code,
        "#[doc = {about:?}]
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(dead_code, reason = \"a program need not use every type of its schema\")]
        pub struct {name}(::formwork_authz::Object);

        #[allow(dead_code, reason = \"a program need not use every type of its schema\")]
        impl {name} {{
            /// What can be asked of it.
            pub const CAN: {name}Can = {name}Can {{ {values} }};

            #[doc = {new:?}]
            pub fn new(id: impl ::core::fmt::Display) -> Self {{
                Self(::formwork_authz::Object::new({written:?}, id))
            }}

            /// The id.
            pub fn id(&self) -> &str {{
                self.0.id()
            }}
        }}

        #[doc = {can:?}]
        #[derive(Debug, Clone, Copy)]
        #[allow(dead_code, reason = \"a program need not ask for every permission of its schema\")]
        pub struct {name}Can {{ {fields} }}",
        new = format!("The `{written}` with an id, which is verified when it is asked about."),
        can = format!("The relations and permissions of a `{written}`."),
    );
    traits(code, name, written);
    Ok(())
}

/// The fields of `CAN`, and their values.
fn can(name: &str, of: &Type) -> Result<(String, String), String> {
    let (mut fields, mut values) = (String::new(), String::new());
    let mut taken = BTreeMap::new();
    for Slot { name: asked, doc, rule, .. } in &of.slots {
        let field = field_name(asked);
        if let Some(other) = taken.insert(field.clone(), asked) {
            return Err(format!(
                "`{other}` and `{asked}` of `{}` would both be `{field}` in Rust: rename one of them",
                of.name
            ));
        }
        let doc = format!("{doc}{}`{rule}`", if doc.is_empty() { "" } else { " " });
        let _ = write!(fields, "#[doc = {doc:?}] pub {field}: ::formwork_authz::Permission<{name}>,");
        let _ = write!(values, "{field}: ::formwork_authz::Permission::of_schema({asked:?}),");
    }
    Ok((fields, values))
}

fn traits(code: &mut String, name: &str, written: &str) {
    let _ = write!(
        code,
        "impl ::formwork_authz::ObjectType for {name} {{
            const NAME: &'static str = {written:?};
            fn from_id(id: &str) -> Self {{
                Self::new(id)
            }}
        }}

        impl ::core::convert::AsRef<::formwork_authz::Object> for {name} {{
            fn as_ref(&self) -> &::formwork_authz::Object {{
                &self.0
            }}
        }}

        impl ::core::convert::From<{name}> for ::formwork_authz::Object {{
            fn from(object: {name}) -> Self {{
                object.0
            }}
        }}

        impl ::formwork_authz::AsSubject for {name} {{
            fn as_subject(&self) -> ::std::borrow::Cow<'_, ::formwork_authz::Subject> {{
                ::std::borrow::Cow::Owned(::formwork_authz::Subject::from(&self.0))
            }}
        }}

        impl ::core::fmt::Display for {name} {{
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {{
                ::core::fmt::Display::fmt(&self.0, f)
            }}
        }}"
    );
}

/// `change_order` becomes `ChangeOrder`, `tenant/doc` `TenantDoc`.
fn type_name(written: &str) -> String {
    let words = written.split(|c: char| !c.is_ascii_alphanumeric());
    let mut name = String::new();
    for word in words {
        let mut letters = word.chars();
        name.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        name.push_str(letters.as_str());
    }
    // OpenFGA's names may begin with a digit or be all signs.
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        format!("Type{name}")
    } else {
        name
    }
}

/// A name that Rust has taken gets `r#`, or `_` behind it.
fn field_name(written: &str) -> String {
    let name: String = written
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' })
        .collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        return format!("_{name}");
    }
    if NEVER_RAW.contains(&name.as_str()) {
        return format!("{name}_");
    }
    format!("r#{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_schemas_become_names_of_rust() {
        for (written, name) in
            [("user", "User"), ("change_order", "ChangeOrder"), ("a/doc", "ADoc"), ("2fa-key", "Type2faKey")]
        {
            assert_eq!(type_name(written), name);
        }
        for (written, name) in
            [("view", "r#view"), ("type", "r#type"), ("self", "self_"), ("Can-See", "r#can_see")]
        {
            assert_eq!(field_name(written), name);
        }
    }

    #[test]
    fn two_names_that_become_one_are_told() {
        let of = |name: &str| Type { name: name.to_owned(), ..Type::default() };
        let read = Read { sources: Vec::new(), is_openfga: false };
        let model = Model { types: vec![of("a_b"), of("a/b")] };
        assert_eq!(
            code(&read, &model).unwrap_err(),
            "`a_b` and `a/b` would both be `AB` in Rust: rename one of them"
        );
    }
}
