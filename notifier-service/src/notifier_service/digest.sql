-- Digests: what trends, once a day or week, at the subscriber's hour.

-- name: send
-- due → enqueued, and due again at its next hour: message, delivery and the new time in one statement
-- A replica that comes second skips the locked rows, or finds their time moved on. Missed hours are made up for by one.
-- Equal digests are one message. What an endpoint was told word for word (nothing was fetched since) is not told again.
with due as materialized (
    select subscription.id, endpoint_id, channel, languages, since, coalesce(minimum_period_stars, 0) as minimum, mode,
        next_digest(now(), time_zone, digest_hour, digest_weekday) as next_digest_at
    from subscription join endpoint on endpoint.id = endpoint_id
    where next_digest_at <= now() and not subscription.paused and endpoint.state = 'active'
    order by subscription.next_digest_at, subscription.id
    limit %(limit)s
    for update of subscription skip locked
), moved as (
    update subscription set next_digest_at = due.next_digest_at from due where subscription.id = due.id
), wanted as materialized (
    select distinct languages, since, minimum, mode from due
), listed as materialized (
    select wanted.languages, wanted.since, wanted.minimum, wanted.mode, snapshot.taken_at, page.language_slug,
        coalesce(menu.language ->> 'name', nullif(page.language_slug, '')) as language, (
            select json_agg(row order by place) from (
                select row, place from json_array_elements(snapshot.rows::json) with ordinality as each (row, place)
                where coalesce((row ->> 'period_stars')::integer, 0) >= wanted.minimum
                order by place
                limit %(rows)s
            ) best
        ) as repositories
    from wanted
    join trending_page page on page.section = 'repositories' and page.since = wanted.since
        and page.language_slug = any(wanted.languages) and page.spoken_language_code = ''
    join trending_snapshot snapshot on snapshot.id = page.snapshot_id
    left join lateral (
        select language from trending_menu, json_array_elements(languages::json) as language
        where language ->> 'slug' = page.language_slug
        limit 1
    ) menu on true
), digest as materialized (
    select languages, since, minimum, mode, jsonb_build_object(
        'since', since, 'as_of', to_char(max(taken_at) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
        'pages', jsonb_agg(jsonb_build_object('language_slug', language_slug, 'language', language,
            'repositories', repositories) order by language_slug)
    ) as body
    from listed
    where repositories is not null
    group by languages, since, minimum, mode
), message_made as (
    insert into message as known (topic, body, dedup_key, subject, expires_at)
    select distinct on (key) 'trending.digest', body, 'digest:' || key, 'digest:' || key,
        -- Until the next one is due.
        now() + case mode when 'weekly' then interval '7 days' else interval '1 day' end
    from digest, lateral (select md5(mode || body::text) as key) keyed
    order by key
    on conflict (dedup_key) where dedup_key is not null do update set expires_at = excluded.expires_at
    returning id, topic, subject, dedup_key
), addressed as materialized (
    select distinct message_made.id as message_id, topic, subject, endpoint_id, channel
    from due join digest using (languages, since, minimum, mode)
    join message_made on message_made.dedup_key = 'digest:' || md5(digest.mode || digest.body::text)
), told_now as (
    insert into told (endpoint_id, topic, subject) select endpoint_id, topic, subject from addressed
    on conflict do nothing
    returning endpoint_id, subject
), delivery_made as (
    insert into delivery (message_id, endpoint_id, channel)
    select message_id, endpoint_id, channel from addressed join told_now using (endpoint_id, subject)
    returning id
), woken as materialized (
    select pg_notify('delivery', '') where exists (select from delivery_made)
)
select (select count(*) from due), (select count(*) from delivery_made), (select count(*) from woken)
