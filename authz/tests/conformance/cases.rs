//! The cases as they stand in their files: nothing is decided here.

use std::{fs, path::Path, path::PathBuf};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

pub(crate) type Context = Map<String, Value>;

/// The folder of the cases; `None` when it is not there.
pub(crate) fn folder() -> Option<PathBuf> {
    let named = std::env::var_os("CONFORMANCE_DIR").map(PathBuf::from);
    let folder =
        named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/conformance"));
    folder.is_dir().then_some(folder)
}

/// The files below `folder` whose names end so, in the order of their paths.
pub(crate) fn files(folder: &Path, ends: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return found };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.extend(files(&path, ends));
        } else if path.to_string_lossy().ends_with(ends) {
            found.push(path);
        }
    }
    found.sort();
    found
}

pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> T {
    let text = fs::read_to_string(path).unwrap();
    // A number beyond the range of doubles stays text: JSON has no form for it.
    let options =
        serde_saphyr::options! { non_finite_float_policy: serde_saphyr::NonFiniteFloatPolicy::AsString };
    serde_saphyr::from_str_with_options(&text, options)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// OpenFGA's `assets/tests/*.yaml`.
#[derive(Deserialize)]
pub(crate) struct FgaFile {
    pub(crate) tests: Vec<FgaTest>,
}

#[derive(Deserialize)]
pub(crate) struct FgaTest {
    pub(crate) name: String,
    pub(crate) stages: Vec<FgaStage>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FgaStage {
    pub(crate) model: String,
    #[serde(default)]
    pub(crate) tuples: Vec<FgaTuple>,
    #[serde(default)]
    pub(crate) check_assertions: Vec<FgaCheck>,
    #[serde(default)]
    pub(crate) list_objects_assertions: Vec<FgaList<FgaListObjects>>,
    #[serde(default)]
    pub(crate) list_users_assertions: Vec<FgaList<FgaListUsers>>,
}

#[derive(Clone, Deserialize)]
pub(crate) struct FgaTuple {
    pub(crate) user: String,
    pub(crate) relation: String,
    pub(crate) object: String,
    pub(crate) condition: Option<FgaCondition>,
}

#[derive(Clone, Deserialize)]
pub(crate) struct FgaCondition {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) context: Context,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FgaCheck {
    pub(crate) tuple: FgaTuple,
    #[serde(default)]
    pub(crate) contextual_tuples: Vec<FgaTuple>,
    #[serde(default)]
    pub(crate) context: Context,
    #[serde(default)]
    pub(crate) expectation: bool,
    pub(crate) error_code: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FgaList<R> {
    pub(crate) request: R,
    #[serde(default)]
    pub(crate) contextual_tuples: Vec<FgaTuple>,
    #[serde(default)]
    pub(crate) context: Context,
    #[serde(default)]
    pub(crate) expectation: Vec<String>,
    pub(crate) error_code: Option<u32>,
}

#[derive(Deserialize)]
pub(crate) struct FgaListObjects {
    pub(crate) user: String,
    #[serde(rename = "type")]
    pub(crate) object_type: String,
    pub(crate) relation: String,
}

#[derive(Deserialize)]
pub(crate) struct FgaListUsers {
    pub(crate) object: String,
    pub(crate) relation: String,
    pub(crate) filters: Vec<String>,
}
