-- The queue's statements. Each bears being run twice: after a lost connection nobody knows whether it took effect.
-- A delivery is fenced by id, attempt and state: who lost its lease can change nothing.

-- name: register
-- A worker that begins
insert into worker (host, pid, version) values (%(host)s, %(pid)s, %(version)s) returning id

-- name: fan_out
-- message → deliveries: the next of its subscribers, at most %(limit)s, and where to go on from
-- A chunk counts subscriptions looked at, not those that match: its end is the topic's end, whatever filters leave.
with next as materialized (
    select message_id, after_subscription_id from fan_out order by message_id limit 1 for update skip locked
), told_of as materialized (
    -- What filters look at, null where its topic has no such thing.
    select id as message_id, topic, subject, after_subscription_id,
        body #>> '{page,language_slug}' as language_slug, body #>> '{page,since}' as since,
        (body #>> '{repository,period_stars}')::integer as period_stars,
        lower(case topic
            when 'trending.entered' then concat(body #>> '{repository,owner}', '/', body #>> '{repository,name}')
            when 'release.published' then body ->> 'repository'
        end) as repository,
        topic <> 'trending.entered' or body #>> '{page,section}' = 'repositories'
            and coalesce(body #>> '{page,spoken_language_code}', '') = '' as is_for_somebody
    from next join message on id = message_id and (expires_at is null or expires_at > now())
), chunk as materialized (
    select each.* from told_of join lateral (
        select * from subscription
        where topic = told_of.topic and id > told_of.after_subscription_id
        order by id limit %(limit)s
    ) each on true
), wanted as materialized (
    select message_id, told_of.topic, subject, endpoint_id, channel, min(
        case when quiet_from is null then now() else after_quiet_hours(now(), time_zone, quiet_from, quiet_until) end
    ) as run_at
    from told_of, chunk join endpoint on endpoint.id = endpoint_id
    where is_for_somebody and mode = 'at_once' and not chunk.paused and endpoint.state = 'active'
        and (told_of.topic <> 'trending.entered'
            or language_slug = any(chunk.languages) and told_of.since = chunk.since)
        and (minimum_period_stars is null or period_stars >= minimum_period_stars)
        and (chunk.repository is null or told_of.repository = chunk.repository)
        and (owner_login is null or split_part(told_of.repository, '/', 1) = owner_login)
    group by message_id, told_of.topic, subject, endpoint_id, channel
), told_now as (
    insert into told (endpoint_id, topic, subject)
    select endpoint_id, topic, subject from wanted where subject is not null
    -- In one order, so that messages of one subject do not lock each other out.
    order by endpoint_id
    on conflict do nothing
    returning endpoint_id
), made as (
    insert into delivery (message_id, endpoint_id, channel, run_at)
    select message_id, endpoint_id, channel, run_at from wanted
    where subject is null or endpoint_id in (select endpoint_id from told_now)
    returning id
), advanced as (
    update fan_out set after_subscription_id = (select max(id) from chunk)
    where message_id = (select message_id from next) and (select count(*) from chunk) = %(limit)s
), ended as (
    delete from fan_out
    where message_id = (select message_id from next) and (select count(*) from chunk) < %(limit)s
)
select message_id, (select count(*) from made) from next

-- name: claim
-- ready → running: the channel's longest due deliveries, each an attempt under a lease
-- any(array(…)) keeps the primary key in use whatever the planner thinks of the limit.
with due as materialized (
    select id from delivery
    where channel = %(channel)s and state = 'ready' and run_at <= now()
    order by run_at, id
    limit %(limit)s
    for update skip locked
), claimed as (
    update delivery
    set state = 'running', attempt = attempt + 1, worker = %(worker)s,
        lease_until = now() + make_interval(secs => %(lease_seconds)s)
    where id = any(array(select id from due))
    returning id, message_id, endpoint_id, attempt, failures
)
select claimed.id, claimed.attempt, claimed.message_id, message.topic, message.body, message.occurrences,
    message.created_at, claimed.failures, endpoint.id, endpoint.channel, endpoint.config, endpoint.language, endpoint.name
from claimed join message on message.id = claimed.message_id join endpoint on endpoint.id = claimed.endpoint_id
order by claimed.id

-- name: finish
-- running → gone: delivered, skipped or dead, with its record
with finished as (
    delete from delivery
    where id = %(id)s and attempt = %(attempt)s and state = 'running'
    returning id, message_id, endpoint_id, channel, attempt, worker, created_at
), dead as (
    insert into dead_letter (delivery_id, message_id, endpoint_id, channel, attempt, created_at, reason)
    select id, message_id, endpoint_id, channel, attempt, created_at, %(error)s from finished where %(outcome)s = 'dead'
)
insert into delivery_record
    (delivery_id, message_id, endpoint_id, channel, attempt, outcome, http_status, duration_ms, error, worker)
select id, message_id, endpoint_id, channel, attempt, %(outcome)s, %(http_status)s, %(duration_ms)s, %(error)s, worker
from finished

-- name: put_off
-- running → ready later: a failed try, with its record
with failed as (
    -- The worker as it was: returning would give the one that is set here.
    select id, worker from delivery
    where id = %(id)s and attempt = %(attempt)s and state = 'running'
    for update
), put_off as (
    update delivery
    set state = 'ready', run_at = now() + make_interval(secs => %(retry_in_seconds)s), failures = failures + 1,
        lease_until = null, worker = null, last_error = %(error)s
    from failed
    where delivery.id = failed.id
    returning delivery.id, message_id, endpoint_id, channel, attempt, failed.worker
)
insert into delivery_record
    (delivery_id, message_id, endpoint_id, channel, attempt, outcome, http_status, duration_ms, error, worker)
select id, message_id, endpoint_id, channel, attempt, %(outcome)s, %(http_status)s, %(duration_ms)s, %(error)s, worker
from put_off

-- name: hand_back
-- running → ready: what a worker that stops holds of a channel and will not finish
update delivery set state = 'ready', lease_until = null, worker = null
where worker = %(worker)s and channel = %(channel)s and state = 'running'

-- name: rescue
-- running → ready or gone (dead): leases that ran out, with a record of the lost try
-- The first loss starts again at once; a delivery that kills its workers waits longer each time, at most 5 minutes.
-- Not just after Postgres started: leases ran out while nobody could settle, and those who sent get 3 s to say so.
with expired as materialized (
    select id, worker from delivery
    where state = 'running' and lease_until < now() and pg_postmaster_start_time() < now() - interval '3 s'
    limit 1000
    for update skip locked
), given_up as (
    delete from delivery
    where id = any(array(select id from expired)) and attempt >= %(most_attempts)s
    returning id, message_id, endpoint_id, channel, attempt, created_at
), dead as (
    insert into dead_letter (delivery_id, message_id, endpoint_id, channel, attempt, created_at, reason)
    select id, message_id, endpoint_id, channel, attempt, created_at, %(error)s from given_up
), rescued as (
    update delivery
    set state = 'ready', run_at = now() + make_interval(secs => least(power(2, attempt - 1) - 1, 300)),
        failures = failures + 1, lease_until = null, worker = null, last_error = %(error)s
    where id = any(array(select id from expired)) and attempt < %(most_attempts)s
    returning id, message_id, endpoint_id, channel, attempt
), ended as (
    select *, 'lost' as outcome from rescued
    union all
    select id, message_id, endpoint_id, channel, attempt, 'dead' from given_up
)
insert into delivery_record (delivery_id, message_id, endpoint_id, channel, attempt, outcome, error, worker)
select ended.id, message_id, endpoint_id, channel, attempt, outcome, %(error)s, worker
from ended join expired on expired.id = ended.id
returning delivery_id, outcome

-- name: forget_records
-- gone → forgotten: a bounded batch of records past their time
delete from delivery_record where at < now() - make_interval(days => %(days)s)

-- name: forget_messages
-- gone → forgotten: a bounded batch of messages past their time, except those still to be delivered
delete from message where id = any(array(
    select id from message
    where created_at < now() - make_interval(days => %(days)s)
    and not exists (select from fan_out where fan_out.message_id = message.id)
    and not exists (select from delivery where delivery.message_id = message.id)
    and not exists (select from dead_letter where dead_letter.message_id = message.id and replayed_as is null)
    limit %(limit)s
))
