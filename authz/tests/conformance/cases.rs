//! The cases as they stand in their files: nothing is decided here.

use std::{collections::BTreeMap, fs, path::Path, path::PathBuf};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

pub type Context = Map<String, Value>;

/// The folder of the cases; `None` when it is not there.
pub fn folder() -> Option<PathBuf> {
    let named = std::env::var_os("CONFORMANCE_DIR").map(PathBuf::from);
    let folder = named
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/conformance"));
    folder.is_dir().then_some(folder)
}

/// The files below `folder` whose names end so, in the order of their paths.
pub fn files(folder: &Path, ends: &str) -> Vec<PathBuf> {
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

pub fn read<T: DeserializeOwned>(path: &Path) -> T {
    let text = fs::read_to_string(path).unwrap();
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// OpenFGA's `assets/tests/*.yaml`.
#[derive(Deserialize)]
pub struct FgaFile {
    pub tests: Vec<FgaTest>,
}

#[derive(Deserialize)]
pub struct FgaTest {
    pub name: String,
    pub stages: Vec<FgaStage>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FgaStage {
    pub model: String,
    #[serde(default)]
    pub tuples: Vec<FgaTuple>,
    #[serde(default)]
    pub check_assertions: Vec<FgaCheck>,
    #[serde(default)]
    pub list_objects_assertions: Vec<FgaList<FgaListObjects>>,
    #[serde(default)]
    pub list_users_assertions: Vec<FgaList<FgaListUsers>>,
}

#[derive(Clone, Deserialize)]
pub struct FgaTuple {
    pub user: String,
    pub relation: String,
    pub object: String,
    pub condition: Option<FgaCondition>,
}

#[derive(Clone, Deserialize)]
pub struct FgaCondition {
    pub name: String,
    #[serde(default)]
    pub context: Context,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FgaCheck {
    pub tuple: FgaTuple,
    #[serde(default)]
    pub contextual_tuples: Vec<FgaTuple>,
    #[serde(default)]
    pub context: Context,
    #[serde(default)]
    pub expectation: bool,
    pub error_code: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FgaList<R> {
    pub request: R,
    #[serde(default)]
    pub contextual_tuples: Vec<FgaTuple>,
    #[serde(default)]
    pub context: Context,
    #[serde(default)]
    pub expectation: Vec<String>,
    pub error_code: Option<u32>,
}

#[derive(Deserialize)]
pub struct FgaListObjects {
    pub user: String,
    #[serde(rename = "type")]
    pub object_type: String,
    pub relation: String,
}

#[derive(Deserialize)]
pub struct FgaListUsers {
    pub object: String,
    pub relation: String,
    pub filters: Vec<String>,
}

/// SpiceDB's `testconfigs/*.yaml`.
#[derive(Deserialize)]
pub struct ZedFile {
    pub schema: String,
    #[serde(default)]
    pub relationships: Option<String>,
    #[serde(default)]
    pub assertions: Option<ZedAssertions>,
    #[serde(default)]
    pub validation: Option<BTreeMap<String, Vec<String>>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ZedAssertions {
    pub assert_true: Option<Vec<String>>,
    pub assert_caveated: Option<Vec<String>>,
    pub assert_false: Option<Vec<String>>,
}

impl ZedFile {
    /// One a line, without blank lines and comments; a folded scalar keeps its line ends as blank lines.
    pub fn relationships(&self) -> impl Iterator<Item = &str> {
        let lines = self.relationships.iter().flat_map(|text| text.lines()).map(str::trim);
        lines.filter(|line| !line.is_empty() && !line.starts_with("//"))
    }
}

/// `type:id#permission@type:id`, and the context behind ` with `.
pub fn zed_assertion(text: &str) -> (&str, Context) {
    match text.split_once(" with ") {
        None => (text.trim(), Context::new()),
        Some((question, context)) => (question.trim(), serde_json::from_str(context).unwrap()),
    }
}

/// OpenFGA's sample stores, as its command line reads them.
#[derive(Deserialize)]
pub struct StoreFile {
    pub model: Option<String>,
    pub model_file: Option<String>,
    #[serde(default)]
    pub tuples: Vec<FgaTuple>,
    #[serde(default)]
    pub tuple_file: Option<String>,
    #[serde(default)]
    pub tuple_files: Vec<String>,
    #[serde(default)]
    pub tests: Vec<StoreTest>,
}

#[derive(Deserialize)]
pub struct StoreTest {
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub tuples: Vec<FgaTuple>,
    #[serde(default)]
    pub tuple_file: Option<String>,
    #[serde(default)]
    pub check: Vec<StoreCheck>,
    #[serde(default)]
    pub list_objects: Vec<StoreListObjects>,
    #[serde(default)]
    pub list_users: Vec<StoreListUsers>,
}

#[derive(Deserialize)]
pub struct StoreCheck {
    pub user: Option<String>,
    #[serde(default)]
    pub users: Vec<String>,
    pub object: Option<String>,
    #[serde(default)]
    pub objects: Vec<String>,
    #[serde(default)]
    pub context: Context,
    #[serde(default)]
    pub assertions: BTreeMap<String, bool>,
}

impl StoreCheck {
    pub fn users(&self) -> impl Iterator<Item = &str> {
        self.user.iter().chain(&self.users).map(String::as_str)
    }

    pub fn objects(&self) -> impl Iterator<Item = &str> {
        self.object.iter().chain(&self.objects).map(String::as_str)
    }
}

#[derive(Deserialize)]
pub struct StoreListObjects {
    pub user: String,
    #[serde(rename = "type")]
    pub object_type: String,
    #[serde(default)]
    pub context: Context,
    #[serde(default)]
    pub assertions: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
pub struct StoreListUsers {
    pub object: String,
    pub user_filter: Vec<StoreFilter>,
    #[serde(default)]
    pub context: Context,
    #[serde(default)]
    pub assertions: BTreeMap<String, StoreUsers>,
}

#[derive(Deserialize)]
pub struct StoreFilter {
    #[serde(rename = "type")]
    pub user_type: String,
    pub relation: Option<String>,
}

#[derive(Deserialize)]
pub struct StoreUsers {
    #[serde(default)]
    pub users: Vec<String>,
}
