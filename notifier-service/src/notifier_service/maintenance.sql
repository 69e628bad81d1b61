-- The queue's own care, a bounded piece at a time.

-- name: dead_rows
-- Rows that only a vacuum takes away, by table
select relname::text, n_dead_tup from pg_stat_user_tables
where schemaname = 'public' and relname in ('delivery', 'fan_out', 'endpoint', 'worker') and n_dead_tup > %(limit)s

-- name: make_partitions
select make_delivery_record_partitions(7)

-- name: old_partitions
select relname::text from pg_inherits join pg_class on pg_class.oid = inhrelid
where inhparent = 'delivery_record'::regclass and relname ~ '^delivery_record_[0-9]{8}$'
and to_date(right(relname, 8), 'YYYYMMDD') < (now() at time zone 'UTC')::date - %(days)s::integer

-- name: forget_messages
-- gone → forgotten: messages past their time, except those still to be delivered or given up
delete from message where id = any(array(
    select id from message
    where created_at < now() - make_interval(days => %(days)s)
    and not exists (select from fan_out where fan_out.message_id = message.id)
    and not exists (select from dead_letter where dead_letter.message_id = message.id and replayed_as is null)
    and not exists (select from delivery where delivery.message_id = message.id)
    limit %(limit)s
))
returning id

-- name: forget_told
-- told → may be told again
delete from told where ctid = any(array(select ctid from told where at < now() - interval '90 days' limit %(limit)s))
returning endpoint_id

-- name: forget_dead
-- dead letter → forgotten, after 90 days
delete from dead_letter where delivery_id = any(array(
    select delivery_id from dead_letter where died_at < now() - interval '90 days' limit %(limit)s
))
returning delivery_id

-- name: forget_homeless
-- held → gone, with a record: what was held for an endpoint that is no more
with gone as (
    delete from delivery where id = any(array(
        select id from delivery where state = 'held'
        and not exists (select from endpoint where endpoint.id = endpoint_id) limit %(limit)s
    ))
    returning id, message_id, endpoint_id, channel, attempt
)
insert into delivery_record (delivery_id, message_id, endpoint_id, channel, attempt, outcome, error)
select id, message_id, endpoint_id, channel, attempt, 'cancelled', 'its endpoint is gone' from gone
returning delivery_id
