//! What is printed is read as what it was: every known model, and random ones.

use formwork_authz::{Schema, Source, format_native, format_openfga};
use proptest::prelude::*;

use crate::corpus::{self, Language, Model};

/// Reads a model in its language.
pub(crate) fn read(model: &Model) -> Result<Schema, formwork_authz::SchemaError> {
    match model.language {
        Language::Native => Schema::parse(&model.text),
        Language::OpenFga => Schema::parse_openfga(&model.text),
        Language::Json => Schema::parse_openfga_json(&model.text),
        Language::Modules => {
            let parts = modules(&model.text);
            let sources: Vec<Source<'_>> = parts.iter().map(|(name, text)| Source { name, text }).collect();
            Schema::compose_openfga(&sources)
        }
    }
}

/// `=== name` begins a part.
pub(crate) fn modules(text: &str) -> Vec<(String, String)> {
    let parts = text.split("=== ").skip(1).filter_map(|part| part.split_once('\n'));
    parts.map(|(name, text)| (name.trim().to_owned(), text.to_owned())).collect()
}

/// Every way out and in again, of a model that can be read.
#[track_caller]
pub(crate) fn assert_round_trips(name: &str, schema: &Schema) {
    let mut ways = 0;
    if let Ok(text) = schema.to_native() {
        let again = Schema::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}\n{text}"));
        assert_eq!(again.to_native().unwrap(), text, "{name}");
        assert_eq!(format_native(&text).unwrap(), text, "{name}");
        ways += 1;
    }
    if let Ok(text) = schema.to_openfga() {
        let again = Schema::parse_openfga(&text).unwrap_or_else(|error| panic!("{name}: {error}\n{text}"));
        assert_eq!(again.to_openfga().unwrap(), text, "{name}");
        assert_eq!(format_openfga(&text).unwrap(), text, "{name}");
        ways += 1;
    }
    if let Ok(text) = schema.to_openfga_json() {
        let again =
            Schema::parse_openfga_json(&text).unwrap_or_else(|error| panic!("{name}: {error}\n{text}"));
        assert_eq!(again.to_openfga_json().unwrap(), text, "{name}");
        ways += 1;
    }
    assert!(ways > 0, "{name} can be said in no language");
}

/// In its own language a model comes back as it was.
#[track_caller]
pub(crate) fn assert_lossless(name: &str, language: Language, schema: &Schema) {
    match language {
        Language::Native => {
            let text = schema.to_native().unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(Schema::parse(&text).unwrap() == *schema, "{name}: {text}");
        }
        Language::OpenFga => {
            let text = schema.to_openfga().unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(Schema::parse_openfga(&text).unwrap() == *schema, "{name}: {text}");
        }
        Language::Json | Language::Modules => {}
    }
    if language != Language::Native {
        let text = schema.to_openfga_json().unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(Schema::parse_openfga_json(&text).unwrap() == *schema, "{name}: {text}");
    }
}

#[test]
fn every_known_model_comes_back_as_it_was() {
    let models = corpus::ours().into_iter().chain(corpus::peers());
    let (mut count, mut converted) = (0, 0);
    for model in models {
        let schema = read(&model).unwrap_or_else(|error| panic!("{}: {error}\n{}", model.name, model.text));
        assert_lossless(&model.name, model.language, &schema);
        assert_round_trips(&model.name, &schema);
        if model.language == Language::Native {
            let laid_out = format_native(&model.text).unwrap();
            assert_eq!(format_native(&laid_out).unwrap(), laid_out, "{}", model.name);
            assert!(Schema::parse(&laid_out).unwrap() == schema, "{}: {laid_out}", model.name);
            converted += usize::from(schema.to_openfga().is_ok());
        } else {
            if model.language == Language::OpenFga {
                let laid_out = format_openfga(&model.text).unwrap();
                assert_eq!(format_openfga(&laid_out).unwrap(), laid_out, "{}", model.name);
                let again = Schema::parse_openfga(&laid_out).unwrap();
                assert_eq!(again.to_openfga(), schema.to_openfga(), "{}: {laid_out}", model.name);
            }
            converted += usize::from(schema.to_native().is_ok());
        }
        count += 1;
    }
    println!("{count} models came back as they were, {converted} of them can be said in the other language");
}

/// Decisions taken one after the other from random numbers, so that a failure shrinks with them.
pub(crate) struct Choices<'a>(pub(crate) std::slice::Iter<'a, u16>);

impl Choices<'_> {
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0.next().map_or(0, |&number| number as usize % limit)
    }

    fn one_of<'t>(&mut self, all: &[&'t str]) -> &'t str {
        all[self.below(all.len())]
    }
}

const TYPES: [&str; 4] = ["user", "team", "tenant/doc", "folder"];
const RELATIONS: [&str; 4] = ["r0", "r1", "r2", "parent"];
const PERMISSIONS: [&str; 4] = ["p0", "p1", "p2", "p3"];
const CONDITIONS: [&str; 2] = ["within_limit", "daytime"];

/// A native schema. `stratum` keeps exclusions out of cycles: a permission only excludes relations.
pub(crate) fn random_native(choices: &mut Choices<'_>) -> String {
    let mut text = "use expiration\nuse self\nuse deprecation\n".to_owned();
    text.push_str(
        "/// The most that may be spent.\ncaveat within_limit(amount uint, limit uint) { amount <= limit }\n",
    );
    text.push_str("caveat daytime(hour int, tags list<map<string>>) {\n  hour >= 8 &&\n    hour < 18 || tags.exists(t, 'night' in t) }\n");
    for name in TYPES {
        if choices.below(4) == 0 {
            text.push_str("/** A type,\n * with words. */\n");
        }
        if choices.below(6) == 0 {
            text.push_str("@deprecated(warn, \"say 'no'\")\n");
        }
        text.push_str(&format!("definition {name} {{ // {name}\n"));
        if name != "user" {
            for relation in RELATIONS {
                let subjects: Vec<String> =
                    (0..=choices.below(3)).map(|_| subject(choices, relation)).collect();
                let mut distinct: Vec<String> = Vec::new();
                subjects.into_iter().for_each(|subject| {
                    if !distinct.contains(&subject) {
                        distinct.push(subject);
                    }
                });
                text.push_str(&format!("relation {relation}: {}\n", distinct.join("|")));
            }
            for permission in PERMISSIONS {
                let expression = native(choices, 3, false);
                let with = if choices.below(4) == 0 { " with daytime" } else { "" };
                text.push_str(&format!("permission {permission} = {expression}{with}\n"));
            }
        }
        text.push_str("}\n");
    }
    text
}

fn subject(choices: &mut Choices<'_>, relation: &str) -> String {
    let form = match choices.below(if relation == "parent" { 1 } else { 4 }) {
        0 => ["team", "tenant/doc", "folder"][choices.below(3)].to_owned(),
        1 => "user".to_owned(),
        2 => "user:*".to_owned(),
        _ => format!("{}#{}", ["team", "folder"][choices.below(2)], RELATIONS[choices.below(4)]),
    };
    let with = ["", " with within_limit", " with expiration", " with daytime and expiration"];
    format!("{form}{}", with[choices.below(4)])
}

fn native(choices: &mut Choices<'_>, depth: usize, excluded: bool) -> String {
    let operand = |choices: &mut Choices<'_>, excluded: bool| native(choices, depth - 1, excluded);
    match choices.below(if depth == 0 { 5 } else { 9 }) {
        0 => RELATIONS[choices.below(4)].to_owned(),
        1 if !excluded => PERMISSIONS[choices.below(4)].to_owned(),
        2 if !excluded => format!("parent->{}", RELATIONS[choices.below(4)]),
        3 if !excluded => format!("parent.all({})", PERMISSIONS[choices.below(4)]),
        4 if excluded => "nil".to_owned(),
        5 => format!("({} + {})", operand(choices, excluded), operand(choices, excluded)),
        6 => format!("({} & {})", operand(choices, excluded), operand(choices, excluded)),
        7 => format!("({} - {})", operand(choices, excluded), operand(choices, true)),
        8 => format!("({} with {})", operand(choices, excluded), choices.one_of(&CONDITIONS)),
        _ => "self".to_owned(),
    }
}

/// An OpenFGA model.
pub(crate) fn random_openfga(choices: &mut Choices<'_>) -> String {
    let mut text = "model\n  schema 1.1\n\n# people\ntype user\n".to_owned();
    for name in ["team", "Doc-1", "folder"] {
        text.push_str(&format!("type {name}\n  relations\n    define parent: [folder]\n"));
        for relation in ["r0", "r1", "r2"] {
            if choices.below(5) == 0 {
                text.push_str("    # who may\n    # look\n");
            }
            let expression = openfga(choices, 3, true);
            text.push_str(&format!("    define {relation}: {expression}\n"));
        }
        text.push_str("    define last : [user] # always somebody\n");
    }
    text.push_str("condition xcond(x: int, tags: map<string>) {\n  x < 100 && \"}\" in tags\n}\n");
    text
}

fn openfga(choices: &mut Choices<'_>, depth: usize, first: bool) -> String {
    let all = ["user", "user:*", "team#last", "folder#last", "user with xcond", "folder with xcond"];
    let operand = |choices: &mut Choices<'_>, first: bool| match openfga(choices, depth - 1, first) {
        text if text.contains(" or ") || text.contains(" and ") || text.contains(" but ") => {
            format!("({text})")
        }
        text => text,
    };
    let operator = match choices.below(if depth == 0 { 3 } else { 6 }) {
        0 if first => {
            let start = choices.below(all.len());
            return format!("[{}]", all[start..=(start + choices.below(3)).min(all.len() - 1)].join(", "));
        }
        1 => return "last from parent".to_owned(),
        0 | 2 => return ["last", "parent"][choices.below(2)].to_owned(),
        3 => " or ",
        4 => " and ",
        _ => return format!("{} but not {}", operand(choices, first), operand(choices, false)),
    };
    let mut operands = vec![operand(choices, first)];
    operands.extend((0..=choices.below(2)).map(|_| operand(choices, false)));
    operands.join(operator)
}

fn cases() -> u32 {
    if std::env::var_os("FORMWORK_LONG").is_some() { 20_000 } else { 96 }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_native_schemas_come_back_as_they_were(numbers in prop::collection::vec(any::<u16>(), 0..160)) {
        let text = random_native(&mut Choices(numbers.iter()));
        // Some have no meaning, such as an arrow to nowhere; those that have one come back.
        if let Ok(schema) = Schema::parse(&text) {
            assert_lossless(&text, Language::Native, &schema);
            assert_round_trips(&text, &schema);
            let laid_out = format_native(&text).unwrap();
            prop_assert_eq!(format_native(&laid_out).unwrap(), &*laid_out);
            prop_assert!(Schema::parse(&laid_out).unwrap() == schema);
        }
    }

    #[test]
    fn random_openfga_models_come_back_as_they_were(numbers in prop::collection::vec(any::<u16>(), 0..120)) {
        let text = random_openfga(&mut Choices(numbers.iter()));
        let schema = Schema::parse_openfga(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_lossless(&text, Language::OpenFga, &schema);
        assert_round_trips(&text, &schema);
        if let Ok(native) = schema.to_native() {
            // There and back again: nothing is lost but the version and the comments behind lines.
            prop_assert_eq!(Schema::parse(&native).unwrap().to_openfga().unwrap(), schema.to_openfga().unwrap());
        }
    }
}

/// The generator makes schemas that mean something, so that the property above says something.
#[test]
fn most_random_native_schemas_can_be_read() {
    let mut state = 7_u64;
    let mut read = 0;
    for _ in 0..100 {
        let numbers: Vec<u16> =
            std::iter::repeat_with(|| crate::fuzz::next(&mut state) as u16).take(160).collect();
        read += usize::from(Schema::parse(&random_native(&mut Choices(numbers.iter()))).is_ok());
    }
    assert!(read > 25, "only {read} of 100 can be read");
}

/// The fuzz found it: the brace behind such a comment was put into its line.
#[test]
fn a_comment_that_ends_with_a_brace_swallows_none() {
    let text = "definition user {}\n\ndefinition doc {\n    relation a: user\n    // the last {\n}\n\n// the end {\n";
    assert_eq!(format_native(text).unwrap(), text);
}

/// The fuzz found it: the second of two comments in the middle of a declaration moved each time.
#[test]
fn comments_behind_one_another_stay_where_they_are() {
    let text = "definition user {}\ndefinition doc { relation a: user // one\n /* two */ // three\n | doc }";
    let laid_out = format_native(text).unwrap();
    assert_eq!(
        laid_out,
        "definition user {}\n\ndefinition doc {\n    relation a: user // one\n        /* two */\n        // three\n        | doc\n}\n"
    );
    assert_eq!(format_native(&laid_out).unwrap(), laid_out);
}
