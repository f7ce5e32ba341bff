create table notes (
  tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid,
  id uuid not null default gen_random_uuid(),
  body text not null,
  primary key (tenant_id, id)
);
alter table notes enable row level security;
alter table notes force row level security;
create policy tenant_isolation_8c2860cb on notes as permissive for all to public
  using (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid))
  with check (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid));
grant select, insert, update, delete on notes to formwork_app;
