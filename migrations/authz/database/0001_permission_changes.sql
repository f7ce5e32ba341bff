-- A stream: what changed in the permission tuples of every home of this database. A follower that
-- knows a snapshot reads the rows whose transaction was not visible in it: ids alone would miss a
-- transaction that took a low id and committed late.
--
-- Of one tuple, ids are in the order of its changes: the unique index of permission_tuples lets one
-- transaction at a time change it.
create table platform.permission_changes (
  id bigint generated always as identity primary key,
  tenant_id uuid not null,
  xid xid8 not null default pg_current_xact_id(),
  op text not null check (op in ('touch', 'delete')),
  namespace varchar(100) not null,
  object_id varchar(1024) not null,
  relation varchar(100) not null,
  subject_ns varchar(100) not null,
  subject_id varchar(1024) not null,
  subject_rel varchar(100),
  condition varchar(100),
  context jsonb,
  expires_at timestamptz,
  -- The terms that a touch has replaced; null where the tuple was not there. With the terms of what was deleted, a
  -- state of before can be had back.
  replaced jsonb,
  -- What the request said of itself, for whoever watches.
  metadata jsonb default nullif(current_setting('app.permission_metadata', true), '')::jsonb,
  at timestamptz not null default now()
);
-- The order in which a node's graphs of one tenant, and a follower of all tenants, read.
create index permission_changes_of_tenant on platform.permission_changes (tenant_id, xid, id);
create index permission_changes_in_order on platform.permission_changes (xid, id);

alter table platform.permission_changes enable row level security;
alter table platform.permission_changes force row level security;
create policy tenant_isolation_8c2860cb on platform.permission_changes as permissive for all to public
  using (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid))
  with check (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid));
grant select, insert on platform.permission_changes to formwork_app;
create policy relay_reads on platform.permission_changes as permissive for select to formwork_relay using (true);
grant select on platform.permission_changes to formwork_relay;

-- Whoever rests on a relationship not being stored holds this lock alone, and then looks: who stores one either has
-- committed by then, or waits here until the other has. Taken after the rows are in, so that nobody waits before they
-- have to.
create function platform.share_permission_storing(p_tenant uuid) returns void
language sql volatile set search_path = pg_catalog, pg_temp
begin atomic
  select pg_advisory_xact_lock_shared(hashtextextended('formwork permissions stored ' || p_tenant::text, 0));
end;

-- The triggers of every home call these. They run with the rights of whoever writes, so that row
-- security holds for the log as it does for the tuples.
create function platform.log_permission_insert() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  -- The tenant has had these tuples before its move, and has them should it be undone.
  if platform.is_copying_home(tg_table_schema) then
    return null;
  end if;
  perform platform.share_permission_storing(t.tenant_id) from (select distinct tenant_id from new_rows) t;
  insert into platform.permission_changes
    (tenant_id, op, namespace, object_id, relation, subject_ns, subject_id, subject_rel,
     condition, context, expires_at)
  select tenant_id, 'touch', namespace, object_id, relation, subject_ns, subject_id, subject_rel,
         condition, context, expires_at
    from new_rows;
  return null;
end;
$$;

create function platform.log_permission_delete() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  -- What a move leaves behind is no change of permissions: the tenant has the same tuples in its home.
  if platform.is_removing_home(tg_table_schema) then
    return null;
  end if;
  insert into platform.permission_changes
    (tenant_id, op, namespace, object_id, relation, subject_ns, subject_id, subject_rel,
     condition, context, expires_at)
  select tenant_id, 'delete', namespace, object_id, relation, subject_ns, subject_id, subject_rel,
         condition, context, expires_at
    from old_rows;
  return null;
end;
$$;

-- An update takes the old tuple away and adds the new one; a tuple that is in both is not changed. One
-- whose condition or expiry has changed is the same tuple, touched again.
create function platform.log_permission_update() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  perform platform.share_permission_storing(t.tenant_id) from (select distinct tenant_id from new_rows) t;
  insert into platform.permission_changes
    (op, tenant_id, namespace, object_id, relation, subject_ns, subject_id, subject_rel,
     condition, context, expires_at)
  select 'delete', o.tenant_id, o.namespace, o.object_id, o.relation, o.subject_ns, o.subject_id, o.subject_rel,
         o.condition, o.context, o.expires_at
    from old_rows o
   where not exists (
     select from new_rows n
      where (n.tenant_id, n.namespace, n.object_id, n.relation, n.subject_ns, n.subject_id)
            = (o.tenant_id, o.namespace, o.object_id, o.relation, o.subject_ns, o.subject_id)
        and n.subject_rel is not distinct from o.subject_rel);
  insert into platform.permission_changes
    (op, tenant_id, namespace, object_id, relation, subject_ns, subject_id, subject_rel,
     condition, context, expires_at, replaced)
  select 'touch', n.tenant_id, n.namespace, n.object_id, n.relation, n.subject_ns, n.subject_id, n.subject_rel,
         n.condition, n.context, n.expires_at,
         case when o.tenant_id is not null then
           jsonb_build_object('condition', o.condition, 'context', o.context,
                              'expires_at', (extract(epoch from o.expires_at) * 1000000)::bigint) end
    from new_rows n
    left join old_rows o
      on (n.tenant_id, n.namespace, n.object_id, n.relation, n.subject_ns, n.subject_id)
         = (o.tenant_id, o.namespace, o.object_id, o.relation, o.subject_ns, o.subject_id)
     and n.subject_rel is not distinct from o.subject_rel
   where o.tenant_id is null
      or (n.condition, n.context, n.expires_at) is distinct from (o.condition, o.context, o.expires_at);
  return null;
end;
$$;

-- TRUNCATE passes by row security and by the log.
create function platform.refuse_permission_truncate() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception 'permission tuples cannot be truncated'
    using errcode = 'insufficient_privilege', hint = 'delete the rows: deletions are logged';
end;
$$;

revoke all on function
  platform.log_permission_insert(), platform.log_permission_update(), platform.log_permission_delete(),
  platform.refuse_permission_truncate(), platform.share_permission_storing(uuid)
from public;
-- The triggers run with the rights of whoever writes.
grant execute on function platform.share_permission_storing(uuid) to formwork_app;
