-- Requests that were carried out, by the key that makes a repeat of one harmless.
create table permission_writes (
  tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid,
  key text not null check (key <> ''),
  -- SHA-256 of the request: another one with the same key is a mistake.
  digest bytea not null check (length(digest) = 32),
  at timestamptz not null default now(),
  primary key (tenant_id, key)
);
create index permission_writes_by_age on permission_writes (tenant_id, at);

alter table permission_writes enable row level security;
alter table permission_writes force row level security;
create policy tenant_isolation_8c2860cb on permission_writes as permissive for all to public
  using (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid))
  with check (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid));
grant select, insert, update, delete on permission_writes to formwork_app;
