-- Imports of tenants: one that is open holds the registry's row in `provisioning`. What an import that was cut off has
-- left is found by its line, and removed before the next one begins.
create table platform.tenant_imports (
  id uuid primary key,
  tenant_id uuid not null,
  -- Of whom the archive says that it is: another one for a copy.
  from_tenant uuid not null,
  -- The registry's row of the deleted tenant that is restored; null when there was none.
  replaced jsonb,
  outcome text not null default 'open' check (outcome in ('open', 'done', 'undone')),
  -- What was read, table by table, and the checksum of the whole, when it is done.
  sections jsonb not null default '[]',
  sha256 text,
  reason text,
  begun_at timestamptz not null default now(),
  ended_at timestamptz,
  check ((outcome = 'open') = (ended_at is null))
);
create unique index tenant_imports_one_open on platform.tenant_imports (tenant_id) where outcome = 'open';
create index tenant_imports_of_tenant on platform.tenant_imports (tenant_id, begun_at);
