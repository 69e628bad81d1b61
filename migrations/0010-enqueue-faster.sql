-- depends: 0009-delay-and-suspect
-- What the queue's benchmark showed to be in the way of enqueuing and claiming.

-- In plpgsql a session plans it once. Without keys nothing can be there already: looking costs a sixth of it.
drop function enqueue_notifications(text, jsonb[], text[], text[], timestamptz);

create function enqueue_notifications(
    topic text, bodies jsonb[], dedup_keys text[] default null, subjects text[] default null,
    expires_at timestamptz default null
) returns setof bigint language plpgsql as $$
#variable_conflict use_column
begin
    if dedup_keys is null then
        return query
        with stored as (
            insert into message (topic, body, subject, expires_at)
            select enqueue_notifications.topic, given.body, lower(given.subject), enqueue_notifications.expires_at
            from unnest(bodies, subjects) as given(body, subject)
            returning id
        )
        insert into fan_out (message_id) select id from stored returning message_id;
    else
        return query
        with stored as (
            insert into message (topic, body, dedup_key, subject, expires_at)
            select enqueue_notifications.topic, given.body, given.dedup_key, lower(given.subject),
                enqueue_notifications.expires_at
            from unnest(bodies, dedup_keys, subjects) as given(body, dedup_key, subject)
            on conflict (dedup_key) where dedup_key is not null do nothing
            returning id
        )
        insert into fan_out (message_id) select id from stored returning message_id;
    end if;
    if found then
        perform pg_notify('delivery', '');
    end if;
end
$$;

comment on function enqueue_notifications is 'enqueue_notification for many at once: arrays of equal length, or null. Returns the ids of the new messages; what is known by its dedup_key is left as it is.';

-- A claim makes a second version of each row, and with it a second entry here: room for it, so that no page is split.
alter index delivery_pkey set (fillfactor = 50);
