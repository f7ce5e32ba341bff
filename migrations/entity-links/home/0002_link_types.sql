-- The link types that a tenant has besides the application's. Whoever makes a link of one holds a share of its row, and
-- whoever changes it holds all of it, so that no link is stored under rules that have just gone.
create table link_types (
  tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid,
  name varchar(50) not null,
  definition jsonb not null,
  created_by text not null,
  created_at timestamptz not null default now(),
  primary key (tenant_id, name)
);

alter table link_types enable row level security;
alter table link_types force row level security;
create policy tenant_isolation_8c2860cb on link_types as permissive for all to public
  using (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid))
  with check (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid));
grant select, insert, update, delete on link_types to formwork_app;
