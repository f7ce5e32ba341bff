//! Who holds a permission, as a tree: the rule of the schema with the stored subjects in it.

use rustc_hash::FxHashSet;

use crate::error::{CheckError, TooComplex};
use crate::graph::Graph;
use crate::graph::ids::ABSENT_OBJECT;
use crate::object::Object;
use crate::relationship::Relationship;
use crate::schema::{Rule, SubjectKind};

/// Nodes of one tree.
const MAX_NODES: usize = 200_000;
/// Rules below each other, operations counted too; deeper ones stay closed. Each costs stack.
const MAX_DEPTH: usize = 300;

/// A relation or permission of an object, and who holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expansion {
    /// The object.
    pub object: Object,
    /// Its relation or permission.
    pub permission: String,
    /// Who holds it; `None` when the same stands open elsewhere in the tree, or too deep to be opened.
    pub tree: Option<Tree>,
}

/// Who holds something: a rule with what is stored in place of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tree {
    /// Nobody.
    Nobody,
    /// The object itself.
    Itself,
    /// The subjects of these relationships; behind each userset that stands in one, who that is.
    Stored {
        /// As they are stored, with condition and expiry.
        relationships: Vec<Relationship>,
        /// Of the usersets among them.
        usersets: Vec<Expansion>,
    },
    /// Another relation or permission, of the same object.
    Computed(Box<Expansion>),
    /// Who holds something on one of the objects.
    Any(Vec<(Relationship, Option<Expansion>)>),
    /// Who holds something on every one of the objects, of which there is at least one.
    All(Vec<(Relationship, Option<Expansion>)>),
    /// Who is in one of them.
    Union(Vec<Tree>),
    /// Who is in all of them.
    Intersection(Vec<Tree>),
    /// Who is in the first and not in the second.
    Exclusion(Box<Tree>, Box<Tree>),
    /// Who is in it, while the condition of the name holds.
    Conditional(Box<Tree>, String),
}

impl Graph {
    /// Who holds the permission on the object, as a tree. Relationships that have expired are in it as
    /// well, and say so themselves.
    ///
    /// # Errors
    ///
    /// [`CheckError`] when the type or the permission is not in the schema, or the tree would be too
    /// large.
    pub fn expand(&self, permission: &str, object: &Object) -> Result<Expansion, CheckError> {
        let type_id = self.type_id(object.object_type())?;
        let slot = self.group_of(type_id, permission)?;
        let number = match self.state.find(type_id, object.id()) {
            Some(number) => number,
            None => {
                object.validate()?;
                ABSENT_OBJECT
            }
        };
        let mut expand = Expand { graph: self, root: object, seen: FxHashSet::default(), nodes: 0 };
        let expansion = expand.slot(slot, number, 0);
        if expand.nodes > MAX_NODES {
            return Err(TooComplex::new("objects", MAX_NODES).into());
        }
        Ok(expansion)
    }
}

struct Expand<'g> {
    graph: &'g Graph,
    /// Stands for an object that is not in the graph.
    root: &'g Object,
    seen: FxHashSet<(u32, u32)>,
    nodes: usize,
}

impl Expand<'_> {
    fn slot(&mut self, slot: u32, object: u32, depth: usize) -> Expansion {
        let schema = &self.graph.schema;
        let info = schema.slot(slot);
        let type_id = info.map_or(0, |info| info.type_id);
        let named = match self.graph.state.name(type_id, object) {
            Some(id) => Object::new(schema.type_name(type_id).to_owned(), id),
            None => self.root.clone(),
        };
        self.nodes += 1;
        let open = depth < MAX_DEPTH && self.nodes <= MAX_NODES && self.seen.insert((slot, object));
        let tree = info.filter(|_| open).map(|info| self.tree(slot, &info.rule, object, depth + 1));
        Expansion {
            object: named,
            permission: info.map_or(String::new(), |info| info.name.to_string()),
            tree,
        }
    }

    /// Recursion is bounded: by [`MAX_DEPTH`], and by the depth of one rule more.
    fn tree(&mut self, slot: u32, rule: &Rule, object: u32, depth: usize) -> Tree {
        match rule {
            Rule::Nil => Tree::Nobody,
            Rule::Itself => Tree::Itself,
            Rule::This => self.stored(slot, object, depth),
            Rule::Slot(named) => Tree::Computed(Box::new(self.slot(*named, object, depth))),
            Rule::Arrow { relation, all, targets } => {
                let over = self.over(*relation, targets, object, depth);
                if *all { Tree::All(over) } else { Tree::Any(over) }
            }
            Rule::Union(rules) => Tree::Union(self.trees(slot, rules, object, depth)),
            Rule::Intersection(rules) => Tree::Intersection(self.trees(slot, rules, object, depth)),
            Rule::Exclusion(base, taken) => {
                let base = self.tree(slot, base, object, depth + 1);
                Tree::Exclusion(Box::new(base), Box::new(self.tree(slot, taken, object, depth + 1)))
            }
            Rule::Conditional(rule, condition) => {
                let name = self.graph.schema.condition(*condition).map_or("", |condition| condition.name());
                Tree::Conditional(Box::new(self.tree(slot, rule, object, depth + 1)), name.to_owned())
            }
        }
    }

    fn trees(&mut self, slot: u32, rules: &[Rule], object: u32, depth: usize) -> Vec<Tree> {
        rules.iter().map(|rule| self.tree(slot, rule, object, depth + 1)).collect()
    }

    /// Every relationship of a relation, with the edge and the number of its subject.
    fn relationships(&self, slot: u32, object: u32) -> Vec<(u32, u32, Relationship)> {
        let graph = self.graph;
        let edges = graph.schema.slot(slot).map_or(&[][..], |info| &info.edges);
        let mut all = Vec::new();
        for &edge in edges {
            for guarded in [false, true] {
                let list = graph.state.list(&graph.schema, edge, object, guarded);
                all.extend(
                    list.iter().filter_map(|subject| {
                        Some((edge, subject, graph.relationship(edge, object, subject)?))
                    }),
                );
            }
        }
        all
    }

    fn stored(&mut self, slot: u32, object: u32, depth: usize) -> Tree {
        let (mut relationships, mut usersets) = (Vec::new(), Vec::new());
        for (edge, subject, relationship) in self.relationships(slot, object) {
            self.nodes += 1;
            relationships.push(relationship);
            if let Some(SubjectKind::Userset(slot)) = self.graph.schema.edge(edge).map(|info| info.subject) {
                usersets.push(self.slot(slot, subject, depth));
            }
        }
        Tree::Stored { relationships, usersets }
    }

    fn over(
        &mut self,
        relation: u32,
        targets: &[(u32, u32)],
        object: u32,
        depth: usize,
    ) -> Vec<(Relationship, Option<Expansion>)> {
        let mut over = Vec::new();
        for (edge, subject, relationship) in self.relationships(relation, object) {
            self.nodes += 1;
            let lanes = self.graph.schema.program.layout.edge(edge);
            if lanes.wildcard {
                continue;
            }
            let target = targets.iter().find(|(type_id, _)| *type_id == lanes.subject_type);
            over.push((relationship, target.map(|&(_, target)| self.slot(target, subject, depth))));
        }
        over
    }
}
