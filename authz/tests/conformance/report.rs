//! What a run came to.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Cases that we answer otherwise on purpose, each with its reason.
const DECLARED: &str = include_str!("differences.toml");

#[derive(Deserialize)]
struct Declared {
    #[serde(default)]
    difference: Vec<Difference>,
}

#[derive(Deserialize)]
struct Difference {
    suite: String,
    case: String,
    reason: String,
}

/// Counts of one suite, and what went wrong in it.
pub(crate) struct Report {
    suite: &'static str,
    passed: usize,
    failed: Vec<String>,
    differences: Vec<Difference>,
    met: BTreeMap<String, usize>,
}

impl Report {
    pub(crate) fn new(suite: &'static str) -> Self {
        let declared: Declared = toml::from_str(DECLARED).unwrap();
        let differences = declared.difference.into_iter().filter(|one| one.suite == suite).collect();
        Self { suite, passed: 0, failed: Vec::new(), differences, met: BTreeMap::new() }
    }

    /// One answer: `case` names the file or test, `what` the question.
    pub(crate) fn expect<T: PartialEq + std::fmt::Debug>(
        &mut self,
        case: &str,
        what: &str,
        expected: &T,
        given: &T,
    ) {
        if expected == given {
            self.passed += 1;
        } else {
            self.fail(case, format!("{what}: expected {expected:?}, given {given:?}"));
        }
    }

    /// What a file of expectations came to.
    pub(crate) fn take(&mut self, case: &str, outcome: &formwork_authz::files::Report) {
        self.passed += outcome.passed;
        for failure in &outcome.failures {
            let formwork_authz::files::Failure { line, question, expected, given, .. } = failure;
            self.fail(case, format!("line {line}, {question}: expected {expected}, given {given}"));
        }
        for one in &outcome.misplaced {
            self.fail(case, format!("the schema has no place for {one}"));
        }
    }

    pub(crate) fn fail(&mut self, case: &str, why: String) {
        if self.differences.iter().any(|one| one.case == case) {
            *self.met.entry(case.to_owned()).or_default() += 1;
        } else {
            self.failed.push(format!("{case}: {why}"));
        }
    }

    /// Prints the counts, and fails the test when anything failed that is not declared, or a declared difference
    /// was not met.
    pub(crate) fn finish(self) {
        for one in &self.differences {
            println!("{}: declared difference `{}`: {}", self.suite, one.case, one.reason);
        }
        for failure in self.failed.iter().take(200) {
            println!("{}: FAILED {failure}", self.suite);
        }
        println!(
            "{}: {} passed, {} failed, {} answers in {} declared differences",
            self.suite,
            self.passed,
            self.failed.len(),
            self.met.values().sum::<usize>(),
            self.differences.len(),
        );
        let unmet: Vec<_> = self.differences.iter().filter(|one| !self.met.contains_key(&one.case)).collect();
        assert!(self.failed.is_empty(), "{} answers of {} differ", self.failed.len(), self.suite);
        // Other cases of the suites may be run than those that a difference was found in.
        for one in unmet {
            println!("{}: the declared difference `{}` was not met", self.suite, one.case);
        }
    }
}
