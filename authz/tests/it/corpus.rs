//! The models that the tests of the languages share: ours in `tests/corpus`, and the peers' where they stand.

use std::path::{Path, PathBuf};

use serde_norway::Value;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    Native,
    OpenFga,
    Json,
    Modules,
}

pub(crate) struct Model {
    pub(crate) name: String,
    pub(crate) language: Language,
    pub(crate) text: String,
}

/// Our own models: what the extension of a file says is its language.
pub(crate) fn ours() -> Vec<Model> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut models = Vec::new();
    for path in files(&folder) {
        let language = match path.extension().and_then(|extension| extension.to_str()) {
            Some("zed") => Language::Native,
            Some("fga") => Language::OpenFga,
            Some("json") => Language::Json,
            Some("modules") => Language::Modules,
            _ => continue,
        };
        let text = std::fs::read_to_string(&path).unwrap();
        models.push(Model { name: path.display().to_string(), language, text });
    }
    assert!(models.len() >= 10, "the corpus of models is not where it was");
    models
}

/// The models of the peers' suites: none when the suites are not there.
pub(crate) fn peers() -> Vec<Model> {
    let folder = std::env::var_os("CONFORMANCE_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/conformance"),
        PathBuf::from,
    );
    let mut models = Vec::new();
    for path in files(&folder) {
        let name = path.strip_prefix(&folder).unwrap().display().to_string();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if !matches!(extension, Some("yaml" | "fga")) {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        if extension == Some("fga") {
            models.push(Model { name, language: Language::OpenFga, text });
            continue;
        }
        let root: Value = serde_norway::from_str(&text).unwrap();
        if let Some(schema) = root.get("schema").and_then(Value::as_str) {
            models.push(Model { name, language: Language::Native, text: schema.to_owned() });
            continue;
        }
        if let Some(model) = root.get("model").and_then(Value::as_str) {
            models.push(Model { name: name.clone(), language: Language::OpenFga, text: model.to_owned() });
        }
        for test in root.get("tests").and_then(Value::as_sequence).into_iter().flatten() {
            for stage in test.get("stages").and_then(Value::as_sequence).into_iter().flatten() {
                let test = test["name"].as_str().unwrap_or_default();
                let model = stage["model"].as_str().unwrap().to_owned();
                models.push(Model {
                    name: format!("{name}: {test}"),
                    language: Language::OpenFga,
                    text: model,
                });
            }
        }
    }
    models
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![folder.to_owned()];
    while let Some(folder) = todo.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() { todo.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}
