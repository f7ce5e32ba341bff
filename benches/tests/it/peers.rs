//! The section `peers` of the README, and its picture, are of the shape that the program writes.

use formwork_benches::{
    report::{
        BY_NAME, Cell, Measured, NO_LIST, NO_WILDCARD, ONE_TUPLE, OURS, ROWS, Results, Size, plot, shape,
        splice, tables,
    },
    workload::KINDS,
};

const README: &str = include_str!("../../README.md");
const PICTURE: &str = include_str!("../../checks.svg");

/// Rows of the lists.
const DOCUMENTS: usize = KINDS.len();
const USERS: usize = KINDS.len() + 1;

fn engine(name: &str, empty: &[(usize, &'static str)]) -> Measured {
    let mut cells = vec![Cell::Nanos(1.0); ROWS.len()];
    cells[ROWS.len() - 1] = Cell::Bytes(1.0);
    for &(row, reason) in empty {
        cells[row] = Cell::Empty(reason);
    }
    Measured { name: name.to_owned(), cells }
}

/// Figures that are none; which cells are empty is what the program asserts.
fn results() -> Results {
    let public = KINDS.iter().position(|kind| *kind == "wildcard").unwrap();
    let one_query: Vec<(usize, &str)> = (2..=USERS).map(|row| (row, ONE_TUPLE)).collect();
    let engines = vec![
        engine(OURS[0], &[(USERS, BY_NAME)]),
        engine(OURS[1], &[]),
        engine("cedar-policy 0.0.0", &[(USERS, NO_LIST)]),
        engine("simple-zanzibar 0.0.0", &[(public, NO_WILDCARD)]),
        engine("casbin 0.0.0", &[(DOCUMENTS, NO_LIST), (USERS, NO_LIST)]),
        engine("Postgres, one indexed query", &one_query),
        engine("Postgres, one recursive statement", &[]),
    ];
    let sizes = README.matches(" tuples | Formwork, by ids |").count();
    assert_ne!(sizes, 0, "the README has a table");
    Results { sizes: vec![Size { tuples: 1, engines }; sizes] }
}

#[test]
fn the_readme_has_the_tables_that_the_program_writes() {
    let anew = splice(README, &tables(&results())).expect("the README has both marks");
    assert_eq!(shape(README).unwrap(), shape(&anew).unwrap());
}

#[test]
fn the_picture_has_a_bar_or_its_absence_for_every_engine_and_question() {
    let bars = |picture: &str| picture.matches("<rect x=\"250\"").count();
    let drawn = plot(&results().sizes[0]);
    assert_eq!(bars(&drawn), results().sizes[0].engines.len() * (KINDS.len() + 2));
    assert_eq!(bars(PICTURE), bars(&drawn));
}
