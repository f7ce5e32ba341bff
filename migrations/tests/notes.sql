create table notes (
  tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid,
  id uuid not null,
  project_id uuid,
  author text not null,
  body text not null,
  is_private boolean not null default false,
  created_at timestamptz not null default now(),
  primary key (tenant_id, id),
  foreign key (tenant_id, project_id) references projects (tenant_id, id)
);
create unique index notes_by_project_id_body on notes (tenant_id, project_id, body);
create index notes_by_created_at on notes (tenant_id, created_at);
alter table notes enable row level security;
alter table notes force row level security;
create policy tenant_isolation_8c2860cb on notes as permissive for all to public
  using (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid))
  with check (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid));
create policy own_rows_6d854937 on notes as restrictive for all to public
  using (not is_private or author = (select current_setting('app.author', true)))
  with check (author = (select current_setting('app.author', true)));
grant select, insert, update, delete on notes to formwork_app;
