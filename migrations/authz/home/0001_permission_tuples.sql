-- Who holds which relation on what. Names are Zanzibar's: a row is
-- namespace:object_id#relation@subject_ns:subject_id, with #subject_rel behind a userset.
create table permission_tuples (
  tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid,
  id uuid not null default gen_random_uuid(),
  namespace varchar(100) not null,
  object_id varchar(1024) not null,
  relation varchar(100) not null,
  subject_ns varchar(100) not null,
  subject_id varchar(1024) not null,
  subject_rel varchar(100),
  -- Under which it counts; neither is a part of which relationship it is.
  condition varchar(100),
  context jsonb check (context is null or (condition is not null and jsonb_typeof(context) = 'object')),
  expires_at timestamptz,
  created_at timestamptz not null default now(),
  primary key (tenant_id, id),
  constraint permission_tuples_unique
    unique nulls not distinct (tenant_id, namespace, object_id, relation, subject_ns, subject_id, subject_rel)
);
create index permission_tuples_by_subject
  on permission_tuples (tenant_id, subject_ns, subject_id, subject_rel, namespace, relation, object_id);

alter table permission_tuples enable row level security;
alter table permission_tuples force row level security;
create policy tenant_isolation_8c2860cb on permission_tuples as permissive for all to public
  using (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid))
  with check (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid));
grant select, insert, update, delete on permission_tuples to formwork_app;

-- Every change is logged in the transaction that makes it, whoever makes it: the graphs in memory
-- follow the log. Once a statement, not once a row. ALWAYS: replication roles log as well.
create trigger log_insert after insert on permission_tuples
  referencing new table as new_rows
  for each statement execute function platform.log_permission_insert();
create trigger log_update after update on permission_tuples
  referencing old table as old_rows new table as new_rows
  for each statement execute function platform.log_permission_update();
create trigger log_delete after delete on permission_tuples
  referencing old table as old_rows
  for each statement execute function platform.log_permission_delete();
create trigger refuse_truncate before truncate on permission_tuples
  for each statement execute function platform.refuse_permission_truncate();
alter table permission_tuples enable always trigger log_insert;
alter table permission_tuples enable always trigger log_update;
alter table permission_tuples enable always trigger log_delete;
alter table permission_tuples enable always trigger refuse_truncate;
