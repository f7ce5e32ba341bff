-- What every home has. In the shared one the tables are there already; here they get their walls.
create table if not exists boards (
  tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid,
  id uuid not null default gen_random_uuid(),
  name text not null,
  primary key (tenant_id, id),
  unique (tenant_id, name)
);
create table if not exists notes (
  tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid,
  id uuid not null default gen_random_uuid(),
  board_id uuid not null,
  body text not null,
  primary key (tenant_id, id),
  foreign key (tenant_id, board_id) references boards (tenant_id, id) on delete cascade
);
create index if not exists notes_of_board on notes (tenant_id, board_id);

-- From here on as TenantTable::sql writes it.
alter table boards enable row level security;
alter table boards force row level security;
create policy tenant_isolation_8c2860cb on boards as permissive for all to public
  using (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid))
  with check (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid));
grant select, insert, update, delete on boards to formwork_app;
alter table notes enable row level security;
alter table notes force row level security;
create policy tenant_isolation_8c2860cb on notes as permissive for all to public
  using (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid))
  with check (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid));
grant select, insert, update, delete on notes to formwork_app;
