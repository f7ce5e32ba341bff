create table boards (
  id uuid primary key default gen_random_uuid(),
  name text not null unique
);
create table notes (
  id uuid primary key default gen_random_uuid(),
  board_id uuid not null references boards (id) on delete cascade,
  body text not null
);
create index notes_of_board on notes (board_id);
