//! Hierarchies are kept by object: whatever is moved, the answers are those of a walk from below.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use formwork_authz::{Change, Context, Decision, Graph, Object, Relationship, Schema, Subject, rel};

const FOLDERS: &str = "
    definition user {}
    definition folder {
        relation parent: folder
        relation other: folder with expiration
        relation viewer: user
        relation banned: user
        permission view = viewer + parent->view
        permission both = viewer + parent->both + other->both
        permission kept = (viewer + parent->kept) - banned
    }";

fn load(relationships: impl IntoIterator<Item = Relationship>) -> Graph {
    Graph::load(Arc::new(Schema::parse(&format!("use expiration\n{FOLDERS}")).unwrap()), relationships)
}

fn allowed(graph: &Graph, permission: &str, folder: u32) -> bool {
    let (anna, folder) = (Subject::new("user", "anna"), Object::new("folder", folder));
    graph.check(&anna, permission, &folder).unwrap() == Decision::Allowed
}

/// Numbers without a pattern.
fn random() -> impl FnMut(u32) -> u32 {
    let mut seed = 11_u64;
    move |below| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as u32 % below
    }
}

#[test]
fn moves_and_cycles_have_the_answers_of_a_walk() {
    const FOLDERS: u32 = 40;
    let mut random = random();
    let mut graph = load([rel!("folder:0#viewer@user:anna")]);
    let mut parents: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    for _ in 0..600 {
        let (child, parent) = (random(FOLDERS), random(FOLDERS));
        let edge = rel!("folder:{child}#parent@folder:{parent}");
        if random(3) > 0 && parents.values().map(BTreeSet::len).sum::<usize>() < 45 {
            parents.entry(child).or_default().insert(parent);
            graph = graph.apply(&[Change::Touch(edge)]);
        } else if let Some(of_child) = parents.get_mut(&child) {
            let Some(parent) = of_child.pop_first() else { continue };
            graph = graph.apply(&[Change::Delete(rel!("folder:{child}#parent@folder:{parent}"))]);
        }
        let mut below = BTreeSet::from([0]);
        while let Some((&next, _)) =
            parents.iter().find(|(child, of)| !below.contains(child) && !of.is_disjoint(&below))
        {
            below.insert(next);
        }
        for folder in 0..FOLDERS {
            for permission in ["view", "both", "kept"] {
                assert_eq!(
                    allowed(&graph, permission, folder),
                    below.contains(&folder),
                    "{permission} {folder}"
                );
            }
        }
    }
}

#[test]
fn what_is_above_is_followed_over_relationships_that_expire() {
    let later = chrono::Utc::now() + chrono::Duration::days(1);
    let expiring = |child: u32, parent: u32| rel!("folder:{child}#other@folder:{parent}").expiring_at(later);
    let graph = load([
        rel!("folder:0#viewer@user:anna"),
        rel!("folder:1#parent@folder:0"),
        expiring(2, 1),
        rel!("folder:3#parent@folder:2"),
        rel!("folder:4#parent@folder:3"),
    ]);
    assert!(allowed(&graph, "both", 4));
    assert!(!allowed(&graph, "view", 4));
    let expired = Context::new().at(later);
    let (anna, folder) = (Subject::new("user", "anna"), Object::new("folder", 4));
    assert_eq!(graph.check_in(&expired, &anna, "both", &folder).unwrap(), Decision::Denied);
}

#[test]
fn a_hierarchy_deeper_than_what_is_kept_has_answers() {
    let depth = 5_000_u32;
    let parents = (1..depth).map(|folder| {
        let parent = folder - 1;
        rel!("folder:{folder}#parent@folder:{parent}")
    });
    let graph = load(parents.chain([rel!("folder:0#viewer@user:anna"), rel!("folder:100#banned@user:anna")]));
    for folder in [1, 40, 47, 48, 49, 50, 99, 100, depth - 1] {
        assert!(allowed(&graph, "view", folder), "{folder}");
        assert_eq!(allowed(&graph, "kept", folder), folder < 100, "{folder}");
    }
    let cut = graph.apply(&[Change::Delete(rel!("folder:1#parent@folder:0"))]);
    assert!((1..depth).step_by(97).all(|folder| !allowed(&cut, "view", folder)));
}

#[test]
fn questions_in_one_call_have_their_own_answers() {
    let graph = load((1..100_u32).flat_map(|folder| {
        let parent = folder / 2;
        [
            Some(rel!("folder:{folder}#parent@folder:{parent}")),
            (folder % 7 == 0).then(|| rel!("folder:{folder}#viewer@user:anna")),
        ]
        .into_iter()
        .flatten()
    }));
    let context = Context::new();
    let view = graph.permission("folder", "view").unwrap();
    let subjects = ["anna", "nobody"].map(|name| graph.subject(&Subject::new("user", name)).unwrap());
    let objects: Vec<Object> = (0..120_u32).map(|folder| Object::new("folder", folder)).collect();
    let ids: Vec<_> = objects.iter().map(|object| graph.object(object).unwrap()).collect();
    let asked: Vec<_> = ids.iter().flat_map(|&id| subjects.map(|subject| (subject, view, id))).collect();
    let one_by_one: Vec<_> =
        asked.iter().map(|&(s, p, o)| graph.check_ids(s, p, o, &context).unwrap()).collect();
    assert_eq!(graph.check_many_ids(&asked, &context).unwrap(), one_by_one);
    let of_anna: Vec<_> = one_by_one.iter().step_by(2).cloned().collect();
    assert_eq!(graph.check_many(&Subject::new("user", "anna"), "view", &objects).unwrap(), of_anna);
    let kept = graph.filter_ids(subjects[0], view, &ids, &context).unwrap();
    let held: Vec<_> = ids.iter().zip(&of_anna).filter(|(_, d)| d.is_allowed()).map(|(id, _)| *id).collect();
    assert!(!held.is_empty() && held.len() < ids.len());
    assert_eq!(kept, held);
}

/// More lies below a change than is put in order again for it: what was kept is given up, and the answers stay right.
#[test]
fn a_move_of_a_very_large_tree_or_team_has_the_answers_of_a_walk() {
    const MANY: u32 = 25_000;
    let people = "definition team { relation member: user | team#member }
        definition document { relation viewer: team#member permission view = viewer }";
    let schema = Schema::parse(&format!("use expiration\n{FOLDERS}\n{people}")).unwrap();
    let below =
        (2..MANY).flat_map(|n| [rel!("folder:{n}#parent@folder:1"), rel!("team:one#member@user:u{n}")]);
    let around = [
        rel!("folder:0#viewer@user:anna"),
        rel!("team:all#member@team:one#member"),
        rel!("document:1#viewer@team:all#member"),
    ];
    let mut graph = Graph::load(Arc::new(schema), below.chain(around));
    let (parent, nested) = (rel!("folder:1#parent@folder:0"), rel!("team:all#member@team:one#member"));
    let user = Subject::new("user", format_args!("u{}", MANY - 1));
    let reads = |graph: &Graph, subject: &Subject| {
        graph.check(subject, "view", &Object::new("document", 1)).unwrap() == Decision::Allowed
    };
    assert!(!allowed(&graph, "view", 9) && reads(&graph, &user));
    for is_there in [true, false, true, false] {
        let changes = |is_there: bool| {
            let change = if is_there { Change::Touch } else { Change::Delete };
            [change(parent.clone()), change(nested.clone())]
        };
        graph = graph.apply(&changes(is_there));
        for folder in [1, 2, 777, MANY - 1] {
            for permission in ["view", "both", "kept"] {
                assert_eq!(allowed(&graph, permission, folder), is_there, "{permission} {folder}");
            }
        }
        assert_eq!(reads(&graph, &user), is_there);
        assert!(!reads(&graph, &Subject::new("user", "anna")));
    }
    // What comes later is seen as well.
    let (late, joined) = (rel!("folder:late#parent@folder:0"), rel!("team:all#member@user:anna"));
    graph = graph.apply(&[Change::Touch(late), Change::Touch(joined)]);
    let (anna, late) = (Subject::new("user", "anna"), Object::new("folder", "late"));
    assert_eq!(graph.check(&anna, "view", &late).unwrap(), Decision::Allowed);
    assert!(reads(&graph, &anna));
}
