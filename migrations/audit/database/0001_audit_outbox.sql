-- A stream: which events of the trails are still to go to the sinks. Only whose and which; what the event says stays in
-- the tenant's home under row security, so that who follows all tenants reads nobody's trail.
create table platform.audit_outbox (
  tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid,
  id uuid not null,
  xid xid8 not null default pg_current_xact_id(),
  at timestamptz not null default clock_timestamp(),
  primary key (tenant_id, id)
);
create index audit_outbox_in_order on platform.audit_outbox (xid, id);
alter table platform.audit_outbox enable row level security;
alter table platform.audit_outbox force row level security;
create policy tenant_isolation_8c2860cb on platform.audit_outbox as permissive for all to public
  using (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid))
  with check (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid));
grant select, insert on platform.audit_outbox to formwork_app;
create policy relay_reads on platform.audit_outbox as permissive for select to formwork_relay using (true);
grant select on platform.audit_outbox to formwork_relay;

-- Is there a sink, and is this the home in which the tenant works? What a move or an import brings into a home that is
-- being filled has been told before.
create function platform.audit_is_followed(p_tenant uuid, p_schema text) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select exists (select from platform.stream_positions p where p.stream = 'platform.audit_outbox')
     and exists (select from platform.homes h
                  where h.tenant_id = p_tenant and h.schema_name = p_schema and h.state in ('live', 'frozen'));
end;

-- The trigger of every home calls it: whoever writes an event, and however, it goes to the sinks. It runs with the
-- rights of whoever writes, so that row security holds.
create function platform.follow_audit_events() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  with followed as materialized (
    select t.tenant_id from (select distinct tenant_id from new_rows) t
     where platform.audit_is_followed(t.tenant_id, tg_table_schema))
  insert into platform.audit_outbox (tenant_id, id)
  select n.tenant_id, n.id from new_rows n join followed f on f.tenant_id = n.tenant_id;
  return null;
end;
$$;

revoke all on function platform.audit_is_followed(uuid, text), platform.follow_audit_events() from public;
grant execute on function platform.audit_is_followed(uuid, text) to formwork_app;
