//! The reachable part of the relationships, as a graph that passes: asked once and dropped.
//!
//! INVARIANT: it has every relationship that the engine could look at for the question, so that it answers as the whole
//! graph would; and all of them are of one snapshot, because one statement reads them.

use std::sync::Arc;

use formwork_tenancy::TenantTx;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row as _};

use crate::authz::Authz;
use crate::context::Context;
use crate::error::{CheckError, TooComplex};
use crate::graph::{Builder, Graph};
use crate::object::Object;
use crate::sql::ask::{slot_of, values};
use crate::sql::tables::Tables;
use crate::sql::text::{Asked, Text};
use crate::subject::Subject;
use crate::view;

/// Relationships that one question may lead to.
const MAX_ROWS: usize = 200_000;

/// What can matter to whether the subject holds the permission on these objects.
pub(crate) async fn for_objects(
    authz: &Authz,
    tx: &mut TenantTx,
    context: &Context,
    subject: &Subject,
    permission: &str,
    objects: &[Object],
) -> Result<Graph, CheckError> {
    let schema = &authz.inner().schema;
    // One group for each type of object.
    let (mut slots, mut groups, mut ids) = (Vec::new(), Vec::new(), Vec::new());
    for object in objects {
        let slot = slot_of(schema, object.object_type(), permission)?;
        let group = slots.iter().position(|&known| known == slot).unwrap_or_else(|| {
            slots.push(slot);
            slots.len() - 1
        });
        groups.push(i32::try_from(group).unwrap_or(i32::MAX));
        ids.push(object.id());
    }
    let asked = Asked::bound(1, "null::text");
    let tables = Tables::of_slots(schema, &slots);
    let text = Text { schema, asked: &asked }.fetch_for_objects(&tables, 5, ids.len() == 1, MAX_ROWS);
    let query = sqlx::query(AssertSqlSafe(text));
    let query = values(authz, context, subject).into_iter().fold(query, |query, value| query.bind(value));
    let query = match ids.as_slice() {
        [one] => query.bind(*one),
        _ => query.bind(groups).bind(ids),
    };
    graph(authz, &query.fetch_all(&mut **tx).await?)
}

/// What can matter to the objects on which the subject holds a permission.
pub(crate) async fn for_subject(
    authz: &Authz,
    tx: &mut TenantTx,
    context: &Context,
    subject: &Subject,
    slot: u32,
) -> Result<Graph, CheckError> {
    let schema = &authz.inner().schema;
    let asked = Asked::bound(1, "null::text");
    let text = Text { schema, asked: &asked }.fetch_for_subject(&Tables::of_slots(schema, &[slot]), MAX_ROWS);
    let query = sqlx::query(AssertSqlSafe(text));
    let query = values(authz, context, subject).into_iter().fold(query, |query, value| query.bind(value));
    graph(authz, &query.fetch_all(&mut **tx).await?)
}

fn graph(authz: &Authz, rows: &[PgRow]) -> Result<Graph, CheckError> {
    let inner = authz.inner();
    let mut builder = Builder::new(&inner.schema);
    let is_cut = rows.len() > MAX_ROWS;
    for row in rows {
        if is_cut || row.try_get::<Option<&str>, _>("namespace")?.is_none() {
            return Err(TooComplex::new("relationships, too many to fetch for one question", MAX_ROWS).into());
        }
        builder.add(&inner.schema, view::tuple(row)?);
    }
    Ok(Graph::built(Arc::clone(&inner.schema), builder).with_clock(Arc::clone(&inner.clock)))
}
