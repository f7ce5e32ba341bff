-- Who the checked logins are and what they may become. $1: the service's login, $2: the relay's.
with recursive
login (oid, rolname, is_app) as (
  select oid, rolname, rolname = $1 from pg_roles where rolname in ($1, $2)
),
-- By memberships alone: `pg_has_role` says yes to everything for a superuser and would drown the one mistake.
reach (login, is_app, role, via) as (
  select oid, is_app, oid, null::oid from login
  union
  select r.login, r.is_app, m.roleid, coalesce(r.via, m.roleid)
    from reach r join pg_auth_members m on m.member = r.role
),
-- Whose privileges the logins have.
holder (role, name, is_app, is_relay) as (
  select 0::oid, 'public', true, true
  union all
  select role, quote_ident(pg_get_userbyid(role)), bool_or(is_app), bool_or(not is_app) from reach group by role
)
