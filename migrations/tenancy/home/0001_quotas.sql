-- How much of each resource a tenant may use, uses, and has set aside.

-- What differs from the tenant's plan; null is without limit. Plans are in code.
create table quota_limits (
  tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid,
  resource text not null check (resource <> ''),
  units bigint check (units >= 0),
  primary key (tenant_id, resource)
);

alter table quota_limits enable row level security;
alter table quota_limits force row level security;
create policy tenant_isolation_8c2860cb on quota_limits as permissive for all to public
  using (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid))
  with check (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid));
grant select, insert, update, delete on quota_limits to formwork_app;

-- One row for each resource and period: whoever takes or gives back updates it, and so waits for the
-- transaction that did so last. Half of each page stays free, so that an update touches no index.
create table quota_usage (
  tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid,
  resource text not null,
  period text not null,
  used bigint not null default 0 check (used >= 0),
  reserved bigint not null default 0 check (reserved >= 0),
  primary key (tenant_id, resource, period)
) with (fillfactor = 50);

alter table quota_usage enable row level security;
alter table quota_usage force row level security;
create policy tenant_isolation_8c2860cb on quota_usage as permissive for all to public
  using (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid))
  with check (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid));
grant select, insert, update, delete on quota_usage to formwork_app;

-- What is set aside. An expired one counts until somebody needs its room.
create table quota_reservations (
  tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid,
  id uuid not null,
  resource text not null,
  period text not null,
  units bigint not null check (units > 0),
  expires_at timestamptz not null,
  primary key (tenant_id, id)
);
create index quota_reservations_by_expiry on quota_reservations (tenant_id, resource, period, expires_at);

alter table quota_reservations enable row level security;
alter table quota_reservations force row level security;
create policy tenant_isolation_8c2860cb on quota_reservations as permissive for all to public
  using (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid))
  with check (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid));
grant select, insert, update, delete on quota_reservations to formwork_app;

-- INVARIANT of all that follows: whoever changes reservations of a resource and period has locked their row in
-- quota_usage first. So no two wait for each other, and `reserved` is the sum of the rows.

-- The limit in force: the tenant's own, else the plan's. (In plpgsql: the body of a function in SQL is analysed when it
-- is made, which the owner's `row_security = off` refuses.)
create function quota_limit(p_resource text, p_default bigint) returns bigint
language plpgsql stable
as $$
declare
  v_units bigint;
begin
  select l.units into v_units from quota_limits l where l.resource = p_resource;
  return case when found then v_units else p_default end;
end;
$$;

-- The day, month or year of the transaction's start in the tenant's time zone; the empty text for all time.
create function quota_period(p_kind text, p_zone text) returns text
language sql stable
as $$
  select case p_kind
    when 'day' then to_char(now() at time zone p_zone, 'YYYY-MM-DD')
    when 'month' then to_char(now() at time zone p_zone, 'YYYY-MM')
    when 'year' then to_char(now() at time zone p_zone, 'YYYY')
    else '' end;
$$;

-- Counts out what has expired. The row in quota_usage is locked already.
create function quota_expire(p_resource text, p_period text) returns bigint
language plpgsql
as $$
declare
  v_count bigint;
  v_units bigint;
begin
  with gone as (
    delete from quota_reservations r
     where r.resource = p_resource and r.period = p_period and r.expires_at <= clock_timestamp()
    returning r.units)
  select count(*), coalesce(sum(units), 0) into v_count, v_units from gone;
  if v_count > 0 then
    update quota_usage u set reserved = u.reserved - v_units
     where u.resource = p_resource and u.period = p_period;
  end if;
  return v_count;
end;
$$;

-- Adds to what is used and what is reserved, if the limit has room for it. With room it is one update, whose condition
-- Postgres looks at again when it had to wait for the row (PostgreSQL manual, "Read Committed Isolation Level").
create function quota_take(
  p_resource text, p_period text, p_default bigint, p_used bigint, p_reserved bigint,
  out granted boolean, out most bigint, out now_used bigint, out now_reserved bigint)
language plpgsql
as $$
begin
  most := quota_limit(p_resource, p_default);
  for attempt in 1..2 loop
    update quota_usage u set used = u.used + p_used, reserved = u.reserved + p_reserved
     where u.resource = p_resource and u.period = p_period
       and (most is null or u.used + u.reserved + p_used + p_reserved <= most)
    returning true, u.used, u.reserved into granted, now_used, now_reserved;
    exit when granted;
    -- There is no row yet, or no room.
    if attempt = 1 then
      insert into quota_usage (resource, period) values (p_resource, p_period) on conflict do nothing;
      perform from quota_usage u where u.resource = p_resource and u.period = p_period for update;
      perform quota_expire(p_resource, p_period);
    end if;
  end loop;
  if granted is null then
    granted := false;
    select u.used, u.reserved into now_used, now_reserved from quota_usage u
     where u.resource = p_resource and u.period = p_period;
  end if;
end;
$$;

create function quota_reserve(
  p_id uuid, p_resource text, p_kind text, p_zone text, p_default bigint, p_units bigint, p_milliseconds bigint,
  out granted boolean, out most bigint, out now_used bigint, out now_reserved bigint, out in_period text)
language plpgsql
as $$
begin
  in_period := quota_period(p_kind, p_zone);
  select t.granted, t.most, t.now_used, t.now_reserved into granted, most, now_used, now_reserved
    from quota_take(p_resource, in_period, p_default, 0, p_units) t;
  if granted then
    insert into quota_reservations (id, resource, period, units, expires_at)
    values (p_id, p_resource, in_period, p_units,
            clock_timestamp() + p_milliseconds * interval '1 millisecond');
  end if;
end;
$$;

-- Uses `p_actual` of a reservation and gives the rest back. More than was reserved must find room, and where it does
-- not, the reservation stays. `outcome`: settled, gone or exceeded.
create function quota_settle(
  p_id uuid, p_resource text, p_period text, p_default bigint, p_actual bigint,
  out outcome text, out most bigint, out now_used bigint, out now_reserved bigint)
language plpgsql
as $$
declare
  v_held bigint;
  v_expires timestamptz;
begin
  perform from quota_usage u where u.resource = p_resource and u.period = p_period for update;
  select r.units, r.expires_at into v_held, v_expires from quota_reservations r
   where r.id = p_id and r.resource = p_resource and r.period = p_period;
  if not found then
    outcome := 'gone';
    return;
  end if;
  outcome := 'settled';
  if p_actual > v_held then
    -- Expired or not, this one is not counted out meanwhile.
    update quota_reservations r set expires_at = 'infinity' where r.id = p_id;
    select case when t.granted then 'settled' else 'exceeded' end, t.most, t.now_used, t.now_reserved
      into outcome, most, now_used, now_reserved
      from quota_take(p_resource, p_period, p_default, 0, p_actual - v_held) t;
    if outcome = 'exceeded' then
      update quota_reservations r set expires_at = v_expires where r.id = p_id;
      return;
    end if;
    v_held := p_actual;
  end if;
  delete from quota_reservations r where r.id = p_id;
  update quota_usage u set used = u.used + p_actual, reserved = u.reserved - v_held
   where u.resource = p_resource and u.period = p_period;
end;
$$;

-- Counts out all that has expired, in one order.
create function quota_purge() returns bigint
language plpgsql
as $$
declare
  v_count bigint := 0;
  v_row record;
begin
  for v_row in
    select distinct r.resource, r.period from quota_reservations r
     where r.expires_at <= clock_timestamp() order by 1, 2
  loop
    perform from quota_usage u where u.resource = v_row.resource and u.period = v_row.period for update;
    v_count := v_count + quota_expire(v_row.resource, v_row.period);
  end loop;
  return v_count;
end;
$$;

revoke all on function
  quota_limit(text, bigint), quota_period(text, text), quota_expire(text, text),
  quota_take(text, text, bigint, bigint, bigint),
  quota_reserve(uuid, text, text, text, bigint, bigint, bigint),
  quota_settle(uuid, text, text, bigint, bigint), quota_purge()
from public;
grant execute on function
  quota_limit(text, bigint), quota_period(text, text), quota_expire(text, text),
  quota_take(text, text, bigint, bigint, bigint),
  quota_reserve(uuid, text, text, text, bigint, bigint, bigint),
  quota_settle(uuid, text, text, bigint, bigint), quota_purge()
to formwork_app;
