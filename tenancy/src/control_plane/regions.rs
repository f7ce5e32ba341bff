//! Regions, which databases are in them, and where a tenant's data may lie.
//!
//! The registry's word counts: `platform.database_regions` is the same for every command line and worker, and the
//! registry's own check keeps a tenant's row from naming a region in which its data may not lie.

use sqlx::PgConnection;

use super::{ControlError, ControlPlane};
use crate::{StorageError, TenantId};

/// The data of these tenants may not lie where a database now is, or the row of the tenant cannot say so.
const RESIDES: &str = "tenant_resides_where_it_may";

pub(super) fn check_residency(
    tenant: &str,
    region: &str,
    allowed: Option<&[String]>,
) -> Result<(), ControlError> {
    match allowed {
        Some(allowed) if !allowed.iter().any(|name| name == region) => Err(ControlError::Residency {
            tenant: tenant.to_owned(),
            region: region.to_owned(),
            allowed: allowed.to_vec(),
        }),
        _ => Ok(()),
    }
}

fn is_region_name(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    text.len() <= 63 && text.starts_with(|c: char| c.is_ascii_lowercase()) && text.bytes().all(inner)
}

impl ControlPlane {
    /// Enters a region, or changes where requests for its tenants are to go.
    ///
    /// ```no_run
    /// # async fn example(control: formwork_tenancy::ControlPlane) -> Result<(), formwork_tenancy::ControlError> {
    /// control.put_region("eu", Some("https://eu.example.com")).await?;
    /// control.place_database("eu-1", "eu").await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ControlError::UnknownRegion`] for what cannot be a name, [`ControlError::InvalidPlace`].
    pub async fn put_region(&self, name: &str, base_url: Option<&str>) -> Result<(), ControlError> {
        if !is_region_name(name) {
            return Err(ControlError::UnknownRegion { region: name.to_owned() });
        }
        if let Some(url) = base_url.filter(|url| !is_place(url)) {
            return Err(ControlError::InvalidPlace { url: url.to_owned() });
        }
        sqlx::query(
            "insert into platform.regions (name, base_url) values ($1, $2)
             on conflict (name) do update set base_url = excluded.base_url",
        )
        .bind(name)
        .bind(base_url)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Says which region a database is in, `main` too, and with it the tenants that live there. Answers how many those
    /// are.
    ///
    /// # Errors
    ///
    /// [`ControlError::UnknownRegion`]; [`ControlError::Residency`] when the data of a tenant there may not lie in that
    /// region; [`ControlError::UnknownDatabase`]. Nothing is changed then.
    #[expect(clippy::disallowed_methods, reason = "the owner's transactions are tenancy's too")]
    pub async fn place_database(&self, name: &str, region: &str) -> Result<u64, ControlError> {
        self.pool_of(name)?;
        let mut tx = self.pool.begin().await?;
        let known: bool =
            sqlx::query_scalar("select exists (select from platform.regions where name = $1 for share)")
                .bind(region)
                .fetch_one(&mut *tx)
                .await?;
        if !known {
            return Err(ControlError::UnknownRegion { region: region.to_owned() });
        }
        let refused: Option<(String, Vec<String>)> = sqlx::query_as(
            "select slug, residency from platform.tenants
              where database_name = $1 and not ($2 = any (residency)) order by slug limit 1",
        )
        .bind(name)
        .bind(region)
        .fetch_optional(&mut *tx)
        .await?;
        if let Some((tenant, allowed)) = refused {
            return Err(ControlError::Residency { tenant, region: region.to_owned(), allowed });
        }
        sqlx::query(
            "insert into platform.database_regions (database_name, region) values ($1, $2)
             on conflict (database_name) do update set region = excluded.region",
        )
        .bind(name)
        .bind(region)
        .execute(&mut *tx)
        .await?;
        let moved = sqlx::query(
            "update platform.tenants set region = $2, version = version + 1
              where database_name = $1 and region <> $2",
        )
        .bind(name)
        .bind(region)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(moved.rows_affected())
    }

    /// Says where the tenant's data may lie; with no region, anywhere.
    ///
    /// # Errors
    ///
    /// [`ControlError::Residency`] when they lie elsewhere now: move the tenant first.
    pub async fn set_residency(&self, tenant: TenantId, regions: &[&str]) -> Result<(), ControlError> {
        let allowed: Option<Vec<String>> =
            (!regions.is_empty()).then(|| regions.iter().map(|&region| region.to_owned()).collect());
        let set = sqlx::query("update platform.tenants set residency = $2 where id = $1")
            .bind(tenant.as_uuid())
            .bind(&allowed)
            .execute(&self.pool)
            .await;
        match set.map_err(StorageError::from) {
            Ok(done) if done.rows_affected() == 1 => Ok(()),
            Ok(_) => Err(ControlError::UnknownTenant { tenant }),
            Err(error) if error.constraint() == Some(RESIDES) => {
                let region: String = sqlx::query_scalar("select region from platform.tenants where id = $1")
                    .bind(tenant.as_uuid())
                    .fetch_one(&self.pool)
                    .await?;
                let allowed = allowed.unwrap_or_default();
                Err(ControlError::Residency { tenant: tenant.to_string(), region, allowed })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Says that the database was failed over to another server, or restored: raises the epoch of every home in it, so
    /// that no token of before is held against a log that has gone another way. Answers how many. Writes that are under
    /// way there fail and can be run again. Interrupted, it is called once more.
    ///
    /// # Errors
    ///
    /// [`ControlError::UnknownDatabase`]; [`ControlError::Busy`] while a tenant of the database is being moved, imported or
    /// removed for good.
    #[expect(clippy::disallowed_methods, reason = "the owner's transactions are tenancy's too")]
    pub async fn raise_epochs(&self, database: &str) -> Result<u64, ControlError> {
        let there = self.pool_of(database)?;
        let mut main = self.pool.begin().await?;
        // None may begin between the look and the end: each notes an epoch at which it finds its home again.
        sqlx::query(NONE_BEGINS).execute(&mut *main).await?;
        let at_work: bool = sqlx::query_scalar(AT_WORK).bind(database).fetch_one(&mut *main).await?;
        if at_work {
            return Err(ControlError::Busy);
        }
        let (tenants, epochs): (Vec<uuid::Uuid>, Vec<i64>) = sqlx::query_as(
            "select coalesce(array_agg(id), '{}'), coalesce(array_agg(epoch), '{}')
               from platform.tenants where database_name = $1",
        )
        .bind(database)
        .fetch_one(&mut *main)
        .await?;
        // The home's own list first: until the registry follows, a commit is refused and run again.
        sqlx::query(HOMES).bind(&tenants).bind(&epochs).execute(there).await?;
        sqlx::query(TENANTS).bind(&tenants).bind(&epochs).execute(&mut *main).await?;
        main.commit().await?;
        Ok(tenants.len() as u64)
    }

    /// The region of a database: the registry's word, else this program's.
    pub(crate) async fn region_in(
        &self,
        main: &mut PgConnection,
        database: &str,
    ) -> Result<String, ControlError> {
        let registered: Option<String> =
            sqlx::query_scalar("select region from platform.database_regions where database_name = $1")
                .bind(database)
                .fetch_optional(main)
                .await?;
        match (registered, self.said_region(database)) {
            (Some(registered), (Some(given), _)) if registered != given => {
                Err(ControlError::RegionConflict {
                    name: database.to_owned(),
                    registered,
                    given: given.to_owned(),
                })
            }
            (Some(registered), _) => Ok(registered),
            (None, (given, usual)) => Ok(given.unwrap_or(usual).to_owned()),
        }
    }
}

/// Readers go on.
const NONE_BEGINS: &str = "
  lock table platform.tenant_moves, platform.tenant_imports, platform.tenant_transitions in share row exclusive mode";
const AT_WORK: &str = "
  select exists (select from platform.tenant_moves
                  where $1 in (from_database, to_database) and step not in ('finished', 'aborted'))
      or exists (select from platform.tenant_imports i join platform.tenants t on t.id = i.tenant_id
                  where t.database_name = $1 and i.outcome = 'open')
      or exists (select from platform.tenant_transitions e join platform.tenants t on t.id = e.tenant_id
                  where t.database_name = $1 and e.step in ('doomed', 'shredded', 'frozen', 'emptied', 'cleared'))";
const HOMES: &str = "
  update platform.homes h set epoch = t.epoch + 1, changed_at = now()
    from unnest($1::uuid[], $2::bigint[]) t (id, epoch)
   where h.tenant_id = t.id and h.epoch = t.epoch and h.state in ('live', 'frozen')";
const TENANTS: &str = "
  update platform.tenants p set epoch = t.epoch + 1, version = p.version + 1
    from unnest($1::uuid[], $2::bigint[]) t (id, epoch)
   where p.id = t.id and p.epoch = t.epoch";

fn is_place(url: &str) -> bool {
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    host.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
        && url.bytes().all(|b| b.is_ascii_graphic())
}
