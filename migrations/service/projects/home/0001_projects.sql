create table projects (
  tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid,
  id uuid not null,
  number text,
  name text not null check (name <> ''),
  address text,
  description text,
  contractor text,
  owner text,
  stage text not null default 'pre_construction' check (stage in (
    'pre_construction', 'course_of_construction', 'post_construction', 'completed', 'not_awarded', 'canceled')),
  status text not null default 'active' check (status in ('active', 'inactive', 'archived')),
  applied_on date,
  issued_on date,
  completed_on date,
  valuation numeric(18, 3) check (valuation >= 0),
  currency text not null check (currency ~ '^[A-Z]{3}$'),
  -- Where an imported row came from: the mapping's name, the row's key in it, the hash of its content.
  origin text,
  origin_id text,
  origin_hash bytea,
  created_by text not null,
  updated_by text not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  version bigint not null default 1,
  deleted_at timestamptz,
  primary key (tenant_id, id),
  check ((origin is null) = (origin_id is null))
);
create unique index projects_origin on projects (tenant_id, origin, origin_id) where origin_id is not null;

alter table projects enable row level security;
alter table projects force row level security;
create policy tenant_isolation_8c2860cb on projects as permissive for all to public
  using (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid))
  with check (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid));
grant select, insert, update, delete on projects to formwork_app;
