//! What the registry says of the homes in one database.

use sqlx::PgConnection;
use uuid::Uuid;

/// The tenants that are to have a home, column by column.
#[derive(Debug, Default)]
pub(super) struct Registered {
    pub(super) ids: Vec<Uuid>,
    pub(super) slugs: Vec<String>,
    pub(super) schemas: Vec<String>,
    pub(super) epochs: Vec<i64>,
    pub(super) own_roles: Vec<bool>,
    /// Being deleted: its home may be gone already.
    pub(super) leaving: Vec<bool>,
}

impl Registered {
    /// Asked of the control plane's database.
    pub(super) async fn read(conn: &mut PgConnection, database: &str) -> Result<Self, sqlx::Error> {
        let rows: Vec<(Uuid, String, String, i64, bool, bool)> = sqlx::query_as(
            "select id, slug, schema_name, epoch, coalesce((to_jsonb(t) ->> 'own_role')::boolean, false),
                    status = 'deleting'
               from platform.tenants t
              where database_name = $1 and status not in ('provisioning', 'deleted') order by id",
        )
        .bind(database)
        .persistent(false)
        .fetch_all(conn)
        .await?;
        let mut registered = Self::default();
        for (id, slug, schema, epoch, own_role, leaving) in rows {
            registered.ids.push(id);
            registered.slugs.push(slug);
            registered.schemas.push(schema);
            registered.epochs.push(epoch);
            registered.own_roles.push(own_role);
            registered.leaving.push(leaving);
        }
        Ok(registered)
    }
}

/// Tenants of databases that are none of these: slug and database.
pub(super) async fn elsewhere(
    conn: &mut PgConnection,
    known: &[&str],
) -> Result<Vec<(String, String)>, sqlx::Error> {
    sqlx::query_as(
        "select slug, database_name from platform.tenants
          where database_name <> all ($1) and status not in ('provisioning', 'deleting', 'deleted') order by slug",
    )
    .bind(known)
    .persistent(false)
    .fetch_all(conn)
    .await
}
