-- By what else than its slug a request names its tenant: domains that were proven, keys of programs, and the
-- memberships of a token's subject. The service asks by exact keys, as in 0001.

-- A claim is one tenant's own until it is proven, so that whoever only claims a domain keeps nobody from proving it;
-- proven, it is one tenant's alone.
alter table platform.tenant_domains drop constraint tenant_domains_pkey;
alter table platform.tenant_domains add primary key (tenant_id, host);
alter table platform.tenant_domains
  add column challenge uuid not null default gen_random_uuid(),
  add column claimed_at timestamptz not null default clock_timestamp();
create unique index tenant_domains_proven on platform.tenant_domains (host) where verified_at is not null;

-- The key itself is shown once and kept nowhere. It holds 244 random bits, so one round of SHA-256 is enough: there is
-- nothing to guess from. The prefix finds it, in the table and in somebody's notes.
create table platform.api_keys (
  id uuid primary key,
  tenant_id uuid not null references platform.tenants (id),
  name text not null check (name ~ '[^[:space:]]'),
  prefix text not null unique check (prefix ~ '^[0-9a-f]{12}$'),
  hash bytea not null check (octet_length(hash) = 32),
  last_four text not null check (length(last_four) = 4),
  created_by text not null check (created_by ~ '[^[:space:]]'),
  created_at timestamptz not null default clock_timestamp(),
  expires_at timestamptz check (expires_at > created_at),
  revoked_at timestamptz
);
create index api_keys_of_tenant on platform.api_keys (tenant_id, created_at);

-- Whoever does not hold the whole key learns nothing of it, not even that it has been revoked.
create function platform.api_key(p_prefix text, p_hash bytea)
returns table (id uuid, tenant_id uuid, state text)
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select k.id, k.tenant_id,
         case when k.revoked_at is not null then 'revoked'
              when k.expires_at <= clock_timestamp() then 'expired'
              else 'active' end
    from platform.api_keys k where k.prefix = p_prefix and k.hash = p_hash;
end;

-- The tenant of a subject that is a member of one. Tenants that will not come back count only where there is no
-- other. Of several it says that there are several, and not which.
create function platform.sole_membership(p_subject uuid) returns table (tenant_id uuid, is_sole boolean)
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  with own as (
    select m.tenant_id, t.status in ('archived', 'deleting', 'deleted') as is_gone
      from platform.memberships m
      join platform.users u on u.id = m.user_id and u.status = 'active'
      join platform.tenants t on t.id = m.tenant_id
     where m.user_id = p_subject),
  counted as (
    select o.tenant_id from own o where o.is_gone = (select bool_and(e.is_gone) from own e) limit 2)
  select case when count(*) = 1 then (array_agg(c.tenant_id))[1] end, count(*) = 1
    from counted c having count(*) > 0;
end;

create function platform.is_member(p_tenant uuid, p_subject uuid) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select exists (select from platform.memberships m
                   join platform.users u on u.id = m.user_id and u.status = 'active'
                  where m.tenant_id = p_tenant and m.user_id = p_subject);
end;

revoke all on function
  platform.api_key(text, bytea), platform.sole_membership(uuid), platform.is_member(uuid, uuid)
from public;
grant execute on function
  platform.api_key(text, bytea), platform.sole_membership(uuid), platform.is_member(uuid, uuid)
to formwork_app;
