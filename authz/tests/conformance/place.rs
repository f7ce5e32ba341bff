//! Where the tuples of a case are: in memory, or in Postgres, from which the engine loads them and which answers itself.
//!
//! In Postgres each question of a case is asked three times over: of the graph that was loaded (what the suite expects),
//! of Postgres in the case's transaction (what the graph has answered), and nothing is asked of memory that was not stored.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use formwork_authz::{Authz, Budget, Context, Graph, Object, Relationship, Schema, Subject};
use formwork_tenancy::testing::{LongRound, TestDatabase};
use formwork_tenancy::{Actor, HomePlace, Isolation, Tenant, TenantTx};
use tokio::runtime::Runtime;

use crate::report::Report;

/// Where tuples are put.
pub(crate) enum Place {
    Memory,
    Postgres(Box<Postgres>),
}

/// A tenant in each isolation mode; cases take turns.
pub(crate) struct Postgres {
    runtime: Runtime,
    db: TestDatabase,
    homes: Vec<Tenant>,
    turn: Cell<usize>,
    asked: Cell<usize>,
}

/// The tuples of one case, of which questions are asked.
pub(crate) struct Stored<'p> {
    graph: Arc<Graph>,
    rows: Option<Rows<'p>>,
}

struct Rows<'p> {
    postgres: &'p Postgres,
    tx: RefCell<Option<TenantTx>>,
    authz: Authz,
}

impl Place {
    pub(crate) fn postgres() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let sets = [formwork_migrations::TENANCY, formwork_migrations::AUTHZ];
        let (db, homes) = runtime.block_on(async {
            let db = TestDatabase::with_databases(&sets, &["eu"]).await;
            let homes = vec![
                db.tenant("one", Isolation::Shared).await,
                db.tenant("two", Isolation::Schema).await,
                db.tenant_at("three", HomePlace::database("eu")).await,
            ];
            (db, homes)
        });
        Self::Postgres(Box::new(Postgres { runtime, db, homes, turn: Cell::new(0), asked: Cell::new(0) }))
    }

    /// How many times each case is run: once, and in the long run in each isolation mode.
    pub(crate) fn rounds(&self) -> usize {
        match self {
            Self::Postgres(postgres) if LongRound::is_asked_for() => postgres.homes.len(),
            _ => 1,
        }
    }

    /// In the next round every case is in the next home.
    pub(crate) fn begin_round(&self, round: usize) {
        if let Self::Postgres(postgres) = self {
            postgres.turn.set(round);
        }
    }

    pub(crate) fn store(&self, schema: &Arc<Schema>, tuples: Vec<Relationship>) -> Stored<'_> {
        match self {
            Self::Memory => Stored { graph: Arc::new(Graph::load(Arc::clone(schema), tuples)), rows: None },
            Self::Postgres(postgres) => postgres.runtime.block_on(postgres.store(schema, tuples)),
        }
    }
}

impl Postgres {
    async fn store(&self, schema: &Arc<Schema>, tuples: Vec<Relationship>) -> Stored<'_> {
        let turn = self.turn.replace(self.turn.get() + 1);
        let tenant = self.homes.get(turn % self.homes.len()).unwrap();
        let session = self.db.session(tenant, Actor::system("conformance"));
        let mut tx = self.db.tenants().begin(&session).await.unwrap();
        insert(&mut tx, &tuples).await;
        let authz = Authz::new(Arc::clone(schema));
        let graph = authz.graph(&mut tx).await.unwrap();
        let authz = authz.with_budget(0, Budget::none());
        Stored { graph, rows: Some(Rows { postgres: self, tx: RefCell::new(Some(tx)), authz }) }
    }
}

/// As any client would, whatever the schema has a place for: stages of a case keep what earlier models allowed.
async fn insert(tx: &mut TenantTx, tuples: &[Relationship]) {
    const INSERT: &str = "insert into permission_tuples
        (namespace, object_id, relation, subject_ns, subject_id, subject_rel, condition, context, expires_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8::text::jsonb, $9)
        on conflict on constraint permission_tuples_unique do update
        set condition = excluded.condition, context = excluded.context, expires_at = excluded.expires_at";
    for tuple in tuples {
        sqlx::query(INSERT)
            .bind(tuple.object().object_type().to_owned())
            .bind(tuple.object().id().to_owned())
            .bind(tuple.relation().to_owned())
            .bind(tuple.subject().subject_type().to_owned())
            .bind(tuple.subject().id().to_owned())
            .bind(tuple.subject().relation().map(str::to_owned))
            .bind(tuple.condition().map(str::to_owned))
            .bind(tuple.context().map(str::to_owned))
            .bind(tuple.expires_at())
            .execute(&mut **tx)
            .await
            .unwrap();
    }
}

impl Stored<'_> {
    pub(crate) fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// Postgres answers the check as the graph does: the decision, or the error.
    pub(crate) fn check(
        &self,
        case: &str,
        context: &Context,
        subject: &Subject,
        relation: &str,
        object: &Object,
        report: &mut Report,
    ) {
        let Some(rows) = self.rows.as_ref().filter(|rows| rows.is_next()) else { return };
        let expected =
            self.graph.check_in(context, subject, relation, object).map_err(|error| error.to_string());
        let mut tx = rows.tx.borrow_mut();
        let asked = rows.authz.check_in(tx.as_mut().unwrap(), context, subject, relation, object);
        let given = rows.postgres.runtime.block_on(asked).map_err(|error| error.to_string());
        report.expect(case, &format!("through SQL: {subject} {relation} {object}"), &expected, &given);
    }

    /// Postgres lists the objects that the graph lists.
    pub(crate) fn objects(
        &self,
        case: &str,
        subject: &Subject,
        relation: &str,
        object_type: &str,
        report: &mut Report,
    ) {
        let Some(rows) = self.rows.as_ref().filter(|rows| rows.is_next()) else { return };
        let sorted = |mut objects: Vec<Object>| {
            objects.sort_by(|a, b| a.id().cmp(b.id()));
            objects
        };
        let expected = self.graph.lookup_objects(subject, relation, object_type);
        let expected = expected.map(sorted).map_err(|error| error.to_string());
        let mut tx = rows.tx.borrow_mut();
        let asked = rows.authz.lookup_objects(tx.as_mut().unwrap(), subject, relation, object_type);
        let given = rows.postgres.runtime.block_on(asked).map(sorted).map_err(|error| error.to_string());
        report.expect(case, &format!("through SQL: {subject} {relation} {object_type}"), &expected, &given);
    }
}

impl Rows<'_> {
    /// A sample of the questions, and in the long run all: each is a statement of its own text.
    fn is_next(&self) -> bool {
        let asked = self.postgres.asked.replace(self.postgres.asked.get() + 1);
        LongRound::is_asked_for() || asked.is_multiple_of(16)
    }
}

impl Drop for Rows<'_> {
    fn drop(&mut self) {
        if let Some(tx) = self.tx.borrow_mut().take() {
            self.postgres.runtime.block_on(async { tx.rollback().await.unwrap() });
        }
    }
}
