//! Ours: asked by ids that were resolved before, and from strings.

use std::sync::Arc;

use formwork_authz::{Context, Graph, Object, ObjectId, PermissionId, Schema, Subject, SubjectId};

use super::{Engine, World};
use crate::workload::{Question, SCHEMA};

/// The graph that both ask.
pub fn graph(world: &World) -> Arc<Graph> {
    let schema = Arc::new(Schema::parse(SCHEMA).unwrap());
    Arc::new(Graph::load(schema, world.relationships.iter().cloned()))
}

/// Asked by ids.
#[derive(Debug)]
pub struct ByIds {
    graph: Arc<Graph>,
    context: Context,
}

impl ByIds {
    /// Asks this graph.
    pub fn new(graph: &Arc<Graph>) -> Self {
        Self { graph: Arc::clone(graph), context: Context::new() }
    }
}

impl Engine for ByIds {
    type Asked = (SubjectId, PermissionId, ObjectId);

    fn prepare(&self, question: &Question) -> Self::Asked {
        let Question { subject, permission, object, .. } = question;
        let permission = self.graph.permission(object.object_type(), permission).unwrap();
        (self.graph.subject(subject).unwrap(), permission, self.graph.object(object).unwrap())
    }

    fn ask(&self, &(subject, permission, object): &Self::Asked) -> bool {
        self.graph.check_ids(subject, permission, object, &self.context).unwrap().is_allowed()
    }

    fn documents(&self, editor: &Subject) -> Option<usize> {
        let editor = self.graph.subject(editor).unwrap();
        let edit = self.graph.permission("document", "edit").unwrap();
        Some(self.graph.lookup_object_ids(editor, edit, &self.context).unwrap().len())
    }
}

/// Asked from strings.
#[derive(Debug)]
pub struct ByStrings(Arc<Graph>);

impl ByStrings {
    /// Asks this graph.
    pub fn new(graph: &Arc<Graph>) -> Self {
        Self(Arc::clone(graph))
    }
}

impl Engine for ByStrings {
    type Asked = (Subject, &'static str, Object);

    fn prepare(&self, question: &Question) -> Self::Asked {
        (question.subject.clone(), question.permission, question.object.clone())
    }

    fn ask(&self, (subject, permission, object): &Self::Asked) -> bool {
        self.0.check(subject, permission, object).unwrap().is_allowed()
    }

    fn documents(&self, editor: &Subject) -> Option<usize> {
        Some(self.0.lookup_objects(editor, "edit", "document").unwrap().len())
    }

    fn viewers(&self, document: &Object) -> Option<usize> {
        let context = Context::new();
        let viewers = self.0.lookup_subjects(&context, document, "viewer", ("user", None), None, usize::MAX);
        Some(viewers.unwrap().items.len())
    }
}
