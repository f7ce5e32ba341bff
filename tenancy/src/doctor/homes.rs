//! Homes: the registry, the list of each database and the schemas agree.

use super::check::{Check, Rule, of_catalogue};

pub(super) const CHECK: Check = Check {
    rules: &[
        Rule::error("tenant-without-home", "restore the home from a backup, or archive the tenant"),
        Rule::warning(
            "home-without-tenant",
            "look whose it was; then drop the schema, or restore the registry's row",
        ),
    ],
    query: of_catalogue!(
        r"
-- $10 to $13: what the registry says of this database.
, tenant as (
  select * from unnest($10::uuid[], $11::text[], $12::text[], $13::bigint[]) t (id, slug, schema_name, epoch)
)
select 'tenant-without-home', 'tenant ' || t.slug, format('there is no schema %I', t.schema_name), null
  from tenant t
 where not exists (select from space s where s.nspname = t.schema_name)
union all
select 'tenant-without-home', 'tenant ' || t.slug,
       format('no home of epoch %s in schema %I stands in platform.homes, so nothing can be committed', t.epoch, t.schema_name),
       null
  from tenant t join space s on s.nspname = t.schema_name
 where not exists (select from platform.homes h where h.tenant_id = t.id and h.epoch = t.epoch
                      and h.schema_name = t.schema_name)
union all
select 'home-without-tenant', 'schema ' || quote_ident(s.nspname),
       'no tenant lives here, as far as the registry knows', null
  from space s
 where s.home and s.nspname <> 'shared'
   and not exists (select from tenant t where t.schema_name = s.nspname)
   -- One that a move is filling or has left is the move's to remove.
   and not exists (select from platform.homes h where h.schema_name = s.nspname and h.state <> 'live')"
    ),
};

/// A tenant in a database that this control plane was not told of; found by the program, not by a query.
pub(super) const DATABASE_UNKNOWN: Rule =
    Rule::error("database-unknown", "name the database to the control plane and to the service");
