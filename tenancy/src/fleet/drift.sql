-- What the catalogue says of every schema in $1, a line a fact, without the schema's name.
-- With an empty search_path everything outside pg_catalog is written with its schema, so that one
-- replacement takes it out. Leaves of partitioned tables are left out: every home has its own.
with home as (
  select oid, nspname as name, nspacl, nspowner from pg_namespace where nspname = any($1)),
relation as (
  select c.*, home.name as home from pg_class c join home on home.oid = c.relnamespace where not c.relispartition),
-- A role of a tenant's own holds what the service's login holds elsewhere.
grantee as (
  select oid, regexp_replace(rolname, '^formwork_t_[0-9a-f]{32}$', 'formwork_app') as rolname from pg_roles),
grants as (
  select relation.home, format('grant on %s to %s: ', relname, coalesce(r.rolname, 'public')) as start,
         privilege_type || case when is_grantable then '*' else '' end as privilege
    from relation
         cross join aclexplode(coalesce(relacl, acldefault(case relkind when 'S' then 's' else 'r' end::"char", relowner)))
         left join grantee r on r.oid = grantee
   where relkind in ('r', 'p', 'v', 'm', 'S')
  union all
  select home.name, format('grant on the schema to %s: ', coalesce(r.rolname, 'public')), privilege_type
    from home cross join aclexplode(coalesce(nspacl, acldefault('n', nspowner))) left join grantee r on r.oid = grantee
  union all
  select home.name, format('grant on function %s to %s: ', p.proname, coalesce(r.rolname, 'public')), privilege_type
    from home join pg_proc p on p.pronamespace = home.oid
         cross join aclexplode(coalesce(proacl, acldefault('f', proowner))) left join grantee r on r.oid = grantee
  union all
  select relation.home, format('grant on %s.%s to %s: ', relname, attname, coalesce(r.rolname, 'public')), privilege_type
    from relation join pg_attribute a on a.attrelid = relation.oid and a.attacl is not null
         cross join aclexplode(attacl) left join grantee r on r.oid = grantee),
fact as (
  select home, format('%s %s owner %s row security %s forced %s%s',
           case relkind when 'r' then 'table' when 'p' then 'table' when 'v' then 'view'
             when 'm' then 'materialized view' when 'S' then 'sequence' else 'relation' end,
           relname, pg_get_userbyid(relowner),
           case when relrowsecurity then 'on' else 'off' end, case when relforcerowsecurity then 'on' else 'off' end,
           coalesce(' with ' || array_to_string(reloptions, ', '), '')
             || case when relkind in ('v', 'm') then ' as ' || pg_get_viewdef(oid) else '' end) as line
    from relation where relkind in ('r', 'p', 'v', 'm', 'S', 'f')
  union all
  select home, format('column %s.%s %s%s%s%s%s', relname, attname, format_type(atttypid, atttypmod),
           case when attnotnull then ' not null' else '' end,
           case attidentity when '' then '' else ' identity ' || attidentity::text end,
           case attgenerated when '' then ' default ' else ' generated ' end || pg_get_expr(adbin, adrelid),
           case when attcollation in (0, 100) then '' else ' collation ' || attcollation::regcollation end)
    from relation join pg_attribute a on a.attrelid = relation.oid and attnum > 0 and not attisdropped
         left join pg_attrdef d on d.adrelid = relation.oid and d.adnum = a.attnum
   where relkind in ('r', 'p', 'v', 'm', 'f', 'c')
  union all
  select home, format('index %s on %s%s: %s', relation.relname, t.relname,
           case when indisvalid then '' else ' invalid' end,
           -- That of a partitioned table is written so, and is one all the same.
           replace(pg_get_indexdef(indexrelid), ' ON ONLY ', ' ON '))
    from relation join pg_index i on i.indexrelid = relation.oid join pg_class t on t.oid = i.indrelid
  union all
  select home, format('constraint %s on %s%s: %s', conname, relname,
           case when convalidated then '' else ' not validated' end, pg_get_constraintdef(c.oid))
    -- From version 18 on NOT NULL is a constraint as well; the column's line tells it.
    from relation join pg_constraint c on c.conrelid = relation.oid where contype not in ('t', 'n')
  union all
  select home, format('policy %s on %s %s for %s to %s using %s with check %s', polname, relname,
           case when polpermissive then 'permissive' else 'restrictive' end, polcmd,
           (select string_agg(coalesce(r.rolname, 'public'), ', ' order by r.rolname)
              from unnest(polroles) role left join pg_roles r on r.oid = role),
           coalesce(pg_get_expr(polqual, polrelid), 'none'), coalesce(pg_get_expr(polwithcheck, polrelid), 'none'))
    from relation join pg_policy p on p.polrelid = relation.oid
  union all
  select home, format('trigger %s on %s enabled %s: %s', tgname, relname, tgenabled, pg_get_triggerdef(t.oid))
    from relation join pg_trigger t on t.tgrelid = relation.oid where not tgisinternal
  union all
  select home.name, format('function %s(%s) owner %s: %s', proname, pg_get_function_identity_arguments(p.oid),
           pg_get_userbyid(proowner), pg_get_functiondef(p.oid))
    from home join pg_proc p on p.pronamespace = home.oid where prokind in ('f', 'p')
  union all
  select home.name, format('type %s: %s', typname, coalesce(
           (select string_agg(enumlabel, ', ' order by enumsortorder) from pg_enum where enumtypid = t.oid),
           case typtype when 'd' then format_type(typbasetype, typtypmod) || coalesce(' default ' || typdefault, '')
             || coalesce((select string_agg(' ' || pg_get_constraintdef(c.oid), '' order by conname)
                            from pg_constraint c where contypid = t.oid), '') end, typtype::text))
    from home join pg_type t on t.typnamespace = home.oid where typtype in ('e', 'd', 'r')
  union all
  select home, start || string_agg(privilege, ', ' order by privilege) from grants group by home, start),
plain as (
  select home, regexp_replace(replace(line, home || '.', ''), '\s+', ' ', 'g') as line from fact)
