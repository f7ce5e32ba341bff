//! Mutations of every known model through every parser: nothing breaks, and what can still be read comes back.
//!
//! A short round always; `FORMWORK_LONG=1` makes it two million executions, `FORMWORK_FUZZ=n` any number, and
//! `FORMWORK_SEED=n` other ones. What was ever found lies in `tests/corpus/found` and is replayed.

use std::panic::catch_unwind;
use std::path::Path;

use formwork_authz::{Schema, format_native};

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

/// A number that follows from the last, after Vigna's xorshift64*.
pub(crate) fn next(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
}

fn executions() -> usize {
    let asked = std::env::var("FORMWORK_FUZZ").ok().and_then(|number| number.parse().ok());
    let long = std::env::var_os("FORMWORK_LONG").is_some();
    asked.unwrap_or(if long { 2_000_000 } else { 3_000 })
}

/// Reads a text, and verifies whatever comes of it.
fn execute(model: &Model) {
    match read(model) {
        Err(error) => {
            assert!(!error.diagnostics().is_empty());
            assert!(!error.to_string().is_empty());
        }
        Ok(schema) => {
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
        }
    }
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
}

fn mutate(text: &str, others: &[Model], state: &mut u64) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=next(state) % 4 {
        let mut below = |limit: usize| next(state) as usize % limit.max(1);
        let at = below(bytes.len());
        let length = below(40).min(bytes.len() - at);
        match below(9) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..at + length)),
            2 => {
                let copy = bytes[at..at + length].to_vec();
                let to = below(bytes.len());
                bytes.splice(to..to, copy);
            }
            3 => {
                let other = others[below(others.len())].text.as_bytes();
                let from = below(other.len());
                let part = &other[from..(from + below(120)).min(other.len())];
                bytes.splice(at..at, part.iter().copied());
            }
            4 => {
                let many =
                    ["(", "[", "{", "((a)+", "- a ", "list<", "/// d\n", "!"][below(8)].repeat(below(300));
                bytes.splice(at..at, many.bytes());
            }
            5 if !bytes.is_empty() => bytes[at] = below(256) as u8,
            _ => {
                bytes.splice(at..at + below(6).min(length), WORDS[below(WORDS.len())].bytes());
            }
        }
    }
    bytes.truncate(20_000);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn mutated_models_break_nothing() {
    let models: Vec<Model> = corpus::ours().into_iter().chain(corpus::peers()).collect();
    let mut state =
        std::env::var("FORMWORK_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x5eed_u64);
    let (executions, mut readable) = (executions(), 0);
    let last = Path::new(env!("CARGO_TARGET_TMPDIR")).join("last_fuzzed.txt");
    for execution in 0..executions {
        let model = &models[next(&mut state) as usize % models.len()];
        let text = mutate(&model.text, &models, &mut state);
        let language = match next(&mut state) % 20 {
            0 => Language::Native,
            1 => Language::OpenFga,
            2 => Language::Json,
            3 => Language::Modules,
            _ => model.language,
        };
        let mutant = Model { name: model.name.clone(), language, text };
        if executions > 10_000 || std::env::var_os("FORMWORK_FUZZ").is_some() {
            // A stack that overflows leaves nothing else behind.
            std::fs::write(&last, &mutant.text).unwrap();
        }
        if catch_unwind(|| execute(&mutant)).is_err() {
            panic!("execution {execution}, {language:?}, from {}:\n{:?}", mutant.name, mutant.text);
        }
        readable += usize::from(read(&mutant).is_ok());
    }
    assert!(readable > executions / 50, "mutants are hardly ever read: {readable} of {executions}");
    println!("{executions} executions, {readable} of them could be read");
}

#[test]
fn what_was_found_stays_mended() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/found");
    let mut replayed = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        for language in [Language::Native, Language::OpenFga, Language::Json, Language::Modules] {
            execute(&Model { name: path.display().to_string(), language, text: text.clone() });
            replayed += 1;
        }
    }
    assert!(replayed > 0);
}
