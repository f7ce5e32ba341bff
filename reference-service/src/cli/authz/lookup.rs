//! `formwork authz lookup objects` and `subjects`

use clap::{Args, Subcommand};
use formwork_authz::{Object, Subject};
use serde_json::json;

use super::input::{Given, Sources};
use crate::cli::{Failure, say};

#[derive(Debug, Args)]
pub(crate) struct Lookup {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The objects on which a subject holds a permission.
    Objects(Of<Objects>),
    /// The subjects that hold a permission on an object.
    Subjects(Of<Subjects>),
}

#[derive(Debug, Args)]
struct Of<T: Args> {
    #[command(flatten)]
    target: T,
    #[command(flatten)]
    sources: Sources,
    #[command(flatten)]
    given: Given,
    /// Print the answer as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Objects {
    /// A type, its permission and a subject, as in document#view@user:anna.
    #[arg(value_parser = of_subject)]
    question: (String, String, Subject),
}

#[derive(Debug, Args)]
struct Subjects {
    /// An object, its permission and a type of subject or a userset of it, as in document:7#view@user and
    /// document:7#view@team#member.
    #[arg(value_parser = on_object)]
    question: (Object, String, (String, Option<String>)),
}

fn of_subject(text: &str) -> Result<(String, String, Subject), String> {
    let parts = text.split_once('#').and_then(|(kind, rest)| Some((kind, rest.split_once('@')?)));
    let (kind, (permission, subject)) =
        parts.ok_or("write a type, its permission and a subject, as in document#view@user:anna")?;
    if kind.contains(':') {
        return Err(format!("`{kind}` is one object: write its type alone, or ask with `check`"));
    }
    Ok((kind.to_owned(), permission.to_owned(), subject.parse().map_err(|error| format!("{error}"))?))
}

type OnObject = (Object, String, (String, Option<String>));

fn on_object(text: &str) -> Result<OnObject, String> {
    let parts = text.split_once('#').and_then(|(object, rest)| Some((object, rest.split_once('@')?)));
    let (object, (permission, kind)) =
        parts.ok_or("write an object, its permission and a type of subject, as in document:7#view@user")?;
    if kind.contains(':') {
        return Err(format!("`{kind}` is one subject: write its type alone, or ask with `check`"));
    }
    let object = object.parse().map_err(|error| format!("{error}"))?;
    let kind = match kind.split_once('#') {
        Some((kind, relation)) => (kind.to_owned(), Some(relation.to_owned())),
        None => (kind.to_owned(), None),
    };
    Ok((object, permission.to_owned(), kind))
}

impl Lookup {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.what {
            What::Objects(objects) => objects.run(),
            What::Subjects(subjects) => subjects.run(),
        }
    }
}

impl Of<Objects> {
    fn run(self) -> Result<(), Failure> {
        let (graph, context) = (self.sources.graph()?, self.given.context());
        let (kind, permission, subject) = &self.target.question;
        let page = graph.lookup_objects_in(&context, subject, permission, kind, None, usize::MAX)?;
        if self.json {
            say!("{}", json!({"objects": page.items, "conditional": page.conditional}));
            return Ok(());
        }
        page.items.iter().for_each(|object| say!("{object}"));
        page.conditional
            .iter()
            .for_each(|object| say!("{object}, which depends on values that were not given"));
        Ok(())
    }
}

impl Of<Subjects> {
    fn run(self) -> Result<(), Failure> {
        let (graph, context) = (self.sources.graph()?, self.given.context());
        let (object, permission, (kind, relation)) = &self.target.question;
        let wanted = (kind.as_str(), relation.as_deref());
        let page = graph.lookup_subjects(&context, object, permission, wanted, None, usize::MAX)?;
        if self.json {
            let found = |found: &formwork_authz::FoundSubject| match found.except.is_empty() {
                true => json!({"subject": found.subject}),
                false => json!({"subject": found.subject, "except": found.except}),
            };
            let items: Vec<_> = page.items.iter().map(found).collect();
            let conditional: Vec<_> = page.conditional.iter().map(found).collect();
            say!("{}", json!({"subjects": items, "conditional": conditional}));
            return Ok(());
        }
        let all = page.items.iter().map(|found| (found, "")).chain(
            page.conditional.iter().map(|found| (found, ", which depends on values that were not given")),
        );
        for (found, note) in all {
            let except: Vec<String> = found.except.iter().map(ToString::to_string).collect();
            match except.is_empty() {
                true => say!("{}{note}", found.subject),
                false => say!("{} except {}{note}", found.subject, except.join(", ")),
            }
        }
        Ok(())
    }
}
