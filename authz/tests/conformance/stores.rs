//! OpenFGA's sample stores: a model, its tuples, and what their authors expect.

use std::{fs, path::Path};

use formwork_authz::files::{Question, Scenario};

use crate::place::Place;
use crate::report::Report;

pub(crate) fn run(case: &str, path: &Path, place: &Place, report: &mut Report) {
    let folder = path.parent().unwrap();
    let text = fs::read_to_string(path).unwrap();
    let mut files = |name: &str| fs::read_to_string(folder.join(name)).ok();
    let scenario = match Scenario::read(case, &text, &mut files) {
        Ok(scenario) => scenario,
        Err(error) => return report.fail(case, format!("the store is refused: {error}")),
    };
    report.take(case, &scenario.run());
    // The graph of the place must say what the one in memory has said, and so must SQL.
    for test in &scenario.tests {
        let tuples = scenario.relationships.iter().chain(&test.relationships).cloned().collect();
        let there = place.store(&scenario.schema, tuples);
        for one in &test.expectations {
            let context = one.context.clone().into();
            match &one.question {
                Question::Check { object, permission, subject } => {
                    there.check(case, &context, subject, permission, object, report);
                }
                Question::Objects { object_type, permission, subject } if one.context.is_empty() => {
                    there.objects(case, subject, permission, object_type, report);
                }
                Question::Objects { .. } | Question::Subjects { .. } => {}
            }
        }
    }
}
