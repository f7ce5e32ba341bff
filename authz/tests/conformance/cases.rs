//! The cases as they stand in their files: nothing is decided here.

use std::{collections::BTreeMap, fs, path::Path, path::PathBuf};

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

/// SpiceDB's `testconfigs/*.yaml`.
#[derive(Deserialize)]
pub(crate) struct ZedFile {
    pub(crate) schema: String,
    #[serde(default)]
    pub(crate) relationships: Option<String>,
    #[serde(default)]
    pub(crate) assertions: Option<ZedAssertions>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ZedAssertions {
    pub(crate) assert_true: Option<Vec<String>>,
    pub(crate) assert_caveated: Option<Vec<String>>,
    pub(crate) assert_false: Option<Vec<String>>,
}

impl ZedFile {
    /// One a line, without blank lines and comments; a folded scalar keeps its line ends as blank lines.
    pub(crate) fn relationships(&self) -> impl Iterator<Item = &str> {
        let lines = self.relationships.iter().flat_map(|text| text.lines()).map(str::trim);
        lines.filter(|line| !line.is_empty() && !line.starts_with("//"))
    }
}

/// `type:id#permission@type:id`, and the context behind ` with `.
pub(crate) fn zed_assertion(text: &str) -> (&str, Context) {
    match text.split_once(" with ") {
        None => (text.trim(), Context::new()),
        Some((question, context)) => (question.trim(), serde_json::from_str(context).unwrap()),
    }
}

/// OpenFGA's sample stores, as its command line reads them.
#[derive(Deserialize)]
pub(crate) struct StoreFile {
    pub(crate) model: Option<String>,
    pub(crate) model_file: Option<String>,
    #[serde(default)]
    pub(crate) tuples: Vec<FgaTuple>,
    #[serde(default)]
    pub(crate) tuple_file: Option<String>,
    #[serde(default)]
    pub(crate) tuple_files: Vec<String>,
    #[serde(default)]
    pub(crate) tests: Vec<StoreTest>,
}

#[derive(Deserialize)]
pub(crate) struct StoreTest {
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) tuples: Vec<FgaTuple>,
    #[serde(default)]
    pub(crate) tuple_file: Option<String>,
    #[serde(default)]
    pub(crate) check: Vec<StoreCheck>,
    #[serde(default)]
    pub(crate) list_objects: Vec<StoreListObjects>,
    #[serde(default)]
    pub(crate) list_users: Vec<StoreListUsers>,
}

#[derive(Deserialize)]
pub(crate) struct StoreCheck {
    pub(crate) user: Option<String>,
    #[serde(default)]
    pub(crate) users: Vec<String>,
    pub(crate) object: Option<String>,
    #[serde(default)]
    pub(crate) objects: Vec<String>,
    #[serde(default)]
    pub(crate) context: Context,
    #[serde(default)]
    pub(crate) assertions: BTreeMap<String, bool>,
}

impl StoreCheck {
    pub(crate) fn users(&self) -> impl Iterator<Item = &str> {
        self.user.iter().chain(&self.users).map(String::as_str)
    }

    pub(crate) fn objects(&self) -> impl Iterator<Item = &str> {
        self.object.iter().chain(&self.objects).map(String::as_str)
    }
}

#[derive(Deserialize)]
pub(crate) struct StoreListObjects {
    pub(crate) user: String,
    #[serde(rename = "type")]
    pub(crate) object_type: String,
    #[serde(default)]
    pub(crate) context: Context,
    #[serde(default)]
    pub(crate) assertions: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
pub(crate) struct StoreListUsers {
    pub(crate) object: String,
    pub(crate) user_filter: Vec<StoreFilter>,
    #[serde(default)]
    pub(crate) context: Context,
    #[serde(default)]
    pub(crate) assertions: BTreeMap<String, StoreUsers>,
}

#[derive(Deserialize)]
pub(crate) struct StoreFilter {
    #[serde(rename = "type")]
    pub(crate) user_type: String,
    pub(crate) relation: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct StoreUsers {
    #[serde(default)]
    pub(crate) users: Vec<String>,
}
