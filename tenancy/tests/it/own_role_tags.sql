create table tags (
  tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid,
  id uuid not null default gen_random_uuid(),
  body text not null,
  primary key (tenant_id, id)
);
alter table tags enable row level security;
alter table tags force row level security;
create policy tenant_isolation_8c2860cb on tags as permissive for all to public
  using (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid))
  with check (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid));
grant select, insert, update, delete on tags to formwork_app;
