-- What operators do to deliveries, dead letters, channels, endpoints and schedules. Each bears being run twice.

-- name: retry
-- waiting or held → due now
with hurried as (
    update delivery set state = 'ready', run_at = now(), has_slot = false
    where id = %(id)s and state in ('ready', 'held')
    returning id
), woken as materialized (
    select pg_notify('delivery', '') where exists (select from hurried)
)
select id, (select count(*) from woken) from hurried

-- name: cancel
-- waiting or held → gone, with a record
with gone as (
    delete from delivery where id = %(id)s and state in ('ready', 'held')
    returning id, message_id, endpoint_id, channel, attempt
)
insert into delivery_record (delivery_id, message_id, endpoint_id, channel, attempt, outcome, error)
select id, message_id, endpoint_id, channel, attempt, 'cancelled', 'by an operator' from gone

-- name: count_dead
-- how many dead letters that means, and how many of them can be replayed
select count(*), count(*) filter (where state = 'active' and message.id is not null)
from dead_letter left join endpoint on endpoint.id = endpoint_id left join message on message.id = message_id
where replayed_as is null and (%(id)s::bigint is null or delivery_id = %(id)s)
    and (%(channel)s::text is null or dead_letter.channel = %(channel)s)
    and (%(endpoint)s::bigint is null or endpoint_id = %(endpoint)s)
    and (%(topic)s::text is null or topic = %(topic)s)

-- name: replay
-- dead → a new delivery with the same idempotency key, of which it knows; a chunk, the oldest first
-- Only where the endpoint takes messages: elsewhere it would die at once again, as what is a week old would.
with chosen as materialized (
    select delivery_id, nextval(pg_get_serial_sequence('delivery', 'id')) as new_id, message_id, endpoint_id,
        dead_letter.channel, attempt
    from dead_letter join endpoint on endpoint.id = endpoint_id and state = 'active'
        join message on message.id = message_id
    where replayed_as is null and (%(id)s::bigint is null or delivery_id = %(id)s)
        and (%(channel)s::text is null or dead_letter.channel = %(channel)s)
        and (%(endpoint)s::bigint is null or endpoint_id = %(endpoint)s)
        and (%(topic)s::text is null or topic = %(topic)s)
    order by delivery_id limit %(limit)s
    for update of dead_letter skip locked
), made as (
    insert into delivery (id, message_id, endpoint_id, channel, attempt) overriding system value
    select new_id, message_id, endpoint_id, channel, attempt from chosen
), replayed as (
    update dead_letter set replayed_as = new_id from chosen where dead_letter.delivery_id = chosen.delivery_id
), woken as materialized (
    select pg_notify('delivery', '') where exists (select from chosen)
)
select delivery_id, new_id, (select count(*) from woken) from chosen

-- name: purge
-- dead → forgotten; a chunk, the oldest first. Its records stay.
delete from dead_letter where delivery_id = any(array(
    select delivery_id from dead_letter left join message on message.id = message_id
    where replayed_as is null and (%(id)s::bigint is null or delivery_id = %(id)s)
        and (%(channel)s::text is null or channel = %(channel)s)
        and (%(endpoint)s::bigint is null or endpoint_id = %(endpoint)s)
        and (%(topic)s::text is null or topic = %(topic)s)
    order by delivery_id limit %(limit)s
))

-- name: pause_channel
-- claimed from → not claimed from, or back
with changed as (
    insert into channel (name, paused) values (%(name)s, %(paused)s)
    on conflict (name) do update set paused = excluded.paused
    returning name
)
select name, pg_notify('delivery', '') from changed

-- name: pause_endpoint
-- told → held, or back
with changed as (
    -- A rest that is over tells the rescue to let go what was held meanwhile.
    update endpoint set paused = %(paused)s, blocked_until = greatest(blocked_until, now())
    where id = %(name)s::bigint returning id
)
select id, pg_notify('delivery', '') from changed

-- name: pause_template
-- told → held, or back: everybody who is told with one of WeChat's templates
with named as materialized (
    select id from endpoint where channel = 'wechat' and config ->> 'template_id' = %(name)s order by id for update
), changed as (
    update endpoint set paused = %(paused)s, blocked_until = greatest(blocked_until, now())
    where id = any(array(select id from named)) returning id
)
select count(*), pg_notify('delivery', '') from changed having count(*) > 0

-- name: pause_schedule
-- fires → does not, or back
update schedule set paused = %(paused)s where name = %(name)s returning name

-- name: add_schedule
-- nothing → a schedule; one of that name is left as it is
insert into schedule (name, cron, time_zone, topic, body, next_at)
values (%(name)s, %(cron)s, %(time_zone)s, %(topic)s, %(body)s::jsonb, %(next_at)s)
on conflict (name) do nothing

-- name: remove_schedule
-- a schedule → gone
delete from schedule where name = %(name)s

-- name: send_test
-- nothing → a test message, to one endpoint, whatever it subscribes to
with test as (
    insert into message (topic, body, expires_at) values ('subscription.test', '{}', now() + interval '5 min') returning id
), made as (
    insert into delivery (message_id, endpoint_id, channel)
    select test.id, endpoint.id, channel from test, endpoint where endpoint.id = %(endpoint)s
    returning id
)
select id, pg_notify('delivery', '') from made
