-- The rows that are there become the first tenant's. A default that is a constant rewrites no row.
alter table boards add column tenant_id uuid not null default '{tenant}';
alter table notes add column tenant_id uuid not null default '{tenant}';

-- Every key begins with the tenant: a name is taken at one tenant and free at the next, and a note cannot stand on
-- another tenant's board, which row security would not notice.
alter table notes drop constraint notes_board_id_fkey;
alter table boards drop constraint boards_pkey, add primary key (tenant_id, id);
alter table boards drop constraint boards_name_key, add unique (tenant_id, name);
alter table notes drop constraint notes_pkey, add primary key (tenant_id, id);
alter table notes add foreign key (tenant_id, board_id) references boards (tenant_id, id) on delete cascade;
drop index notes_of_board;
create index notes_of_board on notes (tenant_id, board_id);

-- From now on a row is the transaction's tenant's.
alter table boards alter column tenant_id set default nullif(current_setting('app.current_tenant', true), '')::uuid;
alter table notes alter column tenant_id set default nullif(current_setting('app.current_tenant', true), '')::uuid;

-- Into the home of all tenants that share one.
alter table boards set schema shared;
alter table notes set schema shared;
