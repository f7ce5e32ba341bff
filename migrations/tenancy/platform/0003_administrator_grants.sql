-- By which a platform administrator works for one tenant, for a reason and for a time. No policy knows of them: an
-- administrator is a session like every other, begun by leave of a row here.
create table platform.administrator_grants (
  id uuid primary key,
  administrator uuid not null references platform.users (id),
  tenant_id uuid not null references platform.tenants (id),
  reason text not null check (reason ~ '[^[:space:]]'),
  granted_by text not null check (granted_by ~ '[^[:space:]]'),
  granted_at timestamptz not null default clock_timestamp(),
  expires_at timestamptz not null,
  revoked_at timestamptz,
  check (expires_at > granted_at)
);
create index administrator_grants_of_tenant on platform.administrator_grants (tenant_id, granted_at);

-- What the grant is for, by its exact key and its holder's.
create function platform.administrator_grant(p_grant uuid, p_administrator uuid)
returns table (tenant_id uuid, reason text)
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select g.tenant_id, g.reason
    from platform.administrator_grants g
    join platform.users u on u.id = g.administrator and u.status = 'active'
   where g.id = p_grant and g.administrator = p_administrator;
end;

-- Asked before each transaction, in one of its own, so that the line stays whatever becomes of the work: may it be
-- begun? Answers `active`, `expired`, `revoked` or `unknown`, by this database's clock.
create function platform.use_administrator_grant(
  p_grant uuid, p_administrator uuid, p_tenant uuid, p_detail jsonb
) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  answer text;
begin
  select case when g.revoked_at is not null then 'revoked'
              when g.expires_at <= clock_timestamp() then 'expired'
              else 'active' end
    into answer
    from platform.administrator_grants g
    join platform.users u on u.id = g.administrator and u.status = 'active'
   where g.id = p_grant and g.administrator = p_administrator and g.tenant_id = p_tenant;
  answer := coalesce(answer, 'unknown');
  insert into platform.security_events (kind, tenant_id, detail)
  values (case answer when 'active' then 'administrator.used' else 'administrator.refused' end, p_tenant,
          p_detail || jsonb_build_object('grant', p_grant, 'administrator', p_administrator, 'answer', answer));
  return answer;
end;
$$;

revoke all on function
  platform.administrator_grant(uuid, uuid), platform.use_administrator_grant(uuid, uuid, uuid, jsonb)
from public;
grant execute on function
  platform.administrator_grant(uuid, uuid), platform.use_administrator_grant(uuid, uuid, uuid, jsonb)
to formwork_app;
