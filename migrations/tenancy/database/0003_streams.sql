-- Following the streams, and work over many tenants.

-- How far each consumer of a stream has come. Kept beside the rows on purpose: after a restore or a failover both are
-- of the same moment.
create table platform.stream_positions (
  consumer text not null check (consumer <> ''),
  stream text not null,
  position text not null,
  updated_at timestamptz not null default now(),
  primary key (consumer, stream)
);
grant select, insert, update, delete on platform.stream_positions to formwork_relay;

-- Below this, rows of the stream may have been removed: a follower that has not passed it would skip them unknowingly.
create table platform.stream_floors (
  stream text primary key,
  floor xid8 not null,
  updated_at timestamptz not null default now()
);

create function platform.stream_floor(p_stream text) returns xid8
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select f.floor from platform.stream_floors f where f.stream = p_stream;
end;

-- `A sweep of this kind has work here`, written with the work. Only ever inserted: ON CONFLICT would wait for whoever
-- has the same row open. A visit deletes what it found in the transaction that does the work.
create table platform.sweep_hints (
  tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid,
  id uuid not null default gen_random_uuid(),
  kind text not null check (kind <> ''),
  due_at timestamptz not null default now(),
  primary key (tenant_id, id)
);
create index sweep_hints_due on platform.sweep_hints (kind, due_at, tenant_id);
alter table platform.sweep_hints enable row level security;
alter table platform.sweep_hints force row level security;
create policy tenant_isolation_8c2860cb on platform.sweep_hints as permissive for all to public
  using (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid))
  with check (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid));
grant select, insert, delete on platform.sweep_hints to formwork_app;
create policy relay_reads on platform.sweep_hints as permissive for select to formwork_relay using (true);
grant select on platform.sweep_hints to formwork_relay;

-- Where the full round of each kind stands, so that one that was interrupted goes on where it was.
create table platform.sweep_rounds (
  kind text primary key check (kind <> ''),
  after_tenant uuid,
  begun_at timestamptz not null default now(),
  ended_at timestamptz
);
grant select, insert, update on platform.sweep_rounds to formwork_relay;

-- Identities of the tenants that live in this database, a page at a time, for the relay alone: it has no grant on any tenant's rows,
-- and the login that has them cannot ask.
create function platform.active_tenants(p_after uuid, p_limit integer) returns setof uuid
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select h.tenant_id from platform.homes h
   where h.state in ('live', 'frozen')
     and h.tenant_id > coalesce(p_after, '00000000-0000-0000-0000-000000000000'::uuid)
   order by h.tenant_id limit least(p_limit, 1000);
end;

-- Forced row security blinds the owner as well, so old rows are removed tenant by tenant, in pages of tenants. The floor
-- is raised in the transaction that removes: a follower sees both or neither.
create function platform.prune_stream(
  p_stream regclass, p_name text, p_below xid8, p_age interval, p_after uuid, p_limit integer
) returns table (last_tenant uuid, pruned bigint)
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
  tenant uuid;
  removed bigint;
  highest numeric;
  above numeric := 0;
begin
  pruned := 0;
  for tenant in
    select distinct h.tenant_id from platform.homes h
     where h.tenant_id > coalesce(p_after, '00000000-0000-0000-0000-000000000000'::uuid)
     order by h.tenant_id limit p_limit
  loop
    perform set_config('app.current_tenant', tenant::text, true);
    execute format(
      'with gone as (delete from %s where tenant_id = $1 and xid < $2 and at < now() - $3 returning xid)
       select count(*), coalesce(max(xid::text::numeric), 0) from gone', p_stream)
      into removed, highest using tenant, p_below, p_age;
    pruned := pruned + removed;
    above := greatest(above, highest);
    last_tenant := tenant;
  end loop;
  perform set_config('app.current_tenant', '', true);
  if pruned > 0 then
    insert into platform.stream_floors as f (stream, floor) values (p_name, (above + 1)::text::xid8)
    on conflict (stream) do update set floor = excluded.floor, updated_at = now() where f.floor < excluded.floor;
  end if;
  return next;
end;
$$;

revoke all on function
  platform.stream_floor(text), platform.active_tenants(uuid, integer),
  platform.prune_stream(regclass, text, xid8, interval, uuid, integer)
from public;
grant execute on function platform.stream_floor(text) to formwork_app, formwork_relay;
grant execute on function platform.active_tenants(uuid, integer) to formwork_relay;
