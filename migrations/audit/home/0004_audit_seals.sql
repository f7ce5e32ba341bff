-- The seals: events in an order of their own, and signed checkpoints of the Merkle tree over them (RFC 6962). Nobody
-- who writes events waits for any of this; a sealer adds to both, and nothing is changed afterwards.

-- The hash stands here so that a proof needs no other event.
create table audit_leaves (
  tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid,
  position bigint not null check (position >= 0),
  event_id uuid not null,
  hash bytea not null check (octet_length(hash) = 32),
  primary key (tenant_id, position)
);
create unique index audit_leaves_of_event on audit_leaves (tenant_id, event_id);

alter table audit_leaves enable row level security;
alter table audit_leaves force row level security;
create policy tenant_isolation_8c2860cb on audit_leaves as permissive for all to public
  using (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid))
  with check (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid));
grant select, insert on audit_leaves to formwork_app;
create trigger append_only before update or delete or truncate on audit_leaves
  for each statement execute function refuse_audit_change();
alter table audit_leaves enable always trigger append_only;

-- What was signed is the text. Where the sealer goes on: the tree's right edge, and the position in the stream of events.
create table audit_checkpoints (
  tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid,
  number bigint not null check (number > 0),
  size bigint not null check (size >= 0),
  body text not null,
  signature bytea not null check (octet_length(signature) = 64),
  cosignature bytea check (octet_length(cosignature) = 64),
  frontier bytea not null,
  read_to text not null,
  primary key (tenant_id, number)
);

alter table audit_checkpoints enable row level security;
alter table audit_checkpoints force row level security;
create policy tenant_isolation_8c2860cb on audit_checkpoints as permissive for all to public
  using (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid))
  with check (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid));
grant select, insert on audit_checkpoints to formwork_app;
create trigger append_only before update or delete or truncate on audit_checkpoints
  for each statement execute function refuse_audit_change();
alter table audit_checkpoints enable always trigger append_only;
