-- What operators look at; nothing here changes anything.

-- name: notifications
-- deliveries on their way, ended, and dead, the newest first
with found as (
    (
        select id, case state when 'ready' then 'waiting' when 'running' then 'sending' else state end as state,
            message_id, endpoint_id, channel, attempt, created_at, case when state = 'ready' then run_at end as run_at,
            null::timestamptz as ended_at, last_error as error, null::bigint as replayed_as
        from delivery
        where (%(id)s::bigint is null or id = %(id)s) and (%(endpoint)s::bigint is null or endpoint_id = %(endpoint)s)
            and (%(state)s::text is null
                or state = case %(state)s when 'waiting' then 'ready' when 'sending' then 'running' else %(state)s end)
            and (%(topic)s::text is null
                or exists (select from message where message.id = message_id and topic = %(topic)s))
        order by id desc limit %(skip)s + %(limit)s
    ) union all (
        select delivery_id, outcome, message_id, endpoint_id, channel, attempt, null, null, at, error, null
        from delivery_record
        where outcome in ('delivered', 'skipped', 'expired', 'cancelled') and (%(state)s is null or outcome = %(state)s)
            and (%(id)s is null or delivery_id = %(id)s) and (%(endpoint)s is null or endpoint_id = %(endpoint)s)
            and (%(topic)s is null or exists (select from message where message.id = message_id and topic = %(topic)s))
        order by delivery_id desc limit %(skip)s + %(limit)s
    ) union all (
        select delivery_id, case when replayed_as is null then 'dead' else 'replayed' end, message_id, endpoint_id,
            channel, attempt, created_at, null, died_at, reason, replayed_as
        from dead_letter
        where (%(state)s is null or %(state)s = case when replayed_as is null then 'dead' else 'replayed' end)
            and (%(id)s is null or delivery_id = %(id)s) and (%(endpoint)s is null or endpoint_id = %(endpoint)s)
            and (%(topic)s is null or exists (select from message where message.id = message_id and topic = %(topic)s))
        order by delivery_id desc limit %(skip)s + %(limit)s
    )
)
select found.id, found.state, topic, subject, found.channel, endpoint_id, address_hint, attempt,
    coalesce(found.created_at, message.created_at), run_at, ended_at, error, replayed_as, message_id
from found left join message on message.id = message_id left join endpoint on endpoint.id = endpoint_id
order by found.id desc
offset %(skip)s limit %(limit)s

-- name: body
-- what a message says, and how often it happened
select body, occurrences, expires_at from message where id = %(id)s

-- name: tries
-- how each try of a delivery ended, the oldest first
select at, attempt, outcome, http_status, duration_ms, provider_id, error, worker
from delivery_record where delivery_id = %(id)s
order by at, attempt
limit 200

-- name: channels
-- how each channel stands
select coalesce(channel.name, delivery.channel, dead.channel), coalesce(channel.paused, false),
    coalesce(due, 0), coalesce(later, 0), coalesce(running, 0), coalesce(held, 0), oldest_seconds, coalesce(dead.count, 0)
from channel full join (
    select channel, count(*) filter (where state = 'ready' and run_at <= now()) as due,
        count(*) filter (where state = 'ready' and run_at > now()) as later,
        count(*) filter (where state = 'running') as running, count(*) filter (where state = 'held') as held,
        extract(epoch from now() - min(run_at) filter (where state = 'ready' and run_at <= now()))::float8 as oldest_seconds
    from delivery group by channel
) delivery on delivery.channel = channel.name full join (
    select channel, count(*) from dead_letter where replayed_as is null group by channel
) dead on dead.channel = coalesce(channel.name, delivery.channel)
order by 1

-- name: outcomes
-- how the newest tries ended, by channel
select channel, outcome, count(*), percentile_disc(0.5) within group (order by duration_ms)
from (select channel, outcome, duration_ms from delivery_record order by delivery_id desc limit 10000) newest
group by channel, outcome
order by channel, count(*) desc

-- name: totals
-- what else there is
select (select count(*) from fan_out), (select count(*) from subscription),
    (select count(*) from endpoint where state = 'active'), (select count(*) from endpoint where state = 'unconfirmed'),
    (select count(*) from endpoint where state = 'disabled'), (select count(*) from endpoint where paused),
    (select count(*) from endpoint where blocked_until > now()), (select count(*) from worker where died_at is null)

-- name: workers
-- who delivers
select id, host, pid, version, started_at, extract(epoch from now() - seen_at)::float8, draining,
    (select count(*) from delivery where delivery.worker = worker.id and state = 'running')
from worker
where died_at is null
order by id

-- name: schedules
-- what is enqueued again and again
select name, cron, time_zone, topic, next_at, paused from schedule order by name
