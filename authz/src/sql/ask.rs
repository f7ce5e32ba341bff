//! Questions that Postgres answers: by one statement, or from a passing graph.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, SecondsFormat, Utc};
use formwork_tenancy::TenantTx;
use rustc_hash::FxHashMap;
use sqlx::AssertSqlSafe;

use crate::authz::Authz;
use crate::context::{Clock, Context};
use crate::decision::Decision;
use crate::error::{CheckError, TooComplex};
use crate::graph::{Builder, Graph};
use crate::object::Object;
use crate::schema::Schema;
use crate::sql::fetch;
use crate::sql::formula::{Formula, Inexpressible};
use crate::sql::text::{Asked, Text};
use crate::subject::Subject;

/// Objects of one list.
pub(crate) const MAX_LISTED: usize = 1_000_000;

/// What a handle knows of its schema in SQL: made when it is first asked for, and kept.
pub(crate) struct Statements {
    known: Mutex<FxHashMap<u32, Known>>,
    /// Nothing is stored: it knows what can be asked, and what holds whatever is stored.
    nothing: Graph,
}

type Known = Result<Arc<Statement>, Inexpressible>;

/// A permission as text.
pub(crate) struct Statement {
    pub(crate) formula: Formula,
    /// Five values: the subject's three parts, the time, and the object. Apart from that of several: of an array a
    /// generic plan expects ten, costs ten times as much by its own reckoning, and is never taken.
    check_one: Arc<str>,
    /// The same with several objects.
    check: Arc<str>,
    /// Four values: without the objects. A limit comes behind it.
    list: Arc<str>,
}

impl Statements {
    pub(crate) fn new(schema: &Arc<Schema>, clock: &Arc<dyn Clock>) -> Self {
        let nothing = Graph::built(Arc::clone(schema), Builder::new(schema)).with_clock(Arc::clone(clock));
        Self { known: Mutex::default(), nothing }
    }

    /// Whether what is asked can be asked at all.
    fn validate(
        &self,
        context: &Context,
        subject: &Subject,
        permission: &str,
        objects: &[Object],
    ) -> Result<(), CheckError> {
        objects.iter().try_for_each(|object| {
            self.nothing.check_in(context, subject, permission, object).map(|_: Decision| ())
        })
    }

    pub(crate) fn of(&self, schema: &Schema, slot: u32) -> Known {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .entry(slot)
            .or_insert_with(|| {
                Formula::of(schema, slot).map(|formula| Arc::new(Statement::new(schema, formula)))
            })
            .clone()
    }
}

impl fmt::Debug for Statements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Statements").finish_non_exhaustive()
    }
}

impl Statement {
    fn new(schema: &Schema, formula: Formula) -> Self {
        let asked = Asked::bound(1, "x.id");
        let text = Text { schema, asked: &asked };
        let check = format!(
            "select {} from unnest($5::text[]) with ordinality x (id, place) order by x.place",
            text.check(&formula)
        );
        let list = format!("select l.id from {} l (id)", text.list(&formula));
        let asked = Asked::bound(1, "$5::text");
        let check_one = format!("select {}", Text { schema, asked: &asked }.check(&formula));
        Self { formula, check_one: check_one.into(), check: check.into(), list: list.into() }
    }
}

/// The values of [`Asked::bound`].
pub(crate) fn values(authz: &Authz, context: &Context, subject: &Subject) -> [String; 4] {
    let now: DateTime<Utc> = context.now().unwrap_or_else(|| authz.inner().clock.now());
    [
        subject.subject_type().to_owned(),
        subject.id().to_owned(),
        subject.relation().unwrap_or_default().to_owned(),
        now.to_rfc3339_opts(SecondsFormat::Micros, true),
    ]
}

/// One question.
pub(crate) async fn answer(
    authz: &Authz,
    tx: &mut TenantTx,
    context: &Context,
    subject: &Subject,
    permission: &str,
    object: &Object,
) -> Result<Decision, CheckError> {
    let answers = ask(authz, tx, context, subject, permission, std::slice::from_ref(object)).await?;
    Ok(answers.into_iter().next().unwrap_or(Decision::Denied))
}

/// Several questions, in one statement.
pub(crate) async fn ask(
    authz: &Authz,
    tx: &mut TenantTx,
    context: &Context,
    subject: &Subject,
    permission: &str,
    objects: &[Object],
) -> Result<Vec<Decision>, CheckError> {
    let inner = authz.inner();
    inner.statements.validate(context, subject, permission, objects)?;
    let Some(first) = objects.first() else { return Ok(Vec::new()) };
    let is_of_one_type = objects.iter().all(|object| object.object_type() == first.object_type());
    let slot = slot_of(&inner.schema, first.object_type(), permission)?;
    match inner.statements.of(&inner.schema, slot) {
        Ok(statement) if is_of_one_type => {
            let is_one = objects.len() == 1;
            let text = if is_one { &statement.check_one } else { &statement.check };
            let query = sqlx::query_scalar(AssertSqlSafe(Arc::clone(text)));
            let query =
                values(authz, context, subject).into_iter().fold(query, |query, value| query.bind(value));
            let query = if is_one {
                query.bind(first.id())
            } else {
                query.bind(objects.iter().map(Object::id).collect::<Vec<&str>>())
            };
            let held: Vec<bool> = query.fetch_all(&mut **tx).await?;
            Ok(held.into_iter().map(|held| if held { Decision::Allowed } else { Decision::Denied }).collect())
        }
        _ => {
            let graph = passing(authz, tx, context, subject, permission, objects).await?;
            graph.check_many_in(context, subject, permission, objects)
        }
    }
}

/// A graph with all that can matter to the questions.
pub(crate) async fn passing(
    authz: &Authz,
    tx: &mut TenantTx,
    context: &Context,
    subject: &Subject,
    permission: &str,
    objects: &[Object],
) -> Result<Graph, CheckError> {
    let inner = authz.inner();
    inner.statements.validate(context, subject, permission, objects)?;
    fetch::for_objects(authz, tx, context, subject, permission, objects).await
}

/// Every object of a type on which the subject holds the permission, by id.
pub(crate) async fn list(
    authz: &Authz,
    tx: &mut TenantTx,
    subject: &Subject,
    permission: &str,
    object_type: &str,
) -> Result<Vec<Object>, CheckError> {
    let (inner, context) = (authz.inner(), Context::new());
    let slot = listed_slot(authz, subject, permission, object_type)?;
    let Ok(statement) = inner.statements.of(&inner.schema, slot) else {
        let graph = fetch::for_subject(authz, tx, &context, subject, slot).await?;
        return graph.lookup_objects(subject, permission, object_type);
    };
    let ids = all_ids(authz, tx, &context, subject, &statement).await?;
    Ok(ids.into_iter().map(|id| Object::new(object_type.to_owned(), id)).collect())
}

/// Every id of the list, in the order of the ids.
pub(crate) async fn all_ids(
    authz: &Authz,
    tx: &mut TenantTx,
    context: &Context,
    subject: &Subject,
    statement: &Statement,
) -> Result<Vec<String>, CheckError> {
    let mut ids = ids(authz, tx, context, subject, statement, MAX_LISTED + 1).await?;
    if ids.len() > MAX_LISTED {
        return Err(TooComplex::new("objects", MAX_LISTED).into());
    }
    ids.sort_unstable();
    Ok(ids)
}

/// At most so many ids of the list, in no order.
pub(crate) async fn ids(
    authz: &Authz,
    tx: &mut TenantTx,
    context: &Context,
    subject: &Subject,
    statement: &Statement,
    limit: usize,
) -> Result<Vec<String>, CheckError> {
    let query = sqlx::query_scalar(AssertSqlSafe(format!("{} limit {limit}", statement.list)));
    let query = values(authz, context, subject).into_iter().fold(query, |query, value| query.bind(value));
    Ok(query.fetch_all(&mut **tx).await?)
}

/// The slot of a list, when it can be asked for.
pub(crate) fn listed_slot(
    authz: &Authz,
    subject: &Subject,
    permission: &str,
    object_type: &str,
) -> Result<u32, CheckError> {
    let inner = authz.inner();
    inner.statements.nothing.lookup_objects(subject, permission, object_type)?;
    slot_of(&inner.schema, object_type, permission)
}

pub(crate) fn slot_of(schema: &Schema, object_type: &str, permission: &str) -> Result<u32, CheckError> {
    let type_id = schema.type_id(object_type).ok_or_else(|| CheckError::unknown_type(schema, object_type))?;
    let slot = schema.type_info(type_id).and_then(|info| info.slot_ids.get(permission));
    slot.ok_or_else(|| CheckError::unknown_permission(schema, type_id, permission))
}
