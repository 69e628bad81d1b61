-- name: waiting
-- The other alerts that wait for an endpoint: what they are, and how often
select d.id, coalesce(m.body ->> 'service', '?'), coalesce(m.body ->> 'error', '?'), m.occurrences
from delivery d join message m on m.id = d.message_id
where d.channel = %(channel)s and d.state = 'ready' and d.endpoint_id = %(endpoint_id)s and d.id <> %(id)s
    and m.topic = 'alert'
order by d.run_at, d.id
limit %(most)s

-- name: settle
-- ready → gone: alerts that another one's message has told of, with their records
with told as (
    delete from delivery where id = any(%(ids)s::bigint[]) and state = 'ready'
    returning id, message_id, endpoint_id, channel, attempt
)
insert into delivery_record (delivery_id, message_id, endpoint_id, channel, attempt, outcome, error)
select id, message_id, endpoint_id, channel, attempt, 'delivered', %(told)s from told
