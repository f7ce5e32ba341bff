//! Mutations of every known model through the parsers, printers and formatters of all languages.

use formwork_authz::{Schema, format_native, format_openfga};

use super::mutate;
use crate::corpus::{self, Language, Model};
use crate::round_trip::read;

/// Words and signs of all languages.
const WORDS: [&str; 64] = [
    "definition ",
    "relation ",
    "permission ",
    "caveat ",
    "partial p {",
    "...p",
    "import \"x\"",
    "use self\n",
    "use expiration\n",
    " with ",
    " and expiration",
    "nil",
    "self",
    "->",
    ".all(",
    ".any(",
    " + ",
    " & ",
    " - ",
    " | ",
    "user",
    "user:*",
    "#member",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "<",
    ">",
    ":",
    ";",
    "=",
    "@deprecated(warn, \"x\")",
    "/// doc\n",
    "/* c */",
    "// c\n",
    "\"",
    "'",
    "type ",
    "relations",
    "define ",
    "model\n  schema 1.1\n",
    "module m\n",
    "extend type ",
    "condition c(x: int) { x > 1 }\n",
    " or ",
    " and ",
    " but not ",
    " from ",
    "# c\n",
    "\n",
    "\t",
    "é",
    "\u{0}",
    "\"this\": {}",
    "\"union\": {\"child\": [",
    ", ",
    "\"relation\": \"viewer\"",
    "null",
    "1.1",
    "\\",
    "%",
];

/// Reads a text, and verifies whatever comes of it. Tells whether it could be read.
pub(super) fn execute(model: &Model) -> bool {
    if model.language == Language::Native
        && let Ok(laid_out) = format_native(&model.text)
    {
        assert_eq!(format_native(&laid_out).unwrap(), laid_out);
        match (Schema::parse(&model.text), Schema::parse(&laid_out)) {
            (Ok(before), Ok(after)) => assert!(before == after, "{laid_out}"),
            (Err(_), Err(_)) => {}
            (before, after) => panic!("before {before:?}, after {after:?}\n{laid_out}"),
        }
    }
    if model.language == Language::OpenFga
        && let Ok(laid_out) = format_openfga(&model.text)
    {
        assert_eq!(format_openfga(&laid_out).unwrap(), laid_out);
        match (Schema::parse_openfga(&model.text), Schema::parse_openfga(&laid_out)) {
            // As text, where comments count too.
            (Ok(before), Ok(after)) => assert_eq!(before.to_openfga(), after.to_openfga(), "{laid_out}"),
            (Err(_), Err(_)) => {}
            (before, after) => panic!("before {before:?}, after {after:?}\n{laid_out}"),
        }
    }
    let schema = match read(model) {
        Ok(schema) => schema,
        Err(error) => {
            assert!(!error.diagnostics().is_empty());
            assert!(!error.to_string().is_empty());
            return false;
        }
    };
    // The printers verify that what they say is read as the same.
    let native = schema.to_native();
    let (dsl, json) = (schema.to_openfga(), schema.to_openfga_json());
    match model.language {
        Language::Native => assert!(Schema::parse(&native.unwrap()).unwrap() == schema),
        Language::OpenFga => assert!(Schema::parse_openfga(&dsl.unwrap()).unwrap() == schema),
        Language::Json | Language::Modules => {
            assert!(Schema::parse_openfga_json(&json.unwrap()).unwrap() == schema);
        }
    }
    let _ = schema.warnings().iter().map(ToString::to_string).count();
    true
}

#[test]
fn mutated_models_break_nothing() {
    let models: Vec<Model> = corpus::ours().into_iter().chain(corpus::peers()).collect();
    let texts: Vec<&str> = models.iter().map(|model| model.text.as_str()).collect();
    let mut readable = 0;
    let executions = super::round("mutated models", |state, last| {
        let model = &models[super::next(state) as usize % models.len()];
        let text = mutate::text(&model.text, &texts, &WORDS, state);
        let language = match super::next(state) % 20 {
            0 => Language::Native,
            1 => Language::OpenFga,
            2 => Language::Json,
            3 => Language::Modules,
            _ => model.language,
        };
        let mutant = Model { name: model.name.clone(), language, text };
        last.is(&mutant.text);
        readable += usize::from(last.survives(|| execute(&mutant)));
    });
    assert!(
        executions < 100 || readable > executions / 50,
        "mutants are hardly ever read: {readable} of {executions}"
    );
    println!("models: {executions} executions, {readable} of them could be read");
}
