//! Policies: exactly one permissive policy a table, for all commands, and it reads as our generator writes it.
//!
//! Permissive policies are joined by OR, so a second one widens the first. Restrictive ones narrow, so they are
//! welcome. A stream has one more, by which the relay reads. A policy is compared as the server prints it; what
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
        Rule::warning(
            "restriction-slow",
            "compare columns uncast, and only with what is STABLE and in a sub-select",
        ),
    ],
    query: of_catalogue!(
        r"
-- $6: our clause as this server prints it; $8: the statement that makes our policy.
, policy as (
  select t.oid, t.name, t.tenant_type, p.polname, p.polpermissive,
         p.polcmd = '*' as every_command,
         p.polroles <@ (array[0::oid] || array(select role from reach where is_app)) as for_app,
         coalesce(t.platform and p.polpermissive and p.polcmd = 'r'
                  and p.polroles = array(select oid from login where not is_app), false) as relays,
         pg_get_expr(p.polqual, p.polrelid) as using_, pg_get_expr(p.polwithcheck, p.polrelid) as check_,
         concat(p.polqual::text, p.polwithcheck::text) as tree
    from tenant_table t join pg_policy p on p.polrelid = t.oid
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
         row_number() over (partition by oid, fault is null order by polname <> 'tenant_isolation', polname) as nth
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
         when 'policy-differs' then 'is not what the generator writes'
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
select 'restriction-slow', format('policy %I on %s', polname, name),
       case when volatile_ then 'calls a volatile function for every row'
         else 'casts tenant_id, so that no index serves it' end,
       null
  from judged where not polpermissive and not ours and (volatile_ or casts)"
    ),
};
