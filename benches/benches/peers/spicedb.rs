//! Tuples and questions for SpiceDB, which runs in a program of another language: a JSON object a line.

use std::io::{BufWriter, Write as _, stdout};

use formwork_authz::{Object, Subject};
use formwork_benches::{
    peers::World,
    workload::{KINDS, SCHEMA},
};
use serde_json::{Value, json};

use crate::contestants::questions;

/// Questions of a kind.
const FEW: usize = 100;

fn object(object: &Object) -> Value {
    json!([object.object_type(), object.id()])
}

fn subject(subject: &Subject) -> Value {
    json!([subject.subject_type(), subject.id(), subject.relation()])
}

/// Writes all of it to the standard output.
pub(crate) fn write(world: &World) {
    let mut out = BufWriter::new(stdout().lock());
    writeln!(out, "{}", json!({ "schema": SCHEMA })).unwrap();
    for tuple in &world.relationships {
        let tuple = json!([object(tuple.object()), tuple.relation(), subject(tuple.subject())]);
        writeln!(out, "{}", json!({ "tuple": tuple })).unwrap();
    }
    for kind in KINDS {
        for question in questions(world, kind, FEW) {
            let line = json!({
                "kind": kind,
                "object": object(&question.object),
                "permission": question.permission,
                "subject": subject(&question.subject),
                "answer": question.answer.is_allowed(),
            });
            writeln!(out, "{line}").unwrap();
        }
    }
}
