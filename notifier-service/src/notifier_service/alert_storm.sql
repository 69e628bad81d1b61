-- name: gather
-- ready → running: the other alerts that wait for an endpoint, when they are a storm, into the hands that tell of them
-- Two that gather at once get none of the same. A worker that dies leaves them to the rescue, as all that it has.
with waiting as materialized (
    select id from delivery
    where channel = %(channel)s and state = 'ready' and endpoint_id = %(endpoint_id)s and id <> %(id)s
        and exists (select from message where message.id = message_id and topic = 'alert')
    order by run_at, id
    limit %(most)s
    for update skip locked
), teller as materialized (
    select worker from delivery where id = %(id)s and attempt = %(attempt)s and state = 'running'
), taken as (
    update delivery as d
    set state = 'running', attempt = d.attempt + 1, worker = teller.worker, lease_until = now() + interval '1 minute'
    from teller
    where d.id = any(array(select id from waiting)) and (select count(*) from waiting) >= %(fewest)s
    returning d.id, d.attempt, d.message_id
)
select taken.id, taken.attempt, coalesce(m.body ->> 'service', '?'), coalesce(m.body ->> 'error', '?'), m.occurrences
from taken join message m on m.id = taken.message_id

-- name: settle
-- running → gone: alerts that another one's message has told of, with their records; their slots are given back
with told as (
    delete from delivery as d
    using unnest(%(ids)s::bigint[], %(attempts)s::integer[]) as given(id, attempt)
    where d.id = any(%(ids)s::bigint[]) and d.id = given.id and d.attempt = given.attempt and d.state = 'running'
    returning d.id, d.message_id, d.endpoint_id, d.channel, d.attempt
), given_back as (
    update endpoint
    set slot_at = least(slot_at, make_interval(secs => 1 / rate_per_second) + greatest(now(), (
        select max(run_at) from delivery
        where channel = %(channel)s and state = 'ready' and endpoint_id = %(endpoint_id)s and has_slot
    )))
    where id = %(endpoint_id)s and rate_per_second is not null
)
insert into delivery_record (delivery_id, message_id, endpoint_id, channel, attempt, outcome, error)
select id, message_id, endpoint_id, channel, attempt, 'delivered', %(told)s from told

-- name: hand_back
-- running → ready: alerts that a message would have told of that did not arrive
update delivery as d set state = 'ready', lease_until = null
from unnest(%(ids)s::bigint[], %(attempts)s::integer[]) as given(id, attempt)
where d.id = any(%(ids)s::bigint[]) and d.id = given.id and d.attempt = given.attempt and d.state = 'running'
