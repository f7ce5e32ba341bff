//! Homes: the registry and the schemas agree.

use super::check::{Check, Rule, of_catalogue};

pub(super) const CHECK: Check = Check {
    rules: &[
        Rule::error("tenant-without-home", "restore the schema from a backup, or archive the tenant"),
        Rule::warning(
            "home-without-tenant",
            "look whose it was; then drop the schema, or restore the registry's row",
        ),
    ],
    query: of_catalogue!(
        r"
select 'tenant-without-home', 'tenant ' || t.slug, format('there is no schema %I', t.schema_name), null
  from platform.tenants t
 where t.isolation in ('shared', 'schema') and t.status not in ('provisioning', 'deleting', 'deleted')
   and not exists (select from space s where s.nspname = t.schema_name)
union all
select 'home-without-tenant', 'schema ' || quote_ident(s.nspname),
       'no tenant lives here, as far as the registry knows', null
  from space s
 where s.home and s.nspname <> 'shared'
   and not exists (select from platform.tenants t where t.schema_name = s.nspname and t.status <> 'deleted')"
    ),
};
