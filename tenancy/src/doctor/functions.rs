//! Functions: a definer function acts with its owner's rights, so each one is known, and what its names mean is
//! fixed.

use super::check::{Check, Rule, of_catalogue};

pub(super) const CHECK: Check = Check {
    rules: &[
        Rule::error(
            "definer-search-path",
            "fix the path, ending in pg_temp, and qualify names: the caller's path decides what they mean",
        ),
        Rule::error(
            "definer-unknown",
            "read it, and name it to the doctor if it takes exact keys only; otherwise make it SECURITY INVOKER",
        ),
        Rule::error(
            "definer-public",
            "revoke it, and grant it to the login that calls it: it acts with its owner's rights for everybody",
        ),
        Rule::error(
            "function-reserved",
            "revoke it: who has tenants' rows does not list the tenants, and who follows them removes nothing",
        ),
        Rule::warning("function-public", "revoke it, and grant it to the logins that call it"),
    ],
    query: of_catalogue!(
        r#"
-- $5: known definer functions, `schema.name(types)`; in a home also `name(types)`.
, routine as (
  select p.oid, p.prosecdef, p.proacl, p.proowner, p.prorettype, s.ours, s.home,
         p.proname || '(' || oidvectortypes(p.proargtypes) || ')' as signature,
         s.nspname || '.' || p.proname || '(' || oidvectortypes(p.proargtypes) || ')' as full_signature,
         format('%I.%I(%s)', s.nspname, p.proname, pg_get_function_identity_arguments(p.oid)) as name,
         (select substr(c, length('search_path=') + 1) from unnest(p.proconfig) c where c like 'search\_path=%') as path
    from pg_proc p join space s on s.oid = p.pronamespace
   where (s.ours or p.prosecdef)
     and not exists (select from pg_depend d
                      where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
),
writable as (
  select n.nspname from pg_namespace n
   where n.nspowner in (select role from reach where is_app)
      or exists (select from aclexplode(n.nspacl) a join holder h on h.role = a.grantee and h.is_app
                  where a.privilege_type = 'CREATE' and a.grantee <> n.nspowner)
),
temporary as (
  select exists (
    select from pg_database d
     cross join lateral aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
      join holder h on h.role = a.grantee and h.is_app
     where d.datname = current_database() and a.privilege_type = 'TEMPORARY') as allowed
)
select 'definer-search-path', r.full_signature,
       case when r.path is null then 'its search_path is the caller''s' else 'its search_path is ' || r.path end,
       format('alter routine %s set search_path = pg_catalog, pg_temp', r.name)
  from routine r
  cross join lateral (
    select coalesce(array_agg(trim(both '"' from trim(e)) order by nth), '{}') as names
      from unnest(string_to_array(r.path, ',')) with ordinality x (e, nth)
  ) p
 where r.prosecdef and (
   r.path is null
   or '$user' = any (p.names)
   or exists (select from writable w where w.nspname = any (p.names) and w.nspname <> 'pg_temp')
   -- Not named, pg_temp comes first.
   or case when 'pg_temp' = any (p.names) then p.names[cardinality(p.names)] <> 'pg_temp'
        else (select allowed from temporary) end)
union all
select 'definer-unknown', full_signature, 'acts with its owner''s rights, and is not known',
       format('alter routine %s security invoker', name)
  from routine
 where prosecdef and full_signature <> all ($5) and not (home and signature = any ($5))
union all
select case when prosecdef then 'definer-public' else 'function-public' end, full_signature,
       'may be called by everybody who can connect', format('revoke execute on routine %s from public', name)
  from routine
 where ours
   -- Called by a trigger and by nothing else, with the caller's rights.
   and (prosecdef or prorettype not in ('trigger'::regtype, 'event_trigger'::regtype))
   and exists (select from aclexplode(coalesce(proacl, acldefault('f', proowner))) a where a.grantee = 0)
union all
-- What lists tenants is the relay's alone, what removes rows of all tenants is the owner's.
select 'function-reserved', r.full_signature, format('%s may call it', h.name),
       format('revoke execute on routine %s from %s', r.name, h.name)
  from routine r
  join (values ('platform.active_tenants(uuid, integer)', true),
               ('platform.prune_stream(regclass, text, xid8, interval, uuid, integer)', false)) reserved (signature, relays)
    on reserved.signature = r.full_signature
  cross join lateral aclexplode(r.proacl) a
  join holder h on h.role = a.grantee
 where a.grantee not in (0::oid, r.proowner) and a.privilege_type = 'EXECUTE' and (h.is_app or not reserved.relays)"#
    ),
};
