-- What the platform does with a tenant stands in the tenant's own trail: an administrator who comes in, a change of its
-- status. `formwork-tenancy` knows this function by its name alone; where a home has none, no administrator comes in.
-- The identity is the caller's, so that a line which is written again is there once.
create function record_platform_line(
  p_id uuid, p_action text, p_actor_type text, p_actor_id text, p_impersonates text, p_reason text, p_detail jsonb,
  p_request_id text, p_ip text, p_user_agent text
) returns void
language plpgsql
as $$
begin
  insert into audit_events (id, action, actor_type, actor_id, entity_type, entity_id, targets, reason, after,
                            request_id, ip, user_agent)
  values (p_id, p_action, p_actor_type, p_actor_id,
          case when p_impersonates is not null then 'user' end, p_impersonates,
          case when p_impersonates is null then '[]'::jsonb
            else jsonb_build_array(jsonb_build_object('type', 'user', 'id', p_impersonates)) end,
          p_reason, p_detail, p_request_id, p_ip, p_user_agent)
  on conflict do nothing;
end;
$$;
revoke all on function
  record_platform_line(uuid, text, text, text, text, text, jsonb, text, text, text) from public;
grant execute on function
  record_platform_line(uuid, text, text, text, text, text, jsonb, text, text, text) to formwork_app;
