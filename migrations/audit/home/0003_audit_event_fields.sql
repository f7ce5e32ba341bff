-- On whose behalf, by whom in truth, in which trace; and fields that only the tenant's own key opens. A column that is
-- added has no default: in the leaf of an event that was sealed before, it is absent.
alter table audit_events
  add column impersonator text,
  add column on_behalf_of text,
  add column trace_id text,
  add column region text,
  add column personal jsonb;

-- What newly visible rows are found by (see tenancy's streams).
create index audit_events_by_transaction on audit_events (tenant_id, xid, id);

-- Which event a caller's key stands for, so that an attempt that is repeated is told once.
create table audit_idempotency (
  tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid,
  key text not null check (key <> ''),
  event_id uuid not null,
  at timestamptz not null default now(),
  primary key (tenant_id, key)
);

alter table audit_idempotency enable row level security;
alter table audit_idempotency force row level security;
create policy tenant_isolation_8c2860cb on audit_idempotency as permissive for all to public
  using (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid))
  with check (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid));
grant select, insert, update, delete on audit_idempotency to formwork_app;
