//! Macros of formwork-audit, which re-exports them.

mod names;

use names::{Rename, renamed};
use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, Data, DeriveInput, Error, Field, Fields, Generics, Ident, LitStr, Result, parse_quote};

/// Says of each field of a struct who may see it: `#[class(public)]`, `internal`, `confidential` or `restricted`; or
/// `#[class(nested)]` for a field whose type is `Classified` itself.
///
/// A field without an attribute compiles: it counts as restricted, and `unclassified` names it. Names are those that serde
/// writes: `rename`, `rename_all`, `flatten` and `skip` are honoured.
#[proc_macro_derive(Classified, attributes(class))]
pub fn classified(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = syn::parse_macro_input!(input as DeriveInput);
    implement(input).unwrap_or_else(Error::into_compile_error).into()
}

fn implement(input: DeriveInput) -> Result<TokenStream> {
    let expected = "only a struct with named fields can be classified field by field";
    let Data::Struct(data) = &input.data else { return Err(Error::new_spanned(&input.ident, expected)) };
    let Fields::Named(fields) = &data.fields else {
        return Err(Error::new_spanned(&input.ident, expected));
    };
    let all = Serde::of(&input.attrs)?.rename_all;
    let mut entries = Vec::new();
    for field in &fields.named {
        entries.extend(entry(field, all.as_ref())?);
    }
    let name = &input.ident;
    let generics = bound(input.generics.clone());
    let (of_impl, of_type, of_where) = generics.split_for_impl();
    Ok(quote! {
        impl #of_impl ::formwork_audit::classification::Classified for #name #of_type #of_where {
            const FIELDS: &'static [::formwork_audit::classification::Field] = &[#(#entries),*];
        }
    })
}

/// What stands in a generic place is classified too.
fn bound(mut generics: Generics) -> Generics {
    for parameter in generics.type_params_mut() {
        parameter.bounds.push(parse_quote!(::formwork_audit::classification::Classified));
    }
    generics
}

/// The field's line; none for one that is not written.
fn entry(field: &Field, all: Option<&Rename>) -> Result<Option<TokenStream>> {
    let serde = Serde::of(&field.attrs)?;
    let Some(ident) = field.ident.as_ref().filter(|_| !serde.skipped) else { return Ok(None) };
    let plain = ident.to_string();
    let plain = plain.strip_prefix("r#").unwrap_or(&plain);
    let name = match (serde.rename, all) {
        (Some(name), _) => name,
        (None, Some(all)) => renamed(plain, *all),
        (None, None) => plain.to_owned(),
    };
    let of = quote!(::formwork_audit::classification::Field);
    let class = |name: &str| {
        let class = Ident::new(name, proc_macro2::Span::call_site());
        quote!(::formwork_audit::classification::Classification::#class)
    };
    let ty = &field.ty;
    let nested = quote!(<#ty as ::formwork_audit::classification::Classified>::fields);
    if serde.flattened {
        return Ok(Some(quote!(#of::flattened(#nested))));
    }
    Ok(Some(match class_of(&field.attrs)? {
        None => quote!(#of::unclassified(#name)),
        Some(Class::Nested) => quote!(#of::nested(#name, #nested)),
        Some(Class::Is(level)) => {
            let level = class(level);
            quote!(#of::classified(#name, #level))
        }
    }))
}

enum Class {
    Is(&'static str),
    Nested,
}

fn class_of(attributes: &[Attribute]) -> Result<Option<Class>> {
    let mut found = None;
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("class")) {
        let word: Ident = attribute.parse_args()?;
        let class = match word.to_string().as_str() {
            "public" => Class::Is("Public"),
            "internal" => Class::Is("Internal"),
            "confidential" => Class::Is("Confidential"),
            "restricted" => Class::Is("Restricted"),
            "nested" => Class::Nested,
            _ => {
                let expected = "use public, internal, confidential, restricted or nested";
                return Err(Error::new_spanned(word, expected));
            }
        };
        if found.replace(class).is_some() {
            return Err(Error::new_spanned(attribute, "a field has one class"));
        }
    }
    Ok(found)
}

/// What serde is told about how something is written.
#[derive(Default)]
struct Serde {
    rename: Option<String>,
    rename_all: Option<Rename>,
    flattened: bool,
    skipped: bool,
}

impl Serde {
    fn of(attributes: &[Attribute]) -> Result<Self> {
        let mut found = Self::default();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("serde")) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("rename") || meta.path.is_ident("rename_all") {
                    let text = written(&meta)?;
                    if meta.path.is_ident("rename") {
                        found.rename = text.map(|text| text.value());
                    } else if let Some(text) = text {
                        let unknown = || Error::new_spanned(&text, "serde knows no such case");
                        found.rename_all = Some(Rename::of(&text.value()).ok_or_else(unknown)?);
                    }
                    return Ok(());
                }
                found.flattened |= meta.path.is_ident("flatten");
                found.skipped |= meta.path.is_ident("skip") || meta.path.is_ident("skip_serializing");
                // What else stands there, with or without a value.
                if meta.input.peek(syn::Token![=]) {
                    meta.value()?.parse::<syn::Expr>()?;
                } else if meta.input.peek(syn::token::Paren) {
                    meta.parse_nested_meta(|inner| {
                        if inner.input.peek(syn::Token![=]) {
                            inner.value()?.parse::<syn::Expr>()?;
                        }
                        Ok(())
                    })?;
                }
                Ok(())
            })?;
        }
        Ok(found)
    }
}

/// `= "name"`, or of `(serialize = "name", deserialize = "..")` the first.
fn written(meta: &syn::meta::ParseNestedMeta<'_>) -> Result<Option<LitStr>> {
    if meta.input.peek(syn::Token![=]) {
        return meta.value()?.parse().map(Some);
    }
    let mut name = None;
    meta.parse_nested_meta(|inner| {
        let text: LitStr = inner.value()?.parse()?;
        if inner.path.is_ident("serialize") {
            name = Some(text);
        }
        Ok(())
    })?;
    Ok(name)
}
