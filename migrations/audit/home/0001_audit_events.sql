-- What happened, appended in the transaction of the change and never changed afterwards: the service login
-- may insert and read, and a trigger refuses the rest to everybody.
create table audit_events (
  tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid,
  id uuid not null,
  at timestamptz not null default clock_timestamp(),
  xid xid8 not null default pg_current_xact_id(),
  actor_type text not null,
  actor_id text not null,
  action text not null check (action ~ '^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$'),
  entity_type text,
  entity_id text,
  targets jsonb not null default '[]',
  outcome text not null default 'success' check (outcome in ('success', 'denied', 'failure')),
  reason text,
  before jsonb,
  after jsonb,
  evidence_id uuid,
  evidence jsonb,
  request_id text,
  ip text,
  user_agent text,
  primary key (tenant_id, id)
);
create index audit_events_of_entity on audit_events (tenant_id, entity_type, entity_id, id);
create index audit_events_of_actor on audit_events (tenant_id, actor_type, actor_id, id);
create index audit_events_of_action on audit_events (tenant_id, action, id);

alter table audit_events enable row level security;
alter table audit_events force row level security;
create policy tenant_isolation_8c2860cb on audit_events as permissive for all to public
  using (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid))
  with check (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid));
grant select, insert on audit_events to formwork_app;

create function refuse_audit_change() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  -- The copy that a move leaves behind: the trail itself is in the tenant's home.
  if tg_op = 'DELETE' and platform.is_removing_home(tg_table_schema) then
    return null;
  end if;
  raise exception 'the audit trail is append-only' using errcode = 'insufficient_privilege';
end;
$$;
create trigger append_only before update or delete or truncate on audit_events
  for each statement execute function refuse_audit_change();
alter table audit_events enable always trigger append_only;
