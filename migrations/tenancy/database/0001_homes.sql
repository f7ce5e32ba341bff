-- Which tenants live in this database. The registry of the control plane says where a tenant is to be looked for;
-- this says what may be written here, and it is this that counts. The service login has no grant on it.
--
-- 'coming': being filled by a move; 'live'; 'frozen': read, not written; 'moved': left behind, until it is removed;
-- 'removed': what once lived here, so that its old rows in the streams are still found and pruned.
create table platform.homes (
  tenant_id uuid not null,
  epoch bigint not null,
  schema_name text not null,
  state text not null default 'live' check (state in ('coming', 'live', 'frozen', 'moved', 'removed')),
  changed_at timestamptz not null default now(),
  primary key (tenant_id, epoch)
);
create unique index homes_one_live on platform.homes (tenant_id) where state in ('live', 'frozen');
create index homes_of_schema on platform.homes (schema_name);

-- Asked by a transaction that has written: may it commit here? Whoever freezes a home holds the same lock alone while
-- it does so, so a writer has either committed before, or sees it. Volatile, so that the row is the newest one; with an
-- older snapshot the newest cannot be seen, so the row is locked, which fails when it has changed since (40001).
create function platform.hold_home(p_tenant uuid, p_epoch bigint) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  home_state text;
begin
  perform pg_advisory_xact_lock_shared(hashtextextended('formwork.home.' || p_tenant, 0));
  if current_setting('transaction_isolation') in ('read committed', 'read uncommitted') then
    select state into home_state from platform.homes where tenant_id = p_tenant and epoch = p_epoch;
  else
    select state into home_state from platform.homes where tenant_id = p_tenant and epoch = p_epoch for share;
  end if;
  if home_state = 'live' then
    return;
  elsif home_state in ('frozen', 'coming') then
    raise exception 'the tenant is being moved to another home'
      using errcode = 'TH001', hint = 'run the transaction again in a moment';
  end if;
  raise exception 'the tenant does not live here any more'
    using errcode = 'TH002', hint = 'ask the registry for its home and run the transaction again';
end;
$$;

-- Asked in the message that commits: fails when the transaction's tenant is not the one it was begun
-- for, when it has written to a home that may not be written, and in a transaction that has already failed,
-- where a bare COMMIT would silently roll back. A search_path of its own would be set and put back each time; every
-- name is qualified instead.
create function platform.confirm_tenant(p_tenant text, p_epoch bigint) returns text
language plpgsql volatile
as $$
declare
  own_xid text;
begin
  if p_tenant operator(pg_catalog.=) pg_catalog.current_setting('app.current_tenant', true) then
    own_xid := pg_catalog.pg_current_xact_id_if_assigned();
    if own_xid is not null then
      perform platform.hold_home(p_tenant::pg_catalog.uuid, p_epoch);
    end if;
    return own_xid;
  end if;
  raise exception 'the tenant of this transaction was changed'
    using errcode = 'insufficient_privilege',
          hint = 'one transaction serves one tenant: begin another one';
end;
$$;

-- For triggers that refuse or log deletions: are these the rows of a home that its tenant has left, or not yet reached,
-- being removed by the owner? The setting alone decides nothing: the service login can set it too.
create function platform.is_removing_home(p_schema text) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  if current_setting('app.removing_home', true) is distinct from p_schema
     or not pg_has_role((select relowner from pg_class where oid = 'platform.homes'::regclass), 'usage') then
    return false;
  end if;
  return coalesce((
    select bool_and(state in ('coming', 'moved', 'removed')) from platform.homes
     where tenant_id = nullif(current_setting('app.current_tenant', true), '')::uuid and schema_name = p_schema), false);
end;
$$;

-- For triggers that log what is stored: are these copies of rows that the tenant has in another home of this database,
-- made by the owner who moves it? The setting alone decides nothing here either.
create function platform.is_copying_home(p_schema text) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
  if current_setting('app.copying_home', true) is distinct from p_schema
     or not pg_has_role((select relowner from pg_class where oid = 'platform.homes'::regclass), 'usage') then
    return false;
  end if;
  return coalesce((
    select bool_or(state = 'coming' and schema_name = p_schema)
           and bool_or(state in ('live', 'frozen') and schema_name <> p_schema)
      from platform.homes
     where tenant_id = nullif(current_setting('app.current_tenant', true), '')::uuid), false);
end;
$$;

-- Which version of each set the tenant's home here has: the ledger's lines are written in the home's own migrations.
create function platform.home_versions(p_tenant uuid) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select coalesce(jsonb_object_agg(l.set_name, l.version), '{}')
    from (select l.set_name, max(l.version) as version
            from platform.homes h join platform.migration_ledger l on l.home = h.schema_name
           where h.tenant_id = p_tenant and h.state in ('live', 'frozen') group by l.set_name) l;
end;

revoke all on function
  platform.hold_home(uuid, bigint), platform.confirm_tenant(text, bigint), platform.is_removing_home(text),
  platform.is_copying_home(text), platform.home_versions(uuid)
from public;
grant usage on schema platform to formwork_app, formwork_relay;
grant execute on function
  platform.hold_home(uuid, bigint), platform.confirm_tenant(text, bigint), platform.is_removing_home(text),
  platform.is_copying_home(text), platform.home_versions(uuid)
to formwork_app;
