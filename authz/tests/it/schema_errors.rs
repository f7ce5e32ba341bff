//! The page of schema errors: every code is explained, and every example gives its code.

use std::collections::BTreeSet;

use formwork_authz::{Diagnostic, Schema, SchemaError, Source};

use crate::corpus::{Language, Model};
use crate::round_trip::{modules, read};

struct Example {
    code: String,
    language: String,
    text: String,
}

/// The fenced blocks of the page, each with the code of the heading above it.
fn examples(page: &str) -> Vec<Example> {
    let (mut found, mut code, mut open) = (Vec::new(), String::new(), None::<(String, String)>);
    for line in page.lines() {
        match &mut open {
            Some((language, text)) => {
                if line == "```" {
                    let (language, text) = (std::mem::take(language), std::mem::take(text));
                    found.push(Example { code: code.clone(), language, text });
                    open = None;
                } else {
                    text.push_str(line);
                    text.push('\n');
                }
            }
            None => {
                if let Some(heading) = line.strip_prefix("### ") {
                    code = heading.split(' ').next().unwrap().to_owned();
                } else if let Some(language) = line.strip_prefix("```") {
                    open = Some((language.to_owned(), String::new()));
                }
            }
        }
    }
    found
}

fn schema(example: &Example) -> Result<Schema, SchemaError> {
    // What is long is written short.
    let mut text = example.text.clone();
    for (mark, count, part) in [
        ("<a long comment>", 70_000, "// and so on ...\n"),
        ("<100 times \"(\">", 100, "("),
        ("<300 times \"- b\">", 300, "- b "),
    ] {
        text = text.replace(mark, &part.repeat(count));
    }
    if text.contains("<and so on>") {
        let many: String = (0..=500).map(|number| format!("relation r{number}: user\n")).collect();
        text = text.replace("<and so on>", &many);
    }
    if let Some((before, _)) = text.clone().split_once("<70 times>") {
        let layers: String =
            (1..70).map(|number| format!("permission p{number} = r - p{}\n", number - 1)).collect();
        text = format!("{before}{layers}}}");
    }
    if text.contains("<60 types of 450 permissions>") {
        let names: Vec<String> = (0..60).map(|number| format!("t{number}")).collect();
        text = (0..60)
            .map(|number| {
                let permissions: String =
                    (1..450).map(|i| format!("permission p{i} = p{} + up->p{i}\n", i - 1)).collect();
                format!(
                    "definition t{number} {{ relation up: {}\npermission p0 = up->p1\n{permissions}}}\n",
                    names.join("|")
                )
            })
            .collect();
    }
    let parts = modules(&text);
    match example.language.as_str() {
        "zed" if parts.is_empty() => Schema::parse(&text),
        "zed" => {
            let root = Source { name: &parts[0].0, text: &parts[0].1 };
            Schema::parse_with_imports(root, |path| {
                parts.iter().find(|(name, _)| name == path).map(|(_, text)| text.clone())
            })
        }
        "fga" if parts.is_empty() => read(&Model { name: String::new(), language: Language::OpenFga, text }),
        "fga" => read(&Model { name: String::new(), language: Language::Modules, text }),
        "json" => read(&Model { name: String::new(), language: Language::Json, text }),
        other => panic!("what is `{other}`?"),
    }
}

#[test]
fn every_example_of_the_page_gives_its_code() {
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/schema-errors.md")).unwrap();
    let mut shown = BTreeSet::new();
    for example in examples(&page) {
        let result = schema(&example);
        let usable = result.is_ok();
        let codes: Vec<String> = match result {
            Ok(schema) => schema.warnings().iter().map(|warning| warning.code().to_owned()).collect(),
            Err(error) => error.diagnostics().iter().map(|fault| fault.code().to_owned()).collect(),
        };
        let code = &example.code;
        assert!(codes.contains(code), "the example of {code} gives {codes:?}:\n{}", example.text);
        let others: Vec<&String> = codes.iter().filter(|other| *other != code).collect();
        assert!(others.is_empty(), "the example of {code} also gives {others:?}:\n{}", example.text);
        assert_eq!(code.starts_with("F09"), usable, "{code}");
        shown.insert(example.code);
    }
    let all: BTreeSet<String> = Diagnostic::codes().map(str::to_owned).collect();
    assert_eq!(shown, all, "every code has an example, and nothing else has");
    assert_eq!(all.len(), Diagnostic::codes().count(), "no code stands for two things");
}
