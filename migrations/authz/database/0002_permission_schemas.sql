-- Schemas stand in the homes (home/0003); what the triggers of all homes call stands here.

-- The place that a tuple takes in a schema: `document#viewer@team#member with in_team expiring`. Written in the same way
-- by `Schema::places`.
create function platform.permission_place(
  namespace text, relation text, subject_ns text, subject_id text, subject_rel text, condition text, expires_at timestamptz
) returns text
language sql immutable parallel safe
begin atomic
  select namespace || '#' || relation || '@' || subject_ns
         || case when subject_rel is not null then '#' || subject_rel when subject_id = '*' then ':*' else '' end
         || case when condition is null then '' else ' with ' || condition end
         || case when expires_at is null then '' else ' expiring' end;
end;

-- What the newest schema of a tenant has no place for is not stored, whoever stores it: during a rollout a program that
-- knows an older schema still runs. Nothing is asked of a tenant without a stored schema.
--
-- Runs behind log_insert and log_update, which come first by their names: they wait for a schema that is being adopted.
create function platform.refuse_orphans() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
  tenant uuid;
  places text[];
  place text;
begin
  for tenant in select distinct n.tenant_id from new_rows n loop
    execute format(
      'select s.places from %1$I.permission_schema_versions v join %1$I.permission_schemas s using (tenant_id, digest)
        where tenant_id = $1 order by v.version desc limit 1', tg_table_schema) into places using tenant;
    continue when places is null;
    select platform.permission_place(n.namespace, n.relation, n.subject_ns, n.subject_id, n.subject_rel, n.condition, n.expires_at)
      into place
      from new_rows n
      left join unnest(places) known (place)
        on known.place = platform.permission_place(
             n.namespace, n.relation, n.subject_ns, n.subject_id, n.subject_rel, n.condition, n.expires_at)
     where n.tenant_id = tenant and known.place is null
     limit 1;
    if place is not null then
      raise exception 'the tenant''s newest permission schema has no place for `%`', place
        using errcode = 'check_violation', constraint = 'permission_schema_places', detail = place,
              hint = 'a newer program has adopted a schema without it: deploy that program, or adopt one that has it';
    end if;
  end loop;
  return null;
end;
$$;

-- Whoever watches the tuples sees with them by which schema they are read.
create function platform.log_permission_schema() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  insert into platform.permission_changes (tenant_id, op, namespace, object_id, relation, subject_ns, subject_id)
  select tenant_id, 'schema', '', encode(digest, 'hex'), '', '', version::text from new_rows order by version;
  return null;
end;
$$;

create function platform.refuse_schema_change() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception 'a stored permission schema does not change'
    using errcode = 'insufficient_privilege', hint = 'adopt another one';
end;
$$;

revoke all on function
  platform.permission_place(text, text, text, text, text, text, timestamptz), platform.refuse_orphans(),
  platform.log_permission_schema(), platform.refuse_schema_change()
from public;
-- The triggers run with the rights of whoever writes.
grant execute on function platform.permission_place(text, text, text, text, text, text, timestamptz) to formwork_app;
