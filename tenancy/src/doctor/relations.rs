//! Views and types: what stands beside the tables and can undo what they do right.

use super::check::{Check, Rule, of_catalogue};

pub(super) const CHECK: Check = Check {
    rules: &[
        Rule::error(
            "view-not-invoker",
            "set security_invoker: otherwise its owner's eyes are used, not the service's",
        ),
        Rule::warning(
            "type-in-home",
            "make it once, in one schema that all homes share: prepared statements keep a type's identity",
        ),
    ],
    query: of_catalogue!(
        r"
select 'view-not-invoker', name, 'reads with the rights of its owner',
       case when current_setting('server_version_num')::int >= 150000
         then format('alter view %s set (security_invoker = true)', name) end
  from rel
 where relkind = 'v' and (ours or oid in (select oid from reads_tenants))
   and not exists (select from pg_options_to_table(reloptions)
                    where option_name = 'security_invoker' and option_value::boolean)
union all
select 'type-in-home', format('type %I.%I', s.nspname, t.typname),
       case t.typtype when 'e' then 'an enum' when 'r' then 'a range' else 'a composite type' end
         || ' of one home: the same text means another type in the next',
       null
  from pg_type t join space s on s.oid = t.typnamespace left join pg_class c on c.oid = t.typrelid
 where s.home and (t.typtype in ('e', 'r') or t.typtype = 'c' and c.relkind = 'c')"
    ),
};
