-- How tries end. A delivery is fenced by id, attempt and state: who lost it can change nothing.
-- The state is compared as an expression: else the planner may read the index of what runs, and with it the dead entries
-- of all that ran since the last vacuum.

-- name: deliver
-- running → gone: what arrived, with its record
with ended as (
    select * from unnest(%(ids)s::bigint[], %(attempts)s::integer[], %(durations)s::integer[], %(statuses)s::smallint[])
        as ended(id, attempt, duration_ms, http_status)
), delivered as (
    delete from delivery using ended
    where delivery.id = any(%(ids)s::bigint[]) and delivery.id = ended.id and delivery.attempt = ended.attempt
        and state || '' = 'running'
    returning delivery.id, message_id, endpoint_id, duration_ms, worker, delivery.attempt, http_status, channel
), recorded as (
    insert into delivery_record
        (delivery_id, message_id, endpoint_id, duration_ms, worker, attempt, http_status, outcome, channel)
    select id, message_id, endpoint_id, duration_ms, worker, attempt, http_status, 'delivered', channel from delivered
    returning 1
)
select count(*) from recorded

-- name: settle
-- running → gone or ready later: every other ending, with its record; what is given up is kept as a dead letter
with ended as (
    select * from unnest(
        %(ids)s::bigint[], %(attempts)s::integer[], %(durations)s::integer[], %(statuses)s::smallint[],
        %(outcomes)s::text[], %(retries)s::float8[], %(counts)s::smallint[], %(provider_ids)s::text[], %(errors)s::text[]
    ) as ended(id, attempt, duration_ms, http_status, outcome, retry_in_seconds, counts, provider_id, error)
), gone as (
    delete from delivery using ended
    where delivery.id = any(%(ids)s::bigint[]) and delivery.id = ended.id and delivery.attempt = ended.attempt
        and state || '' = 'running' and retry_in_seconds is null
    returning delivery.*, outcome, duration_ms, http_status, provider_id, error
), dead as (
    insert into dead_letter (delivery_id, message_id, endpoint_id, channel, attempt, created_at, reason)
    select id, message_id, endpoint_id, channel, attempt, created_at, coalesce(error, 'unknown')
    from gone where outcome = 'dead'
), put_off as (
    update delivery
    set state = 'ready', run_at = now() + make_interval(secs => retry_in_seconds), failures = failures + counts,
        has_slot = false, lease_until = null, last_error = error
    from ended
    where delivery.id = any(%(ids)s::bigint[]) and delivery.id = ended.id and delivery.attempt = ended.attempt
        and state || '' = 'running'
        and retry_in_seconds is not null
    returning delivery.*, outcome, duration_ms, http_status, provider_id, error
), recorded as (
    insert into delivery_record (
        delivery_id, message_id, endpoint_id, duration_ms, worker, attempt, http_status, outcome, channel, provider_id,
        error
    )
    select id, message_id, endpoint_id, duration_ms, worker, attempt, http_status, outcome, channel, provider_id, error
    from (select * from gone union all select * from put_off) as moved
    returning 1
)
select count(*) from recorded

-- name: settle_bare
-- running → gone or ready later: an ending that Postgres refuses otherwise, without a record. What would be sent no more
-- is a dead letter, that an operator sees it; what would be tried again counts as failed.
with gone as (
    delete from delivery
    where id = %(id)s and attempt = %(attempt)s and state || '' = 'running'
        and (%(retry)s::float8 is null or failures + 1 >= %(most_failures)s)
    returning *
), dead as (
    insert into dead_letter (delivery_id, message_id, endpoint_id, channel, attempt, created_at, reason)
    select id, message_id, endpoint_id, channel, attempt, created_at, %(reason)s from gone
), put_off as (
    update delivery
    set state = 'ready', run_at = now() + make_interval(secs => %(retry)s), failures = failures + 1, has_slot = false,
        lease_until = null, last_error = %(reason)s
    where id = %(id)s and attempt = %(attempt)s and state || '' = 'running'
        and %(retry)s::float8 is not null and failures + 1 < %(most_failures)s
    returning 1
)
select (select count(*) from gone) + (select count(*) from put_off)

-- name: judge
-- endpoint: well, failing or gone, by what its last tries came to; locked in order, so that nobody deadlocks
-- Stragglers of before a rest began do not lengthen it.
with judged as (
    select endpoint.id, is_well, rest_seconds, judged.disabled_reason, case
        when is_well then 0
        when blocked_until > now() and failures >= %(failures_before_rest)s then failures
        else least(failures + failed, greatest(%(failures_before_rest)s, failures + least(failed, 1)), 1000)
    end as failures
    from endpoint join unnest(
        %(ids)s::bigint[], %(well)s::boolean[], %(failed)s::integer[], %(rests)s::float8[], %(reasons)s::text[]
    ) as judged(id, is_well, failed, rest_seconds, disabled_reason) using (id)
    where endpoint.id = any(%(ids)s::bigint[])
    order by endpoint.id for update of endpoint
), rest as (
    select *, case when failures > 0 and not is_well then
        (%(circuit)s::float8[])[least(failures, array_length(%(circuit)s::float8[], 1))] * (0.5 + random() / 2)
    end as circuit_seconds from judged
)
update endpoint set
    failures = rest.failures,
    blocked_until = case
        when rest.disabled_reason is not null then least(blocked_until, now())
        -- Before a success: the receiver said so, whatever else it took.
        when greatest(rest_seconds, circuit_seconds) > 0
            then greatest(blocked_until, now() + make_interval(secs => greatest(rest_seconds, circuit_seconds)))
        when is_well then least(blocked_until, now())
        else blocked_until
    end,
    state = case when rest.disabled_reason is null then state else 'disabled' end,
    disabled_reason = coalesce(rest.disabled_reason, endpoint.disabled_reason),
    version = version + (rest.disabled_reason is not null)::integer
from rest where endpoint.id = rest.id
