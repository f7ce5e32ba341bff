//! Policies: exactly one permissive policy a table, for all commands, and it reads as our generator writes it.
//!
//! Its name carries the hash of its text, so a name that is not this generator's tells of another version, and a
//! text under this name that is not this generator's was changed by hand.
//!
//! Permissive policies are joined by OR, so a second one widens the first. Restrictive ones narrow, so they are
//! welcome; those of a declared table are looked for and compared. A stream has one more, by which the relay reads. A policy is compared as the server prints it; what
//! is wrong with one that differs is said as closely as can be told.

use super::check::{Check, Rule, of_catalogue};

const WRITE_AGAIN: &str =
    "put the generated policy (`TenantTable`) in its place; extra rules are RESTRICTIVE policies";

pub(super) const CHECK: Check = Check {
    rules: &[
        Rule::error("policy-extra", "drop it, or make it RESTRICTIVE: permissive policies are joined by OR"),
        Rule::error("policy-missing", "create the generated policy (`TenantTable`)"),
        Rule::error("policy-wrong-command", WRITE_AGAIN),
        Rule::error("policy-wrong-roles", WRITE_AGAIN),
        Rule::error("policy-fail-open", WRITE_AGAIN),
        Rule::error("policy-casts-tenant", WRITE_AGAIN),
        Rule::error("policy-volatile", WRITE_AGAIN),
        Rule::error("policy-no-check", WRITE_AGAIN),
        Rule::error("policy-differs", WRITE_AGAIN),
        Rule::error("policy-misnamed", "rename it: the hash in the name is to be that of the text"),
        Rule::error("restriction-missing", "create the declared rule: without it the table's rows lie open"),
        Rule::error("restriction-differs", "put the declared rule in its place, or declare it as it is here"),
        Rule::warning(
            "restriction-slow",
            "compare columns uncast, and only with what is STABLE and in a sub-select",
        ),
    ],
    query: of_catalogue!(
        r"
-- $6: our clause as this server prints it; $8: the statement that makes our policy; $10: its name; $11: the rules of
-- declared tables, with their clauses as printed for the shared home.
, declared as (
  select t.oid, t.name, d.rule, d.name as polname, d.using_, d.check_, replace(d.sql, '@table@', t.name) as sql
    from unnest($11::jsonb[]) j
    cross join lateral jsonb_to_record(j)
      as d (declared text, rule text, name text, using_ text, check_ text, sql text)
    join tenant_table t on t.plain = d.declared or t.home and t.relname = d.declared
),
policy as (
  select t.oid, t.name, t.nspname, t.tenant_type, p.polname::text as polname, p.polpermissive,
         p.polcmd = '*' as every_command,
         p.polroles <@ (array[0::oid] || array(select role from reach where is_app)) as for_app,
         coalesce(t.platform and p.polpermissive and p.polcmd = 'r'
                  and p.polroles = array(select oid from login where not is_app), false) as relays,
         pg_get_expr(p.polqual, p.polrelid) as using_, pg_get_expr(p.polwithcheck, p.polrelid) as check_,
         concat(p.polqual::text, p.polwithcheck::text) as tree
    from tenant_table t join pg_policy p on p.polrelid = t.oid
),
restriction as (
  select d.*, p.polname is not null as found,
         p.every_command and p.for_app and not p.polpermissive
         and replace(p.using_, p.nspname || '.', '') = d.using_
         and replace(p.check_, p.nspname || '.', '') = d.check_ as agrees
    from declared d left join policy p on p.oid = d.oid and p.polname = d.polname
),
judged as (
  select *, case
      when ours then null
      when not every_command then 'policy-wrong-command'
      when not for_app then 'policy-wrong-roles'
      when said ~ '\mCOALESCE\(|\mOR\M' then 'policy-fail-open'
      -- The type is a finding of its own.
      when tenant_type <> 'uuid'::regtype then null
      when casts then 'policy-casts-tenant'
      when volatile_ then 'policy-volatile'
      when using_ = $6 and check_ is null then 'policy-no-check'
      else 'policy-differs'
    end as fault
    from policy
    cross join lateral (select every_command and for_app and using_ = $6 and coalesce(check_ = $6, false)) o (ours)
    cross join lateral (
      -- Without string literals, which may say anything.
      select case when not ours then regexp_replace(concat_ws(' ', using_, check_), '''[^'']*''', '', 'g') end
    ) s (said)
    cross join lateral (select case when not ours then said ~ '\(tenant_id\)::' end) c (casts)
    cross join lateral (
      -- From the tree itself: dependencies on built-in functions are not recorded.
      select case when not ours then exists (
        select from regexp_matches(tree, ':(?:op)?funcid (\d+)', 'g') m
          join pg_proc f on f.oid = m[1]::oid where f.provolatile = 'v') end
    ) v (volatile_)
   where not relays
),
counted as (
  select *, count(*) over (partition by oid) as n,
         row_number() over (partition by oid, fault is null order by polname <> $10, polname) as nth
    from judged where polpermissive
)
select case when n = 1 then fault else 'policy-extra' end, format('policy %I on %s', polname, name),
       case fault
         when 'policy-wrong-command' then 'is not for all commands'
         when 'policy-wrong-roles' then 'is not for the service'
         when 'policy-fail-open' then 'can be true without a tenant'
         when 'policy-casts-tenant' then 'casts the column, so that no index serves it'
         when 'policy-volatile' then 'calls a volatile function for every row'
         when 'policy-no-check' then 'has no WITH CHECK of its own'
         when 'policy-differs' then case
           when polname = $10 then 'was changed by hand: it has the generator''s name and not its text'
           when polname ~ '^tenant_isolation_[0-9a-f]{8}$' then 'is of another version of the generator'
           else 'is not what the generator writes' end
         else 'stands beside another'
       end || format(': using %s with check %s', coalesce(using_, 'nothing'), coalesce(check_, 'nothing')),
       format('drop policy %I on %s', polname, name)
         || case when n = 1 then '; ' || replace($8, '@table@', name) else '' end
  from counted
 where (n = 1 and fault is not null) or (n > 1 and (fault is not null or nth > 1))
union all
select 'policy-missing', t.name, 'has no policy that lets the tenant in and the others out',
       replace($8, '@table@', t.name)
  from tenant_table t left join counted c on c.oid = t.oid
 group by t.oid, t.name
having count(c.oid) <> 1 and count(*) filter (where c.oid is not null and c.fault is null) = 0
union all
select 'policy-misnamed', format('policy %I on %s', polname, name),
       'has the generator''s text and not its name, ' || $10,
       format('alter policy %I on %s rename to %I', polname, name, $10)
  from counted where n = 1 and fault is null and polname <> $10
union all
select 'restriction-missing', format('policy %I on %s', polname, name), 'is declared and is not there', sql
  from restriction where not found
union all
select 'restriction-differs', format('policy %I on %s', polname, name),
       'has another text than the declared rule',
       format('drop policy %I on %s; %s', polname, name, sql)
  from restriction where found and agrees is distinct from true
union all
select 'restriction-differs', format('policy %I on %s', p.polname, p.name),
       'is another text of a declared rule',
       format('drop policy %I on %s', p.polname, p.name)
  from policy p
 where not p.polpermissive and exists (
   select from declared d where d.oid = p.oid and p.polname ~ ('^' || d.rule || '_[0-9a-f]{8}$'))
   and p.polname not in (select d.polname from declared d where d.oid = p.oid)
union all
select 'restriction-slow', format('policy %I on %s', polname, name),
       case when volatile_ then 'calls a volatile function for every row'
         else 'casts tenant_id, so that no index serves it' end,
       null
  from judged where not polpermissive and not ours and (volatile_ or casts)"
    ),
};
