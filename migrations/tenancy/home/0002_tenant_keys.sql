-- The keys under which a tenant's fields are sealed, each wrapped by the key provider: what stands here opens
-- nothing without a key that is kept outside of the database. A shredded tenant keeps its lines, as tombstones,
-- so that nobody makes it a new key by reading; version 0 is the tombstone of a tenant that had none.
create table tenant_keys (
  tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid,
  purpose text not null check (purpose in ('data', 'index')),
  version integer not null check (version >= 0),
  provider_key text,
  wrapped bytea,
  created_at timestamptz not null default now(),
  retired_at timestamptz,
  shredded_at timestamptz,
  destroyed_at timestamptz,
  primary key (tenant_id, purpose, version),
  check ((wrapped is null) = (shredded_at is not null)),
  check (wrapped is null or provider_key is not null),
  check (destroyed_at is null or shredded_at is not null),
  check (version > 0 or shredded_at is not null)
);

alter table tenant_keys enable row level security;
alter table tenant_keys force row level security;
create policy tenant_isolation_8c2860cb on tenant_keys as permissive for all to public
  using (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid))
  with check (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid));
grant select, insert, update, delete on tenant_keys to formwork_app;
