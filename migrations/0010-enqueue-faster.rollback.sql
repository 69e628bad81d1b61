alter index delivery_pkey reset (fillfactor);

drop function enqueue_notifications(text, jsonb[], text[], text[], timestamptz);

create function enqueue_notifications(
    topic text, bodies jsonb[], dedup_keys text[] default null, subjects text[] default null,
    expires_at timestamptz default null
) returns setof bigint language sql as $$
    with stored as (
        insert into message (topic, body, dedup_key, subject, expires_at)
        select enqueue_notifications.topic, given.body, given.dedup_key, lower(given.subject), enqueue_notifications.expires_at
        from unnest(bodies, dedup_keys, subjects) as given(body, dedup_key, subject)
        on conflict (dedup_key) where dedup_key is not null do nothing
        returning id
    ), waiting as (
        insert into fan_out (message_id) select id from stored returning message_id
    ), told as materialized (
        select pg_notify('delivery', '') where exists (select from waiting)
    )
    select message_id from waiting where (select count(*) from told) >= 0
$$;

comment on function enqueue_notifications is 'enqueue_notification for many at once: arrays of equal length, or null. Returns the ids of the new messages; what is known by its dedup_key is left as it is.';
