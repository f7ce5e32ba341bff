//! Keys: constraints are checked for all rows of a table, whoever asks, so they must not reach across tenants.

use super::check::{Check, Rule, of_catalogue};

pub(super) const CHECK: Check = Check {
    rules: &[
        Rule::error(
            "unique-without-tenant",
            "begin the key with tenant_id: a refusal tells that another tenant has the value",
        ),
        Rule::error(
            "fk-without-tenant",
            "reference (tenant_id, ..): a check of a foreign key passes by row security, and a delete cascades",
        ),
        Rule::warning(
            "index-without-tenant",
            "create an index that begins with tenant_id: each query asks for it",
        ),
    ],
    query: of_catalogue!(
        r"
select 'unique-without-tenant',
       case when c.oid is null then format('index %I.%I', t.nspname, x.relname)
         else format('constraint %I on %s', c.conname, t.name) end,
       coalesce(pg_get_constraintdef(c.oid), pg_get_indexdef(i.indexrelid)),
       case
         when t.tenant = any (i.indkey) or i.indisexclusion then null
         when c.oid is null then format('drop index %I.%I; %s', t.nspname, x.relname,
           regexp_replace(pg_get_indexdef(i.indexrelid), ' USING btree \(', ' USING btree (tenant_id, '))
         when not exists (select from pg_constraint f where f.conindid = i.indexrelid and f.contype = 'f') then
           format('alter table %s drop constraint %I, add constraint %I %s', t.name, c.conname, c.conname,
             regexp_replace(pg_get_constraintdef(c.oid), '\(', '(tenant_id, '))
       end
  from tenant_table t
  join pg_index i on i.indrelid = t.oid
  join pg_class x on x.oid = i.indexrelid
  left join pg_constraint c on c.conindid = i.indexrelid and c.conrelid = t.oid and c.contype in ('p', 'u', 'x')
 where (i.indisunique and i.indkey[0] <> t.tenant or i.indisexclusion and not t.tenant = any (i.indkey))
   -- A stream may count its rows: the number is the server's, so nobody can try one.
   and not (t.platform and i.indnkeyatts = 1 and exists (
     select from pg_attribute a where a.attrelid = t.oid and a.attnum = i.indkey[0] and a.attidentity = 'a'))
union all
select 'fk-without-tenant', format('constraint %I on %s', c.conname, t.name), pg_get_constraintdef(c.oid),
       case when c.confdeltype in ('a', 'r', 'c') and c.confupdtype in ('a', 'r', 'c')
             and t.tenant <> all (c.conkey) and p.tenant <> all (c.confkey)
             and exists (select from pg_index i
                          where i.indrelid = p.oid and i.indisunique and i.indimmediate and i.indpred is null
                            and i.indnkeyatts = cardinality(c.confkey) + 1
                            and i.indkey::int2[] @> (p.tenant || c.confkey))
         then format('alter table %s drop constraint %I, add constraint %I %s', t.name, c.conname, c.conname,
           regexp_replace(regexp_replace(pg_get_constraintdef(c.oid),
             'FOREIGN KEY \(', 'FOREIGN KEY (tenant_id, '), '(REFERENCES [^(]+)\(', '\1(tenant_id, '))
       end
  from pg_constraint c
  join tenant_table t on t.oid = c.conrelid
  join tenant_table p on p.oid = c.confrelid
 where c.contype = 'f' and c.conparentid = 0
   and not exists (select from generate_subscripts(c.conkey, 1) k
                    where c.conkey[k] = t.tenant and c.confkey[k] = p.tenant)
union all
select 'index-without-tenant', t.name, 'no index begins with tenant_id',
       format('create index on %s (tenant_id)', t.name)
  from tenant_table t
 where not exists (select from pg_index i
                    where i.indrelid = t.oid and i.indkey[0] = t.tenant and i.indisvalid and i.indpred is null)"
    ),
};
