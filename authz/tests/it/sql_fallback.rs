//! Answers through SQL are those of the oracle, and a tenant over its budget is answered so.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use formwork_authz::{
    Authz, Budget, CheckError, Context, Decision, Object, Relationship, Schema, Subject, rel,
};
use formwork_tenancy::testing::TestDatabase;
use formwork_tenancy::{Actor, Isolation, Tenant, TenantTx};
use proptest::prelude::*;
use sqlx::AssertSqlSafe;

use crate::naive::{Facts, Holds, MAYBE, Model, NO, World, YES};
use crate::random::{Choices, IDS, TYPES};

pub(crate) struct Home {
    pub(crate) db: TestDatabase,
    pub(crate) tenant: Tenant,
}

impl Home {
    pub(crate) async fn new(isolation: Isolation) -> Self {
        let db = TestDatabase::new(&[formwork_migrations::TENANCY, formwork_migrations::AUTHZ]).await;
        let tenant = db.tenant("acme", isolation).await;
        Self { db, tenant }
    }

    pub(crate) async fn begin(&self) -> TenantTx {
        self.db.tenants().begin(&self.db.session(&self.tenant, Actor::system("test"))).await.unwrap()
    }
}

/// As any client would, whatever the schema allows.
async fn store(tx: &mut TenantTx, facts: &Facts) {
    const INSERT: &str = "insert into permission_tuples
        (namespace, object_id, relation, subject_ns, subject_id, subject_rel, condition, context, expires_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8::text::jsonb, $9)";
    for fact in facts.values() {
        sqlx::query(INSERT)
            .bind(fact.object().object_type().to_owned())
            .bind(fact.object().id().to_owned())
            .bind(fact.relation().to_owned())
            .bind(fact.subject().subject_type().to_owned())
            .bind(fact.subject().id().to_owned())
            .bind(fact.subject().relation().map(str::to_owned))
            .bind(fact.condition().map(str::to_owned))
            .bind(fact.context().map(str::to_owned))
            .bind(fact.expires_at())
            .execute(&mut **tx)
            .await
            .unwrap();
    }
}

fn holds(decision: &Decision) -> Holds {
    match decision {
        Decision::Denied => NO,
        Decision::Conditional { .. } => MAYBE,
        Decision::Allowed => YES,
    }
}

static TOLD: AtomicUsize = AtomicUsize::new(0);
static FETCHED: AtomicUsize = AtomicUsize::new(0);

struct Round<'a> {
    model: &'a Model,
    facts: &'a Facts,
    world: World,
    context: Context,
    authz: Authz,
}

impl Round<'_> {
    fn shown(&self) -> String {
        let facts: Vec<String> = self.facts.values().map(ToString::to_string).collect();
        format!("\n{:?}\n{}\n{}", self.world, self.model, facts.join("\n"))
    }

    async fn ask_about(&self, tx: &mut TenantTx, subject: &str) -> Result<(), TestCaseError> {
        let objects: Vec<String> =
            TYPES.iter().flat_map(|name| IDS.iter().map(move |id| format!("{name}:{id}"))).collect();
        let held = self.model.held(self.facts, &self.world, subject, &objects);
        let parsed: Subject = subject.parse().unwrap();
        for (object_type, items) in &self.model.types {
            for item in items {
                let objects: Vec<Object> =
                    IDS.iter().map(|id| Object::new(object_type.clone(), id)).collect();
                let of = |object: &Object| {
                    held.get(&(object.to_string(), item.name.clone())).copied().unwrap_or(NO)
                };
                let expected: Vec<Holds> = objects.iter().map(of).collect();
                let question =
                    || format!("{object_type}#{}@{subject} {expected:?}{}", item.name, self.shown());
                match self.authz.schema().sql_expressible(object_type, &item.name) {
                    Ok(()) => TOLD.fetch_add(1, Ordering::Relaxed),
                    Err(_) => FETCHED.fetch_add(1, Ordering::Relaxed),
                };
                for object in &objects {
                    let answer = self.authz.check_in(tx, &self.context, &parsed, &item.name, object).await;
                    prop_assert_eq!(holds(&answer.unwrap()), of(object), "{} on {}", question(), object);
                }
                self.filter(tx, &parsed, &item.name, &objects, &expected, &question()).await?;
            }
        }
        Ok(())
    }

    async fn filter(
        &self,
        tx: &mut TenantTx,
        subject: &Subject,
        permission: &str,
        objects: &[Object],
        expected: &[Holds],
        question: &str,
    ) -> Result<(), TestCaseError> {
        let object_type = objects[0].object_type();
        let filter = match self.authz.filter_in(tx, &self.context, subject, permission, object_type).await {
            Ok(filter) => filter,
            Err(CheckError::Undecided(_)) => {
                // It may be about an object that is the subject and is not among these.
                let own = subject.subject_type() == object_type;
                prop_assert!(own || expected.contains(&MAYBE), "{}", question);
                return Ok(());
            }
            Err(error) => return Err(TestCaseError::fail(format!("{error} {question}"))),
        };
        prop_assert!(!expected.contains(&MAYBE), "{}", question);
        let (condition, values) = filter.sql("v.id", 1);
        let text =
            format!("select v.id from (values ('a'), ('b'), ('c')) v (id) where {condition} order by v.id");
        let query = values
            .into_iter()
            .fold(sqlx::query_scalar(AssertSqlSafe(text)), |query, value| query.bind(value));
        let found: Vec<String> = query.fetch_all(&mut **tx).await.unwrap();
        let wanted: Vec<&str> = objects
            .iter()
            .zip(expected)
            .filter(|(_, holds)| **holds == YES)
            .map(|(object, _)| object.id())
            .collect();
        prop_assert_eq!(found, wanted, "{}", question);
        Ok(())
    }
}

async fn compare(home: &Home, numbers: &[u16]) -> Result<(), TestCaseError> {
    let mut choices = Choices(numbers.iter());
    let model = choices.model();
    let schema = Arc::new(Schema::parse(&model.to_string()).unwrap());
    let facts: Facts = (0..choices.below(40))
        .map(|_| choices.fact(&model))
        .map(|fact| {
            let same = Relationship::new(fact.object(), fact.relation().to_owned(), fact.subject());
            (same.to_string(), fact)
        })
        .collect();
    let world = choices.world();
    let context = Context::from(world.values.clone()).at(world.now);
    let authz = Authz::new(schema).with_budget(0, Budget::none());
    let mut tx = home.begin().await;
    store(&mut tx, &facts).await;
    let round = Round { model: &model, facts: &facts, world, context, authz };
    let all = ["user:a", "user:new", "user:*", "t1:a", "t0:b#r0", "t2:b#r0"];
    round.ask_about(&mut tx, "user:b").await?;
    round.ask_about(&mut tx, choices.one_of(&all)).await?;
    prop_assert_eq!(round.authz.metrics().graphs, 0);
    tx.rollback().await.unwrap();
    Ok(())
}

#[test]
fn sql_and_oracle_agree() {
    let long = std::env::var_os("FORMWORK_LONG").is_some();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let homes =
        [runtime.block_on(Home::new(Isolation::Shared)), runtime.block_on(Home::new(Isolation::Schema))];
    let mut runner = prop::test_runner::TestRunner::new(ProptestConfig {
        cases: if long { 2_000 } else { 40 },
        max_shrink_iters: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let strategy = (0..2_usize, prop::collection::vec(any::<u16>(), 700));
    runner.run(&strategy, |(home, numbers)| runtime.block_on(compare(&homes[home], &numbers))).unwrap();
    let (told, fetched) = (TOLD.load(Ordering::Relaxed), FETCHED.load(Ordering::Relaxed));
    println!("{told} permissions told by a statement, {fetched} from a passing graph");
    assert!(told > 300 && fetched > 300, "{told} {fetched}");
}

const SCHEMA: &str = "
    definition user {}
    definition team { relation member: user | team#member }
    definition folder {
        relation parent: folder
        relation viewer: user | team#member
        relation barred: user
        permission view = viewer + parent->view - barred
    }
    definition rfi {
        relation folder: folder
        relation viewer: user | user:* | team#member
        relation barred: user
        permission view = viewer - barred
        permission read = view + folder->view
    }";

fn authz(budget: Budget) -> Authz {
    Authz::new(Schema::parse(SCHEMA).unwrap()).with_budget(1 << 20, budget)
}

#[tokio::test]
async fn a_tenant_over_its_budget_is_answered_through_sql_with_its_own_writes() {
    for isolation in [Isolation::Shared, Isolation::Schema] {
        let home = Home::new(isolation).await;
        let authz = authz(Budget::relationships(3));
        let (anna, rfi) = (Subject::new("user", "anna"), Object::new("rfi", 7));
        let mut tx = home.begin().await;
        authz
            .touch_many(
                &mut tx,
                &[
                    rel!("rfi:7#folder@folder:deep"),
                    rel!("folder:deep#parent@folder:top"),
                    rel!("folder:top#viewer@team:eng#member"),
                ],
            )
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let mut tx = home.begin().await;
        assert_eq!(authz.check(&mut tx, &anna, "read", &rfi).await.unwrap(), Decision::Denied);
        drop(tx);
        assert_eq!(authz.metrics().by_sql, 0, "three fit");

        let mut tx = home.begin().await;
        authz.touch(&mut tx, &rel!("team:eng#member@user:anna")).await.unwrap();
        assert_eq!(authz.check(&mut tx, &anna, "read", &rfi).await.unwrap(), Decision::Allowed);
        tx.commit().await.unwrap();
        let mut tx = home.begin().await;
        let grant = authz.require(&mut tx, &anna, "read", &rfi).await.unwrap();
        assert_eq!(grant.relationships().len(), 4);
        let seen = authz.lookup_objects(&mut tx, &anna, "read", "rfi").await.unwrap();
        assert_eq!(seen, std::slice::from_ref(&rfi));
        let objects = [Object::new("rfi", 8), rfi.clone(), Object::new("folder", "top")];
        let held = authz.check_many(&mut tx, &anna, "view", &objects).await.unwrap();
        assert_eq!(held, [Decision::Denied, Decision::Denied, Decision::Allowed]);
        authz.touch(&mut tx, &rel!("folder:top#barred@user:anna")).await.unwrap();
        assert_eq!(authz.check(&mut tx, &anna, "read", &rfi).await.unwrap(), Decision::Denied);
        assert_eq!(authz.lookup_objects(&mut tx, &anna, "read", "rfi").await.unwrap(), []);
        assert!(matches!(authz.graph(&mut tx).await, Err(CheckError::OverBudget(3))));
        assert!(matches!(
            authz.check(&mut tx, &anna, "vieww", &rfi).await,
            Err(CheckError::UnknownPermission(_))
        ));
        let metrics = authz.metrics();
        assert!(metrics.by_sql >= 5, "{metrics:?}");
    }
}

#[tokio::test]
async fn a_cold_tenant_is_loaded_after_so_many_questions() {
    let home = Home::new(Isolation::Shared).await;
    let authz = authz(Budget::unlimited().loading_after(2));
    let (anna, rfi) = (Subject::new("user", "anna"), Object::new("rfi", 7));
    let mut tx = home.begin().await;
    authz.touch(&mut tx, &rel!("rfi:7#viewer@user:anna")).await.unwrap();
    tx.commit().await.unwrap();
    for loaded in [0, 0, 1, 1] {
        let mut tx = home.begin().await;
        assert_eq!(authz.check(&mut tx, &anna, "view", &rfi).await.unwrap(), Decision::Allowed);
        assert_eq!(authz.metrics().loaded, loaded);
    }
    assert_eq!(authz.metrics().by_sql, 2);
}

#[tokio::test]
async fn a_question_that_leads_to_too_much_is_an_error() {
    let home = Home::new(Isolation::Shared).await;
    let authz = authz(Budget::none());
    let mut tx = home.begin().await;
    sqlx::query(
        "insert into permission_tuples (namespace, object_id, relation, subject_ns, subject_id, subject_rel)
         select 'folder', 'top', 'viewer', 'team', 't' || n, 'member' from generate_series(1, 200001) n
         union all values ('rfi', '7', 'folder', 'folder', 'top', null)",
    )
    .execute(&mut *tx)
    .await
    .unwrap();
    authz.touch(&mut tx, &rel!("team:t9#member@user:anna")).await.unwrap();
    let (anna, rfi) = (Subject::new("user", "anna"), Object::new("rfi", 7));
    // One statement tells the one, and the other would have to be fetched.
    let top = Object::new("folder", "top");
    assert_eq!(authz.check(&mut tx, &anna, "viewer", &top).await.unwrap(), Decision::Allowed);
    let error = authz.check(&mut tx, &anna, "read", &rfi).await.unwrap_err();
    assert!(matches!(error, CheckError::TooComplex(limit) if limit.limit() == 200_000), "{error}");
    let error = authz.lookup_objects(&mut tx, &anna, "read", "rfi").await.unwrap_err();
    assert!(matches!(error, CheckError::TooComplex(_)), "{error}");
}

/// Two ways to the same permission are exchanged in one transaction, over and over: who reads the relationships in more
/// than one statement meets a moment in which there is none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_question_sees_one_snapshot() {
    let home = Arc::new(Home::new(Isolation::Shared).await);
    let authz = authz(Budget::none());
    let (anna, rfi) = (Subject::new("user", "anna"), Object::new("rfi", 7));
    let ways = [
        rel!("folder:a#viewer@team:eng#member"),
        rel!("folder:b#parent@folder:a"),
        rel!("rfi:7#folder@folder:b"),
        rel!("team:eng#member@user:anna"),
    ];
    let mut tx = home.begin().await;
    authz.touch_many(&mut tx, &ways).await.unwrap();
    tx.commit().await.unwrap();
    let writer = {
        let (home, authz) = (Arc::clone(&home), authz.clone());
        let near = rel!("team:eng#member@user:anna");
        let far = [rel!("rfi:7#viewer@team:steel#member"), rel!("team:steel#member@user:anna")];
        tokio::spawn(async move {
            for round in 0..200 {
                let mut tx = home.begin().await;
                if round % 2 == 0 {
                    authz.delete(&mut tx, &near).await.unwrap();
                    authz.touch_many(&mut tx, &far).await.unwrap();
                } else {
                    authz.touch(&mut tx, &near).await.unwrap();
                    authz.delete_many(&mut tx, &far).await.unwrap();
                }
                tx.commit().await.unwrap();
            }
        })
    };
    let mut asked = 0;
    while !writer.is_finished() {
        let mut tx = home.begin().await;
        assert_eq!(
            authz.check(&mut tx, &anna, "read", &rfi).await.unwrap(),
            Decision::Allowed,
            "after {asked}"
        );
        assert_eq!(
            authz.lookup_objects(&mut tx, &anna, "read", "rfi").await.unwrap(),
            std::slice::from_ref(&rfi)
        );
        asked += 1;
    }
    writer.await.unwrap();
    assert!(asked > 20, "{asked}");
}
