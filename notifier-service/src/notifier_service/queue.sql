-- The queue's statements. Each bears being run twice: after a lost connection nobody knows whether it took effect.
-- A delivery is fenced by id, attempt and state: who lost its lease can change nothing.

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
    returning id, message_id, attempt
)
select claimed.id, claimed.message_id, claimed.attempt, message.topic, message.body, message.occurrences
from claimed join message on message.id = claimed.message_id
order by claimed.id

-- name: finish
-- running → gone: delivered, skipped or dead, with its record
with finished as (
    delete from delivery
    where id = %(id)s and attempt = %(attempt)s and state = 'running'
    returning id, message_id, channel, attempt, worker
)
insert into delivery_record (delivery_id, message_id, channel, attempt, outcome, http_status, duration_ms, error, worker)
select id, message_id, channel, attempt, %(outcome)s, %(http_status)s, %(duration_ms)s, %(error)s, worker
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
    set state = 'ready', run_at = now() + make_interval(secs => %(retry_in_seconds)s),
        lease_until = null, worker = null, last_error = %(error)s
    from failed
    where delivery.id = failed.id
    returning delivery.id, message_id, channel, attempt, failed.worker
)
insert into delivery_record (delivery_id, message_id, channel, attempt, outcome, http_status, duration_ms, error, worker)
select id, message_id, channel, attempt, %(outcome)s, %(http_status)s, %(duration_ms)s, %(error)s, worker
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
    returning id, message_id, channel, attempt
), rescued as (
    update delivery
    set state = 'ready', run_at = now() + make_interval(secs => least(power(2, attempt - 1) - 1, 300)),
        lease_until = null, worker = null, last_error = %(error)s
    where id = any(array(select id from expired)) and attempt < %(most_attempts)s
    returning id, message_id, channel, attempt
), ended as (
    select *, 'lost' as outcome from rescued
    union all
    select *, 'dead' from given_up
)
insert into delivery_record (delivery_id, message_id, channel, attempt, outcome, error, worker)
select ended.id, message_id, channel, attempt, outcome, %(error)s, worker
from ended join expired on expired.id = ended.id
returning delivery_id, outcome

-- name: forget_records
-- gone → forgotten: a bounded batch of records past their time
delete from delivery_record where ctid = any(array(
    select ctid from delivery_record where at < now() - make_interval(days => %(days)s) limit %(limit)s
))

-- name: forget_messages
-- gone → forgotten: a bounded batch of messages past their time, except those still to be delivered
delete from message where id = any(array(
    select id from message
    where created_at < now() - make_interval(days => %(days)s)
    and not exists (select from delivery where delivery.message_id = message.id)
    limit %(limit)s
))
