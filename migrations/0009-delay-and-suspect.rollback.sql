drop function enqueue_notification(text, jsonb, text, integer, text, timestamptz, timestamptz);

create function enqueue_notification(
    topic text, body jsonb, dedup_key text default null, occurrences integer default 1,
    subject text default null, expires_at timestamptz default null
) returns bigint language plpgsql as $$
#variable_conflict use_column
declare
    stored_id bigint;
    is_new boolean;
begin
    insert into message (topic, body, dedup_key, occurrences, subject, expires_at)
    values (
        enqueue_notification.topic,
        enqueue_notification.body,
        enqueue_notification.dedup_key,
        enqueue_notification.occurrences,
        lower(enqueue_notification.subject),
        enqueue_notification.expires_at
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

comment on function enqueue_notification is 'The way into the queue: stores a message for the subscribers of its topic. A repeated dedup_key adds its occurrences to the first message instead. Returns the message''s id.';

alter table message drop column not_before;
alter table delivery drop column begun;
comment on column delivery.failures is 'How many tries count against it. What the receiver put off (Retry-After) and what was handed back unsent do not.';

create or replace function after_quiet_hours(moment timestamptz, time_zone text, quiet_from time, quiet_until time)
returns timestamptz language sql stable as $$
    select greatest(moment, case
        when quiet_from < quiet_until and here::time >= quiet_from and here::time < quiet_until
            or quiet_from > quiet_until and here::time < quiet_until
            then (here::date + quiet_until) at time zone time_zone
        when quiet_from > quiet_until and here::time >= quiet_from
            then (here::date + 1 + quiet_until) at time zone time_zone
    end)
    from (select moment at time zone time_zone as here) local
$$;

create or replace function next_digest(after timestamptz, time_zone text, digest_hour smallint, digest_weekday smallint)
returns timestamptz language sql stable as $$
    select case
        when today at time zone time_zone > after then today at time zone time_zone
        else (today + make_interval(days => case when digest_weekday is null then 1 else 7 end)) at time zone time_zone
    end
    from (
        select date_trunc('day', here) + make_interval(
            days => coalesce((digest_weekday - extract(isodow from here)::integer + 7) % 7, 0), hours => digest_hour
        ) as today
        from (select after at time zone time_zone as here) local
    ) soonest
$$;

drop function known_time_zone(text);
