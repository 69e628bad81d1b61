-- What a worker does with deliveries until it sends them. Each statement bears being run twice: after a lost
-- connection nobody knows whether it took effect. A delivery is fenced by id, attempt and state.

-- name: claim
-- ready → running: the channel's longest due deliveries, each an attempt under a lease; → held: where the endpoint rests
-- The rows are named by any(array(…)): for a join the planner may read the whole table. By their place, which is that of
-- the version locked just before; one that moved in that moment is found by the next claim. The floor keeps the scan off
-- dead index entries while something holds an old snapshot. One document by columns: claim_answer.py says why.
with due as materialized (
    select ctid from delivery
    where channel = %(channel)s and state = 'ready' and run_at <= now() and run_at >= to_timestamp(%(floor)s)
    and not exists (select from channel where name = %(channel)s and paused)
    order by run_at, id
    limit %(limit)s
    for update skip locked
), resting as materialized (
    select id from endpoint where paused or blocked_until > now()
), taken as (
    update delivery as d
    set state = case when endpoint_id in (select id from resting) then 'held' else 'running' end,
        attempt = attempt + 1, worker = %(worker)s, lease_until = now() + make_interval(secs => %(lease_seconds)s)
    where ctid = any(array(select ctid from due))
    returning id, attempt, failures, message_id, endpoint_id, has_slot, begun, state, run_at, created_at
)
select json_build_object(
    'last_run_at', date_part('epoch', max(run_at)),
    'ids', json_agg(id), 'attempts', json_agg(attempt), 'failures', json_agg(failures),
    'message_ids', json_agg(message_id), 'endpoint_ids', json_agg(endpoint_id),
    'are_held', json_agg(state = 'held'), 'are_in_slot', json_agg(has_slot and run_at > now() - interval '1 s'),
    'waited_seconds', json_agg(date_part('epoch', now() - run_at)),
    'ages_seconds', json_agg(date_part('epoch', now() - created_at)),
    'suspects', coalesce(json_agg(id) filter (where begun is not null), '[]'),
    'messages', (
        select json_build_object(
            'ids', json_agg(id), 'topics', json_agg(topic), 'bodies', json_agg(body),
            'occurrences', json_agg(occurrences), 'created_at', json_agg(created_at),
            'are_expired', json_agg(coalesce(expires_at <= now(), false))
        ) from message where id = any(array(select message_id from taken)) having count(*) > 0
    ),
    'places', (
        select json_build_object(
            'ids', json_agg(id), 'versions', json_agg(version), 'states', json_agg(state),
            'failures', json_agg(failures), 'have_rates', json_agg(rate_per_second is not null)
        ) from endpoint where id = any(array(select endpoint_id from taken)) having count(*) > 0
    )
)::text
from (select * from taken order by run_at, id) as taken
having count(*) > 0

-- name: begin
-- running → running: about to be sent, as is noted where a worker has vanished with it before
update delivery set begun = attempt where id = %(id)s and attempt = %(attempt)s and state = 'running' returning id

-- name: take_slots
-- running → ready at its slot: what an endpoint's rate does not let go at once (GCRA, one cell for all replicas)
-- Who gets a slot keeps it, so that no row is put off twice; endpoints are locked in order, so that nobody deadlocks.
with asked as (
    select * from unnest(%(ids)s::bigint[], %(attempts)s::integer[], %(endpoints)s::bigint[])
        with ordinality as asked(id, attempt, endpoint_id, place)
), wanted as materialized (
    select endpoint.id, count.count, rate_per_second as rate
    from endpoint join (select endpoint_id, count(*) from asked group by endpoint_id) as count
        on count.endpoint_id = endpoint.id
    where rate_per_second is not null
    order by endpoint.id for update of endpoint
), reserved as (
    update endpoint
    set slot_at = greatest(slot_at, now() - make_interval(secs => (burst - 1) / rate)) + make_interval(secs => count / rate)
    from wanted where endpoint.id = wanted.id
    returning endpoint.id, rate, slot_at - make_interval(secs => count / rate) as first_slot
), slots as (
    select asked.id, asked.attempt, first_slot + make_interval(
        secs => (row_number() over (partition by endpoint_id order by place) - 1) / rate
    ) as slot
    from asked join reserved on reserved.id = asked.endpoint_id
)
update delivery as d set state = 'ready', run_at = slot, has_slot = true, lease_until = null
from slots
where d.id = any(%(ids)s::bigint[]) and d.id = slots.id and d.attempt = slots.attempt and d.state = 'running' and slot > now()
returning d.id

-- name: hand_back
-- running → ready: what a worker that stops has claimed and not begun to send
update delivery as d set state = 'ready', lease_until = null
from unnest(%(ids)s::bigint[], %(attempts)s::integer[]) as given(id, attempt)
where d.id = any(%(ids)s::bigint[]) and d.id = given.id and d.attempt = given.attempt and d.state = 'running'
returning d.id

-- name: put_off
-- running → held: what an endpoint is too slow for; it counts for nothing against either
with slow as materialized (
    select id from endpoint where id = any(%(endpoints)s::bigint[]) order by id for update
), rested as (
    update endpoint set blocked_until = greatest(blocked_until, now() + interval '1 s')
    where id = any(array(select id from slow))
)
update delivery as d set state = 'held', lease_until = null
from unnest(%(ids)s::bigint[], %(attempts)s::integer[]) as given(id, attempt)
where d.id = given.id and d.attempt = given.attempt and d.state = 'running'
returning d.id

-- name: next_run
-- In how many seconds the channel's next delivery that is not yet due will be; the index's next entry
select extract(epoch from run_at - now())::float8 from delivery
where channel = %(channel)s and state = 'ready' and run_at > now() order by run_at limit 1
