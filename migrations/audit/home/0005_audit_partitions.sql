-- Retention. Where many tenants share a home, its events stand in one partition a month, by their identities (UUIDv7
-- begins with the time), so that a month of which nothing is left is dropped whole. What may go is what a signed
-- tombstone says; leaves stay, and with them every proof.

-- The lowest identity of that moment.
create function audit_id_at(p_at timestamptz) returns uuid
language sql immutable strict set search_path = pg_catalog, pg_temp
return (lpad(to_hex(floor(extract(epoch from p_at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid;

-- Besides a home that its tenant has left: the owner, who says by a setting that it removes what a tombstone names. The
-- setting alone decides nothing: the service login can set it too.
create or replace function refuse_audit_change() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  if tg_op = 'DELETE' then
    -- The copy that a move leaves behind: the trail itself is in the tenant's home.
    if platform.is_removing_home(tg_table_schema) then
      return null;
    end if;
    if (tg_table_name like 'audit\_events%' or tg_table_name = 'audit_targets') and current_setting('app.removing_events', true) = tg_table_schema
       and pg_has_role((select relowner from pg_class where oid = tg_relid), 'usage') then
      return null;
    end if;
  end if;
  raise exception 'the audit trail is append-only' using errcode = 'insufficient_privilege';
end;
$$;

-- What an event was about besides its first target, so that the history of one entity is found by an index.
create table audit_targets (
  tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid,
  kind text not null,
  id text not null,
  event_id uuid not null,
  primary key (tenant_id, kind, id, event_id)
);
create index audit_targets_of_event on audit_targets (tenant_id, event_id);
create index audit_idempotency_of_event on audit_idempotency (tenant_id, event_id);

alter table audit_targets enable row level security;
alter table audit_targets force row level security;
create policy tenant_isolation_8c2860cb on audit_targets as permissive for all to public
  using (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid))
  with check (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid));
grant select, insert on audit_targets to formwork_app;
create trigger append_only before update or delete or truncate on audit_targets
  for each statement execute function refuse_audit_change();
alter table audit_targets enable always trigger append_only;

-- A partition has the walls of the whole, though nobody but the owner is let in directly.
create function wall_audit_partition(p_whole regclass, p_part regclass) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
  policy record;
  home name := (select n.nspname from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = p_whole);
begin
  execute format('alter table %s enable row level security, force row level security', p_part);
  for policy in
    select polname, pg_get_expr(polqual, polrelid) as using_, pg_get_expr(polwithcheck, polrelid) as check_
      from pg_policy where polrelid = p_whole
  loop
    execute format('create policy %I on %s as permissive for all to public using (%s) with check (%s)',
                   policy.polname, p_part, policy.using_, policy.check_);
  end loop;
  execute format('create trigger append_only before update or delete or truncate on %s
                    for each statement execute function %I.refuse_audit_change()', p_part, home);
  execute format('alter table %s enable always trigger append_only', p_part);
end;
$$;

-- Makes the partition of the month in which this day is; what has come for it already moves in.
create function make_audit_partition(p_whole regclass, p_day date) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
  home name := (select n.nspname from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = p_whole);
  month timestamp := date_trunc('month', p_day::timestamp);
  low uuid;
  high uuid;
  part text := format('%I.%I', home, 'audit_events_' || to_char(month, 'YYYYMM'));
  rest text := format('%I.audit_events_rest', home);
begin
  if to_regclass(part) is not null then
    return false;
  end if;
  execute format('select %1$I.audit_id_at($1), %1$I.audit_id_at($2)', home)
    into low, high using month at time zone 'UTC', (month + interval '1 month') at time zone 'UTC';
  execute format('create table %s (like %s including defaults including constraints)', part, p_whole);
  -- The owner is held by row security too, and would see none of them.
  execute format('lock table %s in access exclusive mode', rest);
  execute format('alter table %s disable row level security', rest);
  execute format('alter table %s disable trigger append_only', rest);
  execute format('with gone as (delete from %s where id >= %L and id < %L returning *) insert into %s select * from gone',
                 rest, low, high, part);
  execute format('alter table %s enable always trigger append_only', rest);
  execute format('alter table %s enable row level security', rest);
  execute format('alter table %s attach partition %s for values from (%L) to (%L)', p_whole, part, low, high);
  execute format('select %I.wall_audit_partition($1, $2)', home) using p_whole, part::regclass;
  return true;
end;
$$;

-- What stood in one table goes on as the partition of all that was before the next month.
do $$
declare
  home constant name := current_schema();
  month timestamptz := date_trunc('month', now() at time zone 'UTC' + interval '1 month') at time zone 'UTC';
  part record;
begin
  if home <> 'shared' then
    return;
  end if;
  alter table audit_events rename to audit_events_before;
  alter index audit_events_pkey rename to audit_events_before_pkey;
  for part in
    select c.relname from pg_index i join pg_class c on c.oid = i.indexrelid
     where i.indrelid = 'audit_events_before'::regclass and not i.indisprimary
  loop
    execute format('alter index %I rename to %I', part.relname, replace(part.relname, 'audit_events_', 'audit_events_before_'));
  end loop;
  revoke all on audit_events_before from formwork_app;

  create table audit_events (like audit_events_before including defaults including constraints) partition by range (id);
  alter table audit_events add primary key (tenant_id, id);
  create index audit_events_of_entity on audit_events (tenant_id, entity_type, entity_id, id);
  create index audit_events_of_actor on audit_events (tenant_id, actor_type, actor_id, id);
  create index audit_events_of_action on audit_events (tenant_id, action, id);
  create index audit_events_by_transaction on audit_events (tenant_id, xid, id);
  alter table audit_events enable row level security;
  alter table audit_events force row level security;
  create policy tenant_isolation_8c2860cb on audit_events as permissive for all to public
    using (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid))
    with check (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid));
  grant select, insert on audit_events to formwork_app;
  create trigger append_only before update or delete or truncate on audit_events
    for each statement execute function refuse_audit_change();
  alter table audit_events enable always trigger append_only;

  execute format('alter table audit_events attach partition audit_events_before for values from (minvalue) to (%L)',
                 audit_id_at(month));
  -- Whatever has no partition yet: nobody's event is refused because nobody has made one.
  create table audit_events_rest partition of audit_events default;
  perform wall_audit_partition('audit_events', 'audit_events_rest');
  for ahead in 0 .. 2 loop
    perform make_audit_partition('audit_events', ((month at time zone 'UTC') + make_interval(months => ahead))::date);
  end loop;
end;
$$;

-- Of this and the next three months those that are not there yet; how many were made. Asked often, it looks once into
-- the catalogue. What waits longer than the limit is left to the next who asks.
do $$
begin
  execute replace($create$
    create function prepare_audit_partitions() returns integer
    language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set lock_timeout = '2s'
    as $body$
    declare
      whole constant regclass := 'HOME.audit_events';
      today constant date := (now() at time zone 'UTC')::date;
      made integer := 0;
    begin
      if (select relkind from pg_class where oid = whole) <> 'p'
         or to_regclass('HOME.audit_events_' || to_char(today + interval '3 months', 'YYYYMM')) is not null
         or not pg_try_advisory_xact_lock(hashtextextended('formwork.audit.partitions', 0)) then
        return 0;
      end if;
      for ahead in 1 .. 3 loop
        made := made + HOME.make_audit_partition(whole, (today + make_interval(months => ahead))::date)::integer;
      end loop;
      return made;
    end;
    $body$;

    -- Of the transaction's tenant, what the tombstone with this number covers, at most so many; how many went. The
    -- tombstone was signed by who has the seals' key, and covers sealed events alone.
    create function remove_audit_events(p_tombstone bigint, p_most integer) returns bigint
    language plpgsql volatile set search_path = pg_catalog, pg_temp
    as $body$
    declare
      buried record;
      gone bigint;
    begin
      select c.size, substring(c.body from '\nremoved-before ([0-9a-f-]{36})\n')::uuid as before into buried
        from HOME.audit_checkpoints c where c.number = p_tombstone;
      if buried.before is null then
        raise exception 'checkpoint % is no tombstone', p_tombstone using errcode = 'invalid_parameter_value';
      end if;
      perform set_config('app.removing_events', split_part('HOME.audit_events', '.', 1), true);
      with due as (
        select e.tenant_id, e.id from HOME.audit_events e
          join HOME.audit_leaves l on l.tenant_id = e.tenant_id and l.event_id = e.id and l.position < buried.size
         where e.id < buried.before order by e.id limit p_most),
      events as (
        delete from HOME.audit_events e using due
         where e.tenant_id = due.tenant_id and e.id = due.id and e.id < buried.before returning e.id),
      keys as (
        delete from HOME.audit_idempotency k using due where k.tenant_id = due.tenant_id and k.event_id = due.id),
      targets as (
        delete from HOME.audit_targets t using due where t.tenant_id = due.tenant_id and t.event_id = due.id)
      select count(*) into gone from events;
      perform set_config('app.removing_events', '', true);
      return gone;
    end;
    $body$;

    -- Partitions of months that are over, with nothing in them any more: how many went.
    create function drop_audit_partitions() returns integer
    language plpgsql volatile set search_path = pg_catalog, pg_temp set lock_timeout = '2s'
    as $body$
    declare
      part record;
      is_empty boolean;
      dropped integer := 0;
    begin
      for part in
        select c.oid::regclass as name
          from pg_inherits i join pg_class c on c.oid = i.inhrelid
         where i.inhparent = 'HOME.audit_events'::regclass and c.relname ~ '^audit_events_\d{6}$'
           and c.relname < 'audit_events_' || to_char(now() at time zone 'UTC', 'YYYYMM')
         order by 1
      loop
        execute format('lock table %s in access exclusive mode', part.name);
        -- The owner is held by row security too, and would find every partition empty.
        execute format('alter table %s disable row level security', part.name);
        execute format('select not exists (select from %s)', part.name) into is_empty;
        if is_empty then
          execute format('drop table %s', part.name);
          dropped := dropped + 1;
        else
          execute format('alter table %s enable row level security', part.name);
        end if;
      end loop;
      return dropped;
    end;
    $body$;
  $create$, 'HOME', quote_ident(current_schema()));
end;
$$;

revoke all on function
  audit_id_at(timestamptz), wall_audit_partition(regclass, regclass), make_audit_partition(regclass, date),
  prepare_audit_partitions(), remove_audit_events(bigint, integer), drop_audit_partitions()
from public;
grant execute on function prepare_audit_partitions() to formwork_app;
