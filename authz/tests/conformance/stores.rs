//! OpenFGA's sample stores: a model, its tuples, and what their authors expect.

use std::{collections::BTreeSet, fs, path::Path, sync::Arc};

use formwork_authz::{Relationship, Schema, Source};

use crate::cases::{self, FgaTuple, StoreFile};
use crate::openfga::{Answer, check, list_objects, list_users, relationship};
use crate::place::Place;
use crate::report::Report;

pub(crate) fn run(case: &str, path: &Path, place: &Place, report: &mut Report) {
    let store: StoreFile = cases::read(path);
    let folder = path.parent().unwrap();
    let schema = match schema(&store, folder) {
        Ok(schema) => Arc::new(schema),
        Err(error) => return report.fail(case, format!("the model is refused: {error}")),
    };
    let mut stored = store.tuples.clone();
    for file in store.tuple_file.iter().chain(&store.tuple_files) {
        stored.extend(cases::read::<Vec<FgaTuple>>(&folder.join(file)));
    }
    for test in &store.tests {
        let mut tuples = stored.clone();
        tuples.extend(test.tuples.iter().cloned());
        if let Some(file) = &test.tuple_file {
            tuples.extend(cases::read::<Vec<FgaTuple>>(&folder.join(file)));
        }
        let tuples: Vec<Relationship> = match tuples.iter().map(relationship).collect::<Answer<_>>() {
            Ok(tuples) => tuples,
            Err(_) => return report.fail(case, "a tuple cannot be read".to_owned()),
        };
        let there = place.store(&schema, tuples);
        let graph = &**there.graph();
        if graph.ignored() > 0 {
            report.fail(case, format!("{} tuples have no place in the model", graph.ignored()));
        }
        for one in &test.check {
            for (user, object) in one.users().flat_map(|user| one.objects().map(move |object| (user, object)))
            {
                for (relation, expected) in &one.assertions {
                    let given = check(graph, user, relation, object, &one.context.clone().into());
                    let what = format!("{}: check {user} {relation} {object}", test.name);
                    report.expect(case, &what, &Ok(*expected), &given);
                    let (user, object) = (user.parse().unwrap(), object.parse().unwrap());
                    there.check(case, &one.context.clone().into(), &user, relation, &object, report);
                }
            }
        }
        for one in &test.list_objects {
            for (relation, expected) in &one.assertions {
                let given =
                    list_objects(graph, &one.user, relation, &one.object_type, &one.context.clone().into());
                let what = format!("{}: objects {} {relation} {}", test.name, one.user, one.object_type);
                report.expect(case, &what, &Ok(expected.iter().cloned().collect::<BTreeSet<_>>()), &given);
                there.objects(case, &one.user.parse().unwrap(), relation, &one.object_type, report);
            }
        }
        for one in &test.list_users {
            let filters: Vec<String> = one
                .user_filter
                .iter()
                .map(|filter| match &filter.relation {
                    None => filter.user_type.clone(),
                    Some(relation) => format!("{}#{relation}", filter.user_type),
                })
                .collect();
            for (relation, expected) in &one.assertions {
                let given = list_users(graph, &one.object, relation, &filters, &one.context.clone().into());
                let what = format!("{}: users {} {relation}", test.name, one.object);
                report.expect(
                    case,
                    &what,
                    &Ok(expected.users.iter().cloned().collect::<BTreeSet<_>>()),
                    &given,
                );
            }
        }
    }
}

fn schema(store: &StoreFile, folder: &Path) -> Result<Schema, String> {
    let Some(file) = &store.model_file else {
        return Schema::parse_openfga(store.model.as_deref().unwrap()).map_err(|error| error.to_string());
    };
    let text = fs::read_to_string(folder.join(file)).unwrap();
    if !file.ends_with(".mod") {
        return Schema::parse_openfga(&text).map_err(|error| error.to_string());
    }
    let modules: Vec<(String, String)> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- "))
        .map(|name| (name.to_owned(), fs::read_to_string(folder.join(name)).unwrap()))
        .collect();
    let sources: Vec<Source<'_>> = modules.iter().map(|(name, text)| Source { name, text }).collect();
    Schema::compose_openfga(&sources).map_err(|error| error.to_string())
}
