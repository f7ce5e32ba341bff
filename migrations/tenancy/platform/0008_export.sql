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

-- While a tenant is being imported nothing is kept of it that the import does not bring: nobody has looked at its home
-- yet, and what refers to the registry's row would keep an import that fails from being undone.
create function platform.refuse_while_imported() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  if exists (select from platform.tenant_imports i join platform.tenants t on t.id = i.tenant_id
              where i.tenant_id = new.tenant_id and i.outcome = 'open' and t.status = 'provisioning'
                and i.id::text is distinct from current_setting('app.import', true)) then
    raise exception 'tenant % is being imported', new.tenant_id
      using errcode = 'check_violation', constraint = 'refuse_while_imported';
  end if;
  return new;
end;
$$;
revoke all on function platform.refuse_while_imported() from public;
create trigger refuse_while_imported before insert on platform.tenant_transitions for each row
  execute function platform.refuse_while_imported();
create trigger refuse_while_imported before insert on platform.legal_holds for each row
  execute function platform.refuse_while_imported();
create trigger refuse_while_imported before insert on platform.administrator_grants for each row
  execute function platform.refuse_while_imported();
create trigger refuse_while_imported before insert on platform.api_keys for each row
  execute function platform.refuse_while_imported();
create trigger refuse_while_imported before insert on platform.tenant_domains for each row
  execute function platform.refuse_while_imported();
create trigger refuse_while_imported before insert on platform.memberships for each row
  execute function platform.refuse_while_imported();
