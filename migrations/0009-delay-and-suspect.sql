-- depends: 0008-watch-releases
-- Messages for later, deliveries that may have killed their worker, and time zones that Postgres knows no longer.

create function known_time_zone(name text) returns text language plpgsql stable as $$
begin
    perform now() at time zone name;
    return name;
exception when invalid_parameter_value then
    return 'UTC';
end
$$;

comment on function known_time_zone is 'The time zone, or UTC where Postgres knows none of that name (any more): one subscription must not stop the statement that serves all of them. The doctor names such ones.';

create or replace function after_quiet_hours(moment timestamptz, time_zone text, quiet_from time, quiet_until time)
returns timestamptz language sql stable as $$
    select greatest(moment, case
        when quiet_from < quiet_until and here::time >= quiet_from and here::time < quiet_until
            or quiet_from > quiet_until and here::time < quiet_until
            then (here::date + quiet_until) at time zone zone
        when quiet_from > quiet_until and here::time >= quiet_from
            then (here::date + 1 + quiet_until) at time zone zone
    end)
    -- The offset keeps the planner from putting the function wherever its result is used.
    from (select known_time_zone(time_zone) as zone offset 0) known, lateral (select moment at time zone zone as here) local
$$;

create or replace function next_digest(after timestamptz, time_zone text, digest_hour smallint, digest_weekday smallint)
returns timestamptz language sql stable as $$
    select case
        when today at time zone zone > after then today at time zone zone
        else (today + make_interval(days => case when digest_weekday is null then 1 else 7 end)) at time zone zone
    end
    from (
        select zone, date_trunc('day', here) + make_interval(
            days => coalesce((digest_weekday - extract(isodow from here)::integer + 7) % 7, 0), hours => digest_hour
        ) as today
        from (select known_time_zone(time_zone) as zone offset 0) known, lateral (select after at time zone zone as here) local
    ) soonest
$$;

alter table delivery add column begun integer;

comment on column delivery.begun is 'Null until a worker vanishes that has claimed it. From then on each attempt is noted here before it is sent, so that a worker''s end counts only against what it had begun: a process that dies at its start is no fault of what it had claimed.';
comment on column delivery.failures is 'How many tries count against it. What the receiver put off (Retry-After), what was handed back unsent and what was lost before it was begun do not.';

alter table message add column not_before timestamptz;

comment on column message.not_before is 'Told from then on; null: at once. Who subscribes meanwhile is not told of it: deliveries are made when it is enqueued.';

drop function enqueue_notification(text, jsonb, text, integer, text, timestamptz);

create function enqueue_notification(
    topic text, body jsonb, dedup_key text default null, occurrences integer default 1,
    subject text default null, expires_at timestamptz default null, not_before timestamptz default null
) returns bigint language plpgsql as $$
#variable_conflict use_column
declare
    stored_id bigint;
    is_new boolean;
begin
    insert into message (topic, body, dedup_key, occurrences, subject, expires_at, not_before)
    values (
        enqueue_notification.topic,
        enqueue_notification.body,
        enqueue_notification.dedup_key,
        enqueue_notification.occurrences,
        lower(enqueue_notification.subject),
        enqueue_notification.expires_at,
        enqueue_notification.not_before
    )
    on conflict (dedup_key) where dedup_key is not null
    do update set occurrences = message.occurrences + excluded.occurrences
    -- xmax is 0 only in a row that this very statement inserted.
    returning id, xmax = 0 into stored_id, is_new;
    if is_new then
        insert into fan_out (message_id) values (stored_id);
        -- Once a transaction, however many are enqueued in it: equal notifications are merged at commit.
        perform pg_notify('delivery', '');
    end if;
    return stored_id;
end
$$;

comment on function enqueue_notification is 'The way into the queue: stores a message for the subscribers of its topic, who are told at once or not before a time. A repeated dedup_key adds its occurrences to the first message instead. Returns the message''s id.';
