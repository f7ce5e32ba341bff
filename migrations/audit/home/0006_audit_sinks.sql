-- Events on their way out of the trail: see platform.audit_outbox. Once a statement. ALWAYS: those that a replication role
-- writes go out as well.
create trigger follow after insert on audit_events
  referencing new table as new_rows
  for each statement execute function platform.follow_audit_events();
alter table audit_events enable always trigger follow;

-- What a sink would not take. The event itself is in the trail.
create table audit_dead_letters (
  tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid,
  sink text not null check (sink <> ''),
  event_id uuid not null,
  reason text not null,
  attempts integer not null check (attempts > 0),
  at timestamptz not null default clock_timestamp(),
  primary key (tenant_id, sink, event_id)
);

alter table audit_dead_letters enable row level security;
alter table audit_dead_letters force row level security;
create policy tenant_isolation_8c2860cb on audit_dead_letters as permissive for all to public
  using (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid))
  with check (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid));
grant select, insert, update, delete on audit_dead_letters to formwork_app;
