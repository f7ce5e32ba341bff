-- A stream: one table a database, whatever the homes in it. A business transaction appends here;
-- the relay login follows all tenants.
create table platform.outbox (
  tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid,
  id uuid not null,
  xid xid8 not null default pg_current_xact_id(),
  kind text not null,
  payload jsonb not null,
  request_id text,
  at timestamptz not null default now(),
  primary key (tenant_id, id)
);
-- The order in which a follower reads: with the transaction alone, the rows of a large one were sorted for every page.
create index outbox_in_order on platform.outbox (xid, id);
alter table platform.outbox enable row level security;
alter table platform.outbox force row level security;
create policy tenant_isolation_8c2860cb on platform.outbox as permissive for all to public
  using (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid))
  with check (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid));
grant select, insert on platform.outbox to formwork_app;
create policy relay_reads on platform.outbox as permissive for select to formwork_relay using (true);
grant select on platform.outbox to formwork_relay;
