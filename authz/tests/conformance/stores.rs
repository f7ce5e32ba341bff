//! OpenFGA's sample stores: a model, its tuples, and what their authors expect.

use std::{fs, path::Path};

use formwork_authz::files::Scenario;

use crate::report::Report;

pub(crate) fn run(case: &str, path: &Path, report: &mut Report) {
    let folder = path.parent().unwrap();
    let text = fs::read_to_string(path).unwrap();
    let mut files = |name: &str| fs::read_to_string(folder.join(name)).ok();
    match Scenario::read(case, &text, &mut files) {
        Ok(scenario) => report.take(case, &scenario.run()),
        Err(error) => report.fail(case, format!("the store is refused: {error}")),
    }
}
