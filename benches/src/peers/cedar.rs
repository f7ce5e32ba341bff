//! cedar-policy: users are in teams and teams in teams, as parents; who holds what on a document or folder stands in
//! its attributes; one policy for each permission.
//!
//! Cedar's policies cannot recurse: the one for `view` is written out for folders to the depth that the workload has.
//! Everyone is an attribute too, as Cedar has no wildcard.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write as _,
    str::FromStr,
};

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid, PolicySet, Request,
    RestrictedExpression,
};
use formwork_authz::{Object, Subject};

use super::{Engine, World};
use crate::workload::{LEVELS, Question};

/// Entities, policies and the authorizer.
#[derive(Debug)]
pub struct Cedar {
    authorizer: Authorizer,
    policies: PolicySet,
    entities: Entities,
    documents: Vec<EntityUid>,
}

/// Attributes and parents of an entity before it is made.
#[derive(Default)]
struct Draft {
    parents: HashSet<EntityUid>,
    /// Relations of many.
    sets: HashMap<&'static str, Vec<EntityUid>>,
    /// Relations of one.
    ones: HashMap<&'static str, EntityUid>,
    public: bool,
}

fn uid(object_type: &str, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(EntityTypeName::from_str(object_type).unwrap(), EntityId::new(id))
}

fn uid_of(object: &Object) -> EntityUid {
    uid(object.object_type(), object.id())
}

fn one(relation: &str) -> Option<&'static str> {
    ["parent", "organization", "owner"].into_iter().find(|name| *name == relation)
}

fn many(relation: &str) -> &'static str {
    ["viewer", "editor", "banned", "admin"].into_iter().find(|name| *name == relation).unwrap()
}

/// Does the principal see this folder, or one above it, down to so many levels?
fn folder(path: &str, levels: usize) -> String {
    let mut text = format!(
        "principal == {path}.owner || ({path} has viewer && principal in {path}.viewer) || \
         ({path} has organization && {path}.organization has admin && {path}.organization.admin.contains(principal))"
    );
    if levels > 1 {
        write!(text, " || ({path} has parent && ({}))", folder(&format!("{path}.parent"), levels - 1))
            .unwrap();
    }
    text
}

fn policies() -> PolicySet {
    let held = |relation: &str| format!("(resource has {relation} && principal in resource.{relation})");
    let (owner, editor, viewer) = (held("owner"), held("editor"), held("viewer"));
    let folders = folder("resource.parent", LEVELS);
    let text = format!(
        r#"permit (principal, action == Action::"view", resource) when {{
             resource.public || {owner} || {editor} || {viewer} || (resource has parent && ({folders})) }};
           permit (principal, action == Action::"edit", resource) when {{ {owner} || {editor} }};
           permit (principal, action == Action::"owner", resource) when {{ {owner} }};
           forbid (principal, action in [Action::"view", Action::"edit"], resource) when {{
             resource has banned && resource.banned.contains(principal) }};"#
    );
    PolicySet::from_str(&text).unwrap()
}

impl Draft {
    fn entity(self, uid: EntityUid) -> Entity {
        let reference = |uid: EntityUid| RestrictedExpression::new_entity_uid(uid);
        let sets = self.sets.into_iter().map(|(name, uids)| {
            (name.to_owned(), RestrictedExpression::new_set(uids.into_iter().map(reference)))
        });
        let ones = self.ones.into_iter().map(|(name, uid)| (name.to_owned(), reference(uid)));
        let mut attributes: HashMap<String, RestrictedExpression> = sets.chain(ones).collect();
        if uid.type_name().basename() == "document" {
            attributes.insert("public".to_owned(), RestrictedExpression::new_bool(self.public));
        }
        Entity::new(uid, attributes, self.parents).unwrap()
    }
}

impl Cedar {
    /// Makes an entity of every object.
    pub fn load(world: &World) -> Self {
        let mut drafts: HashMap<EntityUid, Draft> = HashMap::new();
        for tuple in &world.relationships {
            let (object, subject) = (uid_of(tuple.object()), tuple.subject());
            let holder = uid_of(subject.object());
            if tuple.relation() == "member" {
                drafts.entry(holder).or_default().parents.insert(object);
            } else if subject.is_wildcard() {
                drafts.entry(object).or_default().public = true;
            } else if let Some(relation) = one(tuple.relation()) {
                drafts.entry(object).or_default().ones.insert(relation, holder);
            } else {
                let relation = many(tuple.relation());
                drafts.entry(object).or_default().sets.entry(relation).or_default().push(holder);
            }
        }
        let is_document = |uid: &&EntityUid| uid.type_name().basename() == "document";
        let documents = drafts.keys().filter(is_document).cloned().collect();
        let entities = drafts.into_iter().map(|(uid, draft)| draft.entity(uid));
        let entities = Entities::from_entities(entities, None).unwrap();
        Self { authorizer: Authorizer::new(), policies: policies(), entities, documents }
    }

    fn request(subject: EntityUid, permission: &str, object: EntityUid) -> Request {
        Request::new(subject, uid("Action", permission), object, Context::empty(), None).unwrap()
    }
}

impl Engine for Cedar {
    type Asked = Request;

    fn prepare(&self, question: &Question) -> Request {
        let subject = uid_of(question.subject.object());
        Self::request(subject, question.permission, uid_of(&question.object))
    }

    fn ask(&self, request: &Request) -> bool {
        self.authorizer.is_authorized(request, &self.policies, &self.entities).decision() == Decision::Allow
    }

    /// It has no lists: every document is asked about.
    fn documents(&self, editor: &Subject) -> Option<usize> {
        let editor = uid_of(editor.object());
        let may_edit =
            |document: &&EntityUid| self.ask(&Self::request(editor.clone(), "edit", (*document).clone()));
        Some(self.documents.iter().filter(may_edit).count())
    }
}
