//! `formwork authz test`

use clap::Args;
use formwork_authz::files::{Answer, Report};
use serde_json::{Value, json};

use super::input::Text;
use crate::cli::{Exit, Failure, say};

#[derive(Debug, Args)]
pub(crate) struct Test {
    /// Files of expectations: `.fga.yaml`, or validation files of `zed`; `-` is standard input.
    #[arg(required = true)]
    files: Vec<String>,
    /// Print the outcome as JSON.
    #[arg(long)]
    json: bool,
}

impl Test {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (mut outcomes, mut is_met) = (Vec::new(), true);
        for path in &self.files {
            let file = Text::read(path)?;
            let report = file.scenario()?.run();
            is_met &= report.failures.is_empty() && report.misplaced.is_empty();
            match self.json {
                true => outcomes.push(json(&file.name, &report)),
                false => tell(&file.name, &report),
            }
        }
        if self.json {
            say!("{}", serde_json::to_string_pretty(&outcomes)?);
        }
        if is_met { Ok(()) } else { Err(Exit(1).into()) }
    }
}

fn tell(name: &str, report: &Report) {
    for one in &report.misplaced {
        say!("{name}: the schema has no place for {one}");
    }
    for failure in &report.failures {
        let test = if failure.test.is_empty() { String::new() } else { format!(" in `{}`", failure.test) };
        say!("{name}:{}: {}{test}", failure.line, failure.question);
        match (&failure.expected, &failure.given) {
            (Answer::List(expected), Answer::List(given)) => {
                let list = |these: Vec<&String>| {
                    these.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ")
                };
                let missing = list(expected.difference(given).collect());
                let surplus = list(given.difference(expected).collect());
                if !missing.is_empty() {
                    say!("    missing:  {missing}");
                }
                if !surplus.is_empty() {
                    say!("    too many: {surplus}");
                }
            }
            (expected, given) => {
                say!("    expected: {expected}");
                say!("    is:       {given}");
            }
        }
    }
    let (passed, failed) = (report.passed, report.failures.len());
    say!("{name}: {passed} passed, {failed} failed");
}

fn json(name: &str, report: &Report) -> Value {
    let answer = |answer: &Answer| match answer {
        Answer::List(list) => json!(list),
        other => json!(other.to_string()),
    };
    let failures: Vec<Value> = report
        .failures
        .iter()
        .map(|failure| {
            json!({"test": failure.test, "line": failure.line, "question": failure.question,
                   "expected": answer(&failure.expected), "given": answer(&failure.given)})
        })
        .collect();
    json!({"file": name, "passed": report.passed, "failed": failures.len(), "failures": failures,
           "misplaced": report.misplaced})
}
