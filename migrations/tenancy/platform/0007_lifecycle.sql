-- A tenant's life: how far each change of its status has come, who may not be deleted, and as whom an administrator acts.

-- When a tenant that is being deleted may be removed for good; until then it can be brought back.
alter table platform.tenants add column delete_after timestamptz;
alter table platform.tenants add constraint delete_after_of_deleting
  check (delete_after is null or status = 'deleting');

-- One line a change of status, kept for good: who, why, and the step from which one that was cut off goes on.
create table platform.tenant_transitions (
  id uuid primary key,
  tenant_id uuid not null references platform.tenants (id),
  transition text not null check (transition in (
    'activate', 'suspend', 'archive', 'restore', 'delete', 'undelete', 'purge')),
  from_status text not null,
  to_status text not null,
  step text not null default 'begun' check (step in (
    'begun', 'allowed', 'doomed', 'shredded', 'frozen', 'emptied', 'cleared', 'decided', 'recorded', 'finished',
    'refused')),
  actor text not null check (actor ~ '[^[:space:]]'),
  reason text not null check (reason ~ '[^[:space:]]'),
  grace interval,
  hooks_done text[] not null default '{}',
  problem text,
  begun_at timestamptz not null default clock_timestamp(),
  changed_at timestamptz not null default clock_timestamp()
);
create index tenant_transitions_of_tenant on platform.tenant_transitions (tenant_id, begun_at);
-- What is recorded is in force; its hooks may still be on their way while the next change is made.
create unique index tenant_transitions_one_open on platform.tenant_transitions (tenant_id)
  where step not in ('recorded', 'finished', 'refused');

-- Whoever holds a tenant keeps it from being deleted, however many others do.
create table platform.legal_holds (
  id uuid primary key,
  tenant_id uuid not null references platform.tenants (id),
  holder text not null check (holder ~ '[^[:space:]]'),
  reason text not null check (reason ~ '[^[:space:]]'),
  placed_by text not null check (placed_by ~ '[^[:space:]]'),
  since timestamptz not null default clock_timestamp(),
  released_at timestamptz,
  released_by text,
  release_reason text,
  check ((released_at is null) = (released_by is null) and (released_at is null) = (release_reason is null))
);
create index legal_holds_of_tenant on platform.legal_holds (tenant_id) where released_at is null;

-- Whatever a program believes: nobody who is held is deleted, and who is deleted stays so.
create function platform.refuse_status() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
  open_import text := (select i.id from platform.tenant_imports i where i.tenant_id = old.id and i.outcome = 'open');
  -- It says so in its own transactions: that there is one lets nobody else in.
  is_import boolean := coalesce(open_import = current_setting('app.import', true), false);
begin
  -- But for an import, which brings back what was exported before.
  if old.status = 'deleted' and not (new.status = 'provisioning' and is_import) then
    raise exception 'tenant % is deleted: what it was is not there any more', old.id using errcode = 'check_violation';
  end if;
  if old.status = 'provisioning' and open_import is not null and not is_import then
    raise exception 'tenant % is being imported', old.id
      using errcode = 'check_violation', constraint = 'refuse_while_imported';
  end if;
  if (old.status = 'deleted' or new.status in ('deleting', 'deleted')) and exists (select from platform.legal_holds h where h.tenant_id = old.id and h.released_at is null) then
    raise exception 'tenant % is on legal hold', old.id using errcode = 'check_violation';
  end if;
  return new;
end;
$$;
revoke all on function platform.refuse_status() from public;
create trigger refuse_status before update of status on platform.tenants for each row
  when ((old.status in ('deleted', 'provisioning') or new.status in ('deleting', 'deleted'))
        and old.status <> new.status)
  execute function platform.refuse_status();

-- Leave to act as one member of the tenant, and as nobody else.
alter table platform.administrator_grants add column impersonates uuid references platform.users (id);

drop function platform.administrator_grant(uuid, uuid);
create function platform.administrator_grant(p_grant uuid, p_administrator uuid)
returns table (tenant_id uuid, reason text, impersonates uuid, expires_at timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select g.tenant_id, g.reason, g.impersonates, g.expires_at
    from platform.administrator_grants g
    join platform.users u on u.id = g.administrator and u.status = 'active'
   where g.id = p_grant and g.administrator = p_administrator;
end;

-- Asked before each transaction, in one that is committed before the work begins, so that the line stays whatever
-- becomes of it: may it be begun, by this administrator, as this user? Answers `active`, `expired`, `revoked`, `no-member`
-- or `unknown`, by this database's clock.
drop function platform.use_administrator_grant(uuid, uuid, uuid, jsonb);
create function platform.use_administrator_grant(
  p_grant uuid, p_administrator uuid, p_tenant uuid, p_impersonates uuid, p_detail jsonb
) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  answer text;
begin
  select case when g.revoked_at is not null then 'revoked'
              when g.expires_at <= clock_timestamp() then 'expired'
              when g.impersonates is not null and not exists (
                select from platform.memberships m
                  join platform.users i on i.id = m.user_id and i.status = 'active'
                 where m.tenant_id = g.tenant_id and m.user_id = g.impersonates) then 'no-member'
              else 'active' end
    into answer
    from platform.administrator_grants g
    join platform.users u on u.id = g.administrator and u.status = 'active'
   where g.id = p_grant and g.administrator = p_administrator and g.tenant_id = p_tenant
     and g.impersonates is not distinct from p_impersonates;
  answer := coalesce(answer, 'unknown');
  insert into platform.security_events (kind, tenant_id, detail)
  values (case answer when 'active' then 'administrator.used' else 'administrator.refused' end, p_tenant,
          p_detail || jsonb_strip_nulls(jsonb_build_object('grant', p_grant, 'administrator', p_administrator,
                                                           'impersonates', p_impersonates, 'answer', answer)));
  return answer;
end;
$$;

-- What happens to tenants is written by the owner, as what administrators do is by the functions above.
create or replace function platform.record_security_event(p_kind text, p_tenant uuid, p_detail jsonb) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  if p_kind like 'administrator.%' or p_kind like 'tenant.%' then
    raise exception 'events of administrators and of tenants'' lives are not written by this function'
      using errcode = 'insufficient_privilege';
  end if;
  insert into platform.security_events (kind, tenant_id, detail) values (p_kind, p_tenant, p_detail);
end;
$$;

revoke all on function
  platform.administrator_grant(uuid, uuid), platform.use_administrator_grant(uuid, uuid, uuid, uuid, jsonb)
from public;
grant execute on function
  platform.administrator_grant(uuid, uuid), platform.use_administrator_grant(uuid, uuid, uuid, uuid, jsonb)
to formwork_app;
