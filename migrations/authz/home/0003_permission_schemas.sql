-- The schemas by which the tenant's tuples were and are read: each once, by what it says.
create table permission_schemas (
  tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid,
  -- SHA-256 of the language and the text.
  digest bytea not null,
  language text not null check (language in ('native', 'openfga', 'openfga-json')),
  source text not null,
  -- What it has a place for, as platform.permission_place writes it.
  places text[] not null,
  stored_at timestamptz not null default now(),
  primary key (tenant_id, digest),
  check (digest = sha256(convert_to(language || E'\n' || source, 'UTF8')))
);

alter table permission_schemas enable row level security;
alter table permission_schemas force row level security;
create policy tenant_isolation_8c2860cb on permission_schemas as permissive for all to public
  using (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid))
  with check (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid));
grant select, insert on permission_schemas to formwork_app;

-- Which of them was adopted when. The newest decides what may be stored; programs that know an older one read on.
create table permission_schema_versions (
  tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid,
  version integer not null check (version > 0),
  digest bytea not null,
  adopted_at timestamptz not null default now(),
  primary key (tenant_id, version),
  foreign key (tenant_id, digest) references permission_schemas (tenant_id, digest)
);
create index permission_schema_versions_by_digest on permission_schema_versions (tenant_id, digest);

alter table permission_schema_versions enable row level security;
alter table permission_schema_versions force row level security;
create policy tenant_isolation_8c2860cb on permission_schema_versions as permissive for all to public
  using (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid))
  with check (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid));
grant select, insert on permission_schema_versions to formwork_app;

create trigger immutable before update on permission_schemas
  for each statement execute function platform.refuse_schema_change();
create trigger immutable before update on permission_schema_versions
  for each statement execute function platform.refuse_schema_change();
create trigger log_schema after insert on permission_schema_versions
  referencing new table as new_rows
  for each statement execute function platform.log_permission_schema();
create trigger refuse_orphans_inserted after insert on permission_tuples
  referencing new table as new_rows
  for each statement execute function platform.refuse_orphans();
create trigger refuse_orphans_updated after update on permission_tuples
  referencing new table as new_rows
  for each statement execute function platform.refuse_orphans();
alter table permission_schemas enable always trigger immutable;
alter table permission_schema_versions enable always trigger immutable;
alter table permission_schema_versions enable always trigger log_schema;
alter table permission_tuples enable always trigger refuse_orphans_inserted;
alter table permission_tuples enable always trigger refuse_orphans_updated;
