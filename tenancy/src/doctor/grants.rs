//! Grants: what the logins may do that no policy asks about, and what was never theirs.

use super::check::{Check, Rule, of_catalogue};

pub(super) const CHECK: Check = Check {
    rules: &[
        Rule::error("schema-create", "revoke it: an object of the service's own could shadow a tenant's"),
        Rule::error("grant-beyond-rows", "revoke it: no policy is asked for TRUNCATE, REFERENCES or TRIGGER"),
        Rule::error(
            "platform-table-granted",
            "revoke it, and give a definer function that takes an exact key; or name the table as a stream",
        ),
        Rule::error("relay-granted", "revoke it: the relay reads the streams and nothing else"),
        Rule::error("partition-granted", "revoke it: the parent's policy does not hold its partitions"),
        Rule::error(
            "matview-granted",
            "revoke it, and let the service read through a view that asks for the tenant",
        ),
        Rule::error("foreign-table-granted", "revoke it: a foreign table cannot have row security"),
    ],
    query: of_catalogue!(
        r"
, wrong as (
  select case
      when h.privilege in ('TRUNCATE', 'REFERENCES', 'TRIGGER') and r.relkind in ('r', 'p') and not r.relispartition
        then 'grant-beyond-rows'
      when r.relispartition then 'partition-granted'
      when r.relkind = 'm' then 'matview-granted'
      when r.relkind = 'f' then 'foreign-table-granted'
      when r.relkind not in ('r', 'p') then null
      when r.platform and h.is_app and r.plain <> all ($3) then 'platform-table-granted'
      when r.ours and h.is_relay and not h.is_app and not (r.platform and r.plain = any ($3))
        -- Its own notes, which hold nothing of any tenant.
        and r.plain not in ('platform.stream_positions', 'platform.sweep_rounds') then 'relay-granted'
    end as code, r.name, r.relkind, h.holder, h.privilege
    from held h join rel r using (oid)
   where (r.ours or r.tenant is not null or r.oid in (select oid from reads_tenants))
     and r.oid not in (select oid from allowed)
)
select 'schema-create', 'schema ' || quote_ident(s.nspname), format('%s may create objects in it', h.name),
       format('revoke create on schema %I from %s', s.nspname, h.name)
  from space s
  cross join lateral aclexplode(s.nspacl) a
  join holder h on h.role = a.grantee
 where s.ours and a.privilege_type = 'CREATE' and a.grantee <> s.nspowner
union all
-- Of a table, not of a column: taking a privilege from a table takes it from its columns.
select code, name, format('%s holds %s', holder, string_agg(distinct privilege, ', ')),
       format('revoke %s on %s from %s', string_agg(distinct privilege, ', '), name, holder)
  from wrong where code is not null
 group by code, name, holder"
    ),
};
