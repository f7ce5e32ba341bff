create table task_boards (
  tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid,
  id uuid not null,
  project_id uuid,
  name text not null check (name <> ''),
  view_type text not null default 'kanban' check (view_type in ('kanban', 'list', 'calendar', 'gantt')),
  config jsonb not null default '{}',
  created_by text not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  version bigint not null default 1,
  deleted_at timestamptz,
  primary key (tenant_id, id),
  foreign key (tenant_id, project_id) references projects (tenant_id, id)
);

alter table task_boards enable row level security;
alter table task_boards force row level security;
create policy tenant_isolation_8c2860cb on task_boards as permissive for all to public
  using (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid))
  with check (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid));
grant select, insert, update, delete on task_boards to formwork_app;

create table task_columns (
  tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid,
  id uuid not null,
  board_id uuid not null,
  name text not null check (name <> ''),
  position double precision not null,
  -- What a task becomes when it is moved here; none leaves its status.
  status text check (status in ('todo', 'in_progress', 'in_review', 'done', 'blocked', 'void')),
  wip_limit integer check (wip_limit > 0),
  config jsonb not null default '{}',
  created_at timestamptz not null default now(),
  primary key (tenant_id, id),
  unique (tenant_id, board_id, id),
  foreign key (tenant_id, board_id) references task_boards (tenant_id, id)
);
create index task_columns_of_board on task_columns (tenant_id, board_id, position);

alter table task_columns enable row level security;
alter table task_columns force row level security;
create policy tenant_isolation_8c2860cb on task_columns as permissive for all to public
  using (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid))
  with check (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid));
grant select, insert, update, delete on task_columns to formwork_app;

create table tasks (
  tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid,
  id uuid not null,
  title varchar(500) not null check (title <> ''),
  description text,
  status text not null default 'todo'
    check (status in ('todo', 'in_progress', 'in_review', 'done', 'blocked', 'void')),
  priority varchar(20) check (priority in ('low', 'medium', 'high', 'critical')),
  due_date date,
  board_id uuid,
  column_id uuid,
  position double precision not null default 0,
  parent_id uuid,
  metadata jsonb not null default '{}',
  assignee_id uuid,
  created_by text not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  version bigint not null default 1,
  deleted_at timestamptz,
  primary key (tenant_id, id),
  check (column_id is null or board_id is not null),
  foreign key (tenant_id, board_id) references task_boards (tenant_id, id),
  foreign key (tenant_id, board_id, column_id) references task_columns (tenant_id, board_id, id),
  foreign key (tenant_id, parent_id) references tasks (tenant_id, id),
  foreign key (tenant_id, assignee_id) references members (tenant_id, user_id)
);
create index tasks_of_board on tasks (tenant_id, board_id, position, id) where deleted_at is null;
create index tasks_of_column on tasks (tenant_id, column_id, position, id) where deleted_at is null;
create index tasks_of_parent on tasks (tenant_id, parent_id) where parent_id is not null;

alter table tasks enable row level security;
alter table tasks force row level security;
create policy tenant_isolation_8c2860cb on tasks as permissive for all to public
  using (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid))
  with check (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid));
grant select, insert, update, delete on tasks to formwork_app;
