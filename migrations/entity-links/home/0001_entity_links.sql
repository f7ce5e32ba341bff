-- A link joins two entities of one tenant: its key begins with the tenant, and both ends are looked for
-- under row security, so a link across tenants cannot be written.
create table entity_links (
  tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid,
  id uuid not null,
  source_type varchar(50) not null,
  source_id uuid not null,
  target_type varchar(50) not null,
  target_id uuid not null,
  relationship varchar(50) not null,
  -- The type's limits as they were: the database itself holds a limit of one.
  one_target boolean not null default false,
  one_source boolean not null default false,
  metadata jsonb not null default '{}',
  created_by text not null,
  created_at timestamptz not null default now(),
  primary key (tenant_id, id),
  unique (tenant_id, source_type, source_id, relationship, target_type, target_id)
);
-- A page of one end's links, in the order in which they were made, is read from one of these alone.
create index entity_links_by_source on entity_links
  (tenant_id, source_type, source_id, id) include (relationship, target_type, target_id);
create index entity_links_by_target on entity_links
  (tenant_id, target_type, target_id, id) include (relationship, source_type, source_id);
create unique index entity_links_one_target on entity_links
  (tenant_id, source_type, source_id, relationship) where one_target;
create unique index entity_links_one_source on entity_links
  (tenant_id, target_type, target_id, relationship) where one_source;

alter table entity_links enable row level security;
alter table entity_links force row level security;
create policy tenant_isolation_8c2860cb on entity_links as permissive for all to public
  using (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid))
  with check (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid));
grant select, insert, update, delete on entity_links to formwork_app;
