//! casbin: roles for users in teams, resource roles for documents in folders, action roles for what a relation gives,
//! and a ban as a policy that denies.
//!
//! Its answer comes from going over every policy, so a matcher of cheap parts first is what helps.

use casbin::{Adapter, CoreApi, DefaultModel, Enforcer, MemoryAdapter, Result};
use tokio::runtime::Builder;

use super::{Engine, World};
use crate::workload::Question;

const MODEL: &str = r#"
[request_definition]
r = sub, obj, act

[policy_definition]
p = sub, obj, act, eft

[role_definition]
g = _, _
g2 = _, _
g3 = _, _

[policy_effect]
e = some(where (p.eft == allow)) && !some(where (p.eft == deny))

[matchers]
m = (r.sub == p.sub || p.sub == "user:*" || g(r.sub, p.sub)) && (r.obj == p.obj || g2(r.obj, p.obj)) && g3(p.act, r.act)
"#;

/// What each relation of a document gives, and of what is above it.
const GIVES: [(&str, &[&str]); 5] = [
    ("owner", &["view", "edit"]),
    ("editor", &["view", "edit"]),
    ("viewer", &["view"]),
    ("banned", &["view", "edit"]),
    ("inherited", &["view"]),
];

/// A loaded enforcer.
pub struct Casbin(Enforcer);

impl std::fmt::Debug for Casbin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Casbin").finish_non_exhaustive()
    }
}

/// Rules by the kind that they are of.
#[derive(Default)]
struct Rules {
    policies: Vec<Vec<String>>,
    teams: Vec<Vec<String>>,
    places: Vec<Vec<String>>,
}

impl Rules {
    fn of(world: &World) -> Self {
        let mut rules = Self::default();
        for tuple in &world.relationships {
            let (object, subject) = (tuple.object().to_string(), tuple.subject().to_string());
            match (tuple.object().object_type(), tuple.relation()) {
                ("team", relation) => rules.teams.push(vec![subject, format!("{object}#{relation}")]),
                (_, "parent" | "organization") => rules.places.push(vec![object, subject]),
                ("document", relation) => {
                    let effect = if relation == "banned" { "deny" } else { "allow" };
                    rules.policies.push(vec![subject, object, relation.to_owned(), effect.to_owned()]);
                }
                _ => {
                    rules.policies.push(vec![subject, object, "inherited".to_owned(), "allow".to_owned()]);
                }
            }
        }
        rules
    }

    async fn enforcer(self) -> Result<Enforcer> {
        let gives = GIVES.iter().flat_map(|(relation, actions)| {
            actions.iter().map(|action| vec![(*relation).to_owned(), (*action).to_owned()])
        });
        let mut adapter = MemoryAdapter::default();
        adapter.add_policies("p", "p", self.policies).await?;
        adapter.add_policies("g", "g", self.teams).await?;
        adapter.add_policies("g", "g2", self.places).await?;
        adapter.add_policies("g", "g3", gives.collect()).await?;
        Enforcer::new(DefaultModel::from_str(MODEL).await?, adapter).await
    }
}

impl Casbin {
    /// Loads the tuples through the adapter that keeps them in memory.
    pub fn load(world: &World) -> Self {
        let runtime = Builder::new_current_thread().build().unwrap();
        Self(runtime.block_on(Rules::of(world).enforcer()).unwrap())
    }
}

impl Engine for Casbin {
    type Asked = (String, String, &'static str);

    fn prepare(&self, question: &Question) -> Self::Asked {
        (question.subject.to_string(), question.object.to_string(), question.permission)
    }

    fn ask(&self, (subject, object, permission): &Self::Asked) -> bool {
        self.0.enforce((subject, object, permission)).unwrap()
    }
}
