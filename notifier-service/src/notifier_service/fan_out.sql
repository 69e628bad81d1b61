-- From messages to deliveries.

-- name: fan_out
-- message → deliveries: of the oldest messages, each one's next subscriptions, and where to go on from
-- A chunk counts subscriptions looked at, not those that match: its end is the topic's end, whatever filters leave.
with next as materialized (
    select message_id, after_subscription_id from fan_out
    order by message_id limit {messages} for update skip locked
), told_of as materialized (
    -- What filters look at, null where its topic has no such thing.
    select id as message_id, topic, subject, after_subscription_id, greatest(now(), not_before) as due_at,
        body #>> '{{page,language_slug}}' as language_slug, body #>> '{{page,since}}' as since,
        (body #>> '{{repository,period_stars}}')::integer as period_stars,
        lower(case topic
            when 'trending.entered' then concat(body #>> '{{repository,owner}}', '/', body #>> '{{repository,name}}')
            when 'release.published' then body ->> 'repository'
        end) as repository,
        topic <> 'trending.entered' or body #>> '{{page,section}}' = 'repositories'
            and coalesce(body #>> '{{page,spoken_language_code}}', '') = '' as is_for_somebody
    from next join message on id = message_id and (expires_at is null or expires_at > now())
), chunk as materialized (
    select told_of.message_id, each.* from told_of join lateral (
        select * from subscription
        where topic = told_of.topic and id > told_of.after_subscription_id
        order by id limit {subscriptions}
    ) each on true
), wanted as materialized (
    select message_id, told_of.topic, subject, endpoint_id, channel, due_at, min(
        case when quiet_from is null then due_at else after_quiet_hours(due_at, time_zone, quiet_from, quiet_until) end
    ) as run_at, bool_or(endpoint.paused or coalesce(blocked_until > now(), false)) as rests,
        row_number() over (partition by endpoint_id, told_of.topic, subject order by message_id) as place
    from told_of join chunk using (message_id) join endpoint on endpoint.id = endpoint_id
    where is_for_somebody and mode = 'at_once' and not chunk.paused and endpoint.state = 'active'
        and (told_of.topic <> 'trending.entered'
            or language_slug = any(chunk.languages) and told_of.since = chunk.since)
        and (minimum_period_stars is null or period_stars >= minimum_period_stars)
        and (chunk.repository is null or told_of.repository = chunk.repository)
        and (owner_login is null or split_part(told_of.repository, '/', 1) = owner_login)
    group by message_id, told_of.topic, subject, endpoint_id, channel, due_at
), told_now as (
    insert into told (endpoint_id, topic, subject)
    select endpoint_id, topic, subject from wanted where subject is not null and place = 1
    -- In one order, so that messages of one subject do not lock each other out.
    order by endpoint_id, topic, subject
    on conflict do nothing
    returning endpoint_id, topic, subject
), made as (
    insert into delivery (message_id, endpoint_id, channel, run_at, created_at, state)
    select message_id, endpoint_id, channel, run_at, due_at, case when rests then 'held' else 'ready' end
    from wanted
    where subject is null
        or place = 1 and (endpoint_id, topic, subject) in (select endpoint_id, topic, subject from told_now)
    order by message_id, endpoint_id
    returning 1
), unfinished as materialized (
    select message_id, max(id) as last_id from chunk group by message_id having count(*) = {subscriptions}
), advanced as (
    update fan_out set after_subscription_id = last_id from unfinished
    where fan_out.message_id = unfinished.message_id
), ended as (
    delete from fan_out where message_id = any(array(
        select message_id from next except select message_id from unfinished
    ))
)
select (select count(*) from next), (select count(*) from unfinished), (select count(*) from made)
