//! Triggers: a log that is written by a trigger is as good as the trigger.

use super::check::{Check, Rule, of_catalogue};

pub(super) const CHECK: Check = Check {
    rules: &[
        Rule::error("trigger-disabled", "enable it, and find out what was written meanwhile"),
        Rule::error("trigger-not-always", "enable it ALWAYS: a replication role's writes pass by it"),
        Rule::error(
            "trigger-missing",
            "create it as its migration does, and find out what was written meanwhile",
        ),
    ],
    query: of_catalogue!(
        r"
-- $9: triggers that must be there and fire always, `table.trigger`.
, wanted as (
  select split_part(w, '.', 1) as relname, split_part(w, '.', 2) as tgname from unnest($9::text[]) w
),
found as (
  select r.oid, r.name, t.tgname::text as tgname, t.tgenabled, t.tgisinternal, w.tgname is not null as wanted
    from rel r
    join pg_trigger t on t.tgrelid = r.oid
    left join wanted w on r.home and w.relname = r.relname and w.tgname = t.tgname::text and not t.tgisinternal
   where r.ours
)
select 'trigger-disabled', format('trigger %I on %s', tgname, name),
       case when tgisinternal then 'a foreign key is not checked' else 'does not fire' end,
       format('alter table %s enable %s %I', name, case when wanted then 'always trigger' else 'trigger' end, tgname)
  from found where tgenabled = 'D'
union all
select 'trigger-not-always', format('trigger %I on %s', tgname, name), 'does not fire for everybody',
       format('alter table %s enable always trigger %I', name, tgname)
  from found where wanted and tgenabled in ('O', 'R')
union all
select 'trigger-missing', format('trigger %I on %s', w.tgname, r.name), 'is not there', null
  from rel r join wanted w using (relname)
 where r.home and r.relkind in ('r', 'p') and not r.relispartition
   and not exists (select from pg_trigger t
                    where t.tgrelid = r.oid and t.tgname = w.tgname::name and not t.tgisinternal)"
    ),
};
