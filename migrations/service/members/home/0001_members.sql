-- Who belongs to the tenant. The role's tuple stands in permission_tuples, written in the same transaction;
-- this row is what people see.
create table members (
  tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid,
  user_id uuid not null,
  email text not null,
  display_name text not null,
  role text not null check (role in ('owner', 'admin', 'manager', 'member', 'billing', 'compliance')),
  created_at timestamptz not null default now(),
  primary key (tenant_id, user_id),
  unique (tenant_id, email)
);

alter table members enable row level security;
alter table members force row level security;
create policy tenant_isolation_8c2860cb on members as permissive for all to public
  using (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid))
  with check (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid));
grant select, insert, update, delete on members to formwork_app;
