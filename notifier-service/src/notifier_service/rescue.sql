-- Every replica runs these; each skips what another one has in hand.

-- name: bury
-- worker: taken for dead. Its lock goes with its process; without that, or behind a dead line, its beat stays away.
-- Not just after Postgres started: nobody could beat before, and whoever sent gets 3 s to say so.
update worker set died_at = now() where died_at is null
and pg_postmaster_start_time() < now() - interval '3 s'
and (seen_at < now() - interval '10 s' or seen_at < now() - interval '3 s' and not exists (
    select from pg_locks
    where locktype = 'advisory' and objsubid = 2 and classid = {namespace} and objid = worker.id
    and database = (select oid from pg_database where datname = current_database())
))

-- name: rescue
-- running → ready, or dead after too many failures: what dead workers had, with a record of the lost try
-- It counts if it was begun, as is known after a first loss; one that kills its workers waits longer each time, at most
-- 5 minutes.
with lost as materialized (
    select id from delivery
    where state = 'running' and worker = any(array(select id from worker where died_at is not null))
    limit {limit} for update skip locked
), {endings}

-- name: expire
-- The same for leases that ran out: what a living worker has forgotten
with lost as materialized (
    select id from delivery
    where state = 'running' and lease_until < now() and pg_postmaster_start_time() < now() - interval '15 s'
    limit {limit} for update skip locked
), {endings}

-- name: endings
given_up as (
    delete from delivery
    where id = any(array(select id from lost)) and failures + 1 >= %(most_failures)s and begun is not distinct from attempt
    returning *
), dead as (
    insert into dead_letter (delivery_id, message_id, endpoint_id, channel, attempt, created_at, reason)
    select id, message_id, endpoint_id, channel, attempt, created_at, %(error)s from given_up
), rescued as (
    update delivery
    set state = 'ready', run_at = now() + make_interval(secs => least(power(2, failures) - 1, 300)),
        failures = failures + (begun is not distinct from attempt)::integer, begun = coalesce(begun, 0),
        has_slot = false, lease_until = null, last_error = %(error)s
    where id = any(array(select id from lost))
        and not (failures + 1 >= %(most_failures)s and begun is not distinct from attempt)
    returning *
), recorded as (
    insert into delivery_record (delivery_id, message_id, endpoint_id, worker, attempt, outcome, channel, error)
    select id, message_id, endpoint_id, worker, attempt, outcome, channel, %(error)s
    from (select *, 'lost' as outcome from rescued union all select *, 'dead' from given_up) as ended
    returning outcome
)
select outcome, count(*) from recorded group by outcome

-- name: release
-- held → ready: of endpoints whose rest is over; of one that fails, a single delivery that tries whether it is well
-- An endpoint's mark stays for a while after the last: a claim that began while it rested may yet hold one.
-- Who was let go of longest ago comes first, so that one with many holds up no other.
with rested as materialized (
    select id, failures >= %(failures_before_rest)s as fails from endpoint
    where blocked_until <= now() and not paused
    and released_at < now() - case when failures >= %(failures_before_rest)s then interval '15 s' else interval '0.9 s' end
    order by released_at limit 100 for update skip locked
), due as materialized (
    select each.id, each.endpoint_id from rested cross join lateral (
        select id, endpoint_id from delivery where state = 'held' and endpoint_id = rested.id
        order by id limit case when fails then 1 else {limit} end
    ) as each limit {limit}
), released as (
    -- A slot that has passed meanwhile is lost: all of them together would be more than the endpoint's rate.
    update delivery set state = 'ready', has_slot = has_slot and run_at > now(), run_at = greatest(run_at, now()),
        lease_until = null
    where id = any(array(select id from due)) and state = 'held'
    returning 1
), noted as (
    update endpoint set
        released_at = case when has_more then released_at else now() end,
        blocked_until = case when has_held or blocked_until > now() - interval '10 s' then blocked_until end
    from (
        select id, id in (select endpoint_id from due) as has_due,
            exists (select from delivery where state = 'held' and endpoint_id = rested.id) as has_held
        from rested
    ) as looked_at, lateral (select has_held and not has_due as has_more) as turn
    where endpoint.id = looked_at.id
)
select count(*) from released

-- name: forget_workers
-- worker: gone, a minute after it was taken for dead
delete from worker where died_at < now() - interval '1 minute'
and not exists (select from delivery where state = 'running' and worker = worker.id)
