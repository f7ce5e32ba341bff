//! simple-zanzibar: its schema says what ours says, but that `user:*` is a user of that name to it.

use std::{fmt::Write as _, num::NonZeroU32};

use formwork_authz::{Object, Subject};
use simple_zanzibar::{
    PolicyText, ZanzibarEngine,
    eval::EvaluationLimits,
    model::{LookupResourcesRequest, LookupSubjectsRequest, Relation, User},
};

use super::{Engine, World};
use crate::workload::Question;

const SCHEMA: &str = r#"
  namespace organization { relation admin {} }
  namespace team { relation member {} }
  namespace folder {
    relation parent {}
    relation organization {}
    relation owner {}
    relation viewer {}
    relation view { rewrite union(
      computed_userset(relation: "owner"), computed_userset(relation: "viewer"),
      tuple_to_userset(tupleset: "parent", computed_userset: "view"),
      tuple_to_userset(tupleset: "organization", computed_userset: "admin")) }
  }
  namespace document {
    relation parent {}
    relation owner {}
    relation editor {}
    relation viewer {}
    relation banned {}
    relation view { rewrite exclusion(
      union(computed_userset(relation: "owner"), computed_userset(relation: "editor"),
        computed_userset(relation: "viewer"), tuple_to_userset(tupleset: "parent", computed_userset: "view")),
      computed_userset(relation: "banned")) }
    relation edit { rewrite exclusion(
      union(computed_userset(relation: "owner"), computed_userset(relation: "editor")),
      computed_userset(relation: "banned")) }
  }"#;

/// A loaded engine.
#[derive(Debug)]
pub struct Zanzibar(ZanzibarEngine);

impl Zanzibar {
    /// Loads the tuples as policy text, which is its way to load many.
    pub fn load(world: &World) -> Self {
        let most = NonZeroU32::new(1_000_000).unwrap();
        let limits = EvaluationLimits {
            max_fanout_per_step: most,
            max_lookup_results: most,
            ..EvaluationLimits::default()
        };
        let engine = ZanzibarEngine::builder().evaluation_limits(limits).build();
        let mut tuples = String::new();
        for tuple in &world.relationships {
            writeln!(tuples, "{tuple}{}", followed(tuple.relation())).unwrap();
        }
        let policy = PolicyText::from_single_relationship_file(SCHEMA.to_owned(), tuples);
        engine.apply_policy_text(&policy).unwrap();
        Self(engine)
    }
}

/// What a rewrite follows is a userset to it: the subject names what is asked of it.
fn followed(relation: &str) -> &'static str {
    match relation {
        "parent" => "#view",
        "organization" => "#admin",
        _ => "",
    }
}

fn object(object: &Object) -> simple_zanzibar::model::Object {
    simple_zanzibar::model::Object::new(object.object_type(), object.id())
}

impl Engine for Zanzibar {
    type Asked = (simple_zanzibar::model::Object, Relation, User);

    fn prepare(&self, question: &Question) -> Self::Asked {
        let user = User::user_id(question.subject.id());
        (object(&question.object), Relation::new(question.permission), user)
    }

    fn ask(&self, (object, relation, user): &Self::Asked) -> bool {
        self.0.check_relation(object, relation, user).unwrap()
    }

    fn documents(&self, editor: &Subject) -> Option<usize> {
        let user = User::user_id(editor.id());
        let request = LookupResourcesRequest::new(user, Relation::new("edit"), "document");
        Some(self.0.lookup_resources(&request).unwrap().resources.len())
    }

    fn viewers(&self, document: &Object) -> Option<usize> {
        let request = LookupSubjectsRequest::new(object(document), Relation::new("viewer"), "user");
        Some(self.0.lookup_subjects(&request).unwrap().subjects.len())
    }
}
