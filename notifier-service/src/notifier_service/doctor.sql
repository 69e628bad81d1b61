-- What the doctor looks at; nothing here changes anything.

-- name: database
-- which Postgres, and what time it is there
select current_setting('server_version_num')::integer, current_setting('server_version'), extract(epoch from clock_timestamp())::float8

-- name: dead_tuples
-- rows that vacuum has yet to remove, and when it last did
select n_dead_tup, extract(epoch from now() - greatest(last_vacuum, last_autovacuum))::float8
from pg_stat_user_tables where relid = 'delivery'::regclass

-- name: oldest_snapshot
-- who keeps vacuum from removing anything, and for how long
select extract(epoch from now() - coalesce(xact_start, query_start))::float8,
    format('process %%s (%%s, %%s)', pid, nullif(application_name, ''), state)
from pg_stat_activity
where backend_xmin is not null and pid <> pg_backend_pid() and datname = current_database()
order by 1 desc nulls last
limit 1

-- name: ready_index
-- how big the claim's index is, beside the rows that there are
select pg_relation_size('delivery_ready'), (select count(*) from delivery)

-- name: workers
-- how many deliver now
select count(*) filter (where seen_at > now() - interval '10 s' and not draining), count(*)
from worker where died_at is null

-- name: oldest_due
-- how long the longest due delivery of a channel that is not paused waits
select extract(epoch from now() - min(run_at))::float8
from delivery where state = 'ready' and run_at <= now()
    and not exists (select from channel where name = delivery.channel and paused)

-- name: dead_letters
-- what was given up and not yet looked after
select count(*), extract(epoch from now() - max(died_at))::float8 from dead_letter where replayed_as is null

-- name: partitions
-- the days (UTC) from today on that have no partition, and whether records fell beside them
select array(
    select to_char(day, 'YYYY-MM-DD') from generate_series(
        (now() at time zone 'UTC')::date, (now() at time zone 'UTC')::date + 1, interval '1 day'
    ) day
    where to_regclass('delivery_record_' || to_char(day, 'YYYYMMDD')) is null
), exists (select from delivery_record_default)

-- name: templates
-- the WeChat templates that endpoints name
select distinct config ->> 'template_id' from endpoint where channel = 'wechat' and state <> 'disabled'

-- name: time_zones
-- whose hours are read as UTC, as Postgres knows their time zone no longer
select id, time_zone from subscription where known_time_zone(time_zone) <> time_zone order by id limit 6

-- name: endpoints
-- what should be readable with SECRET_KEY
select id, address_encrypted, secret_encrypted from endpoint
where address_encrypted is not null or secret_encrypted is not null
order by id desc
limit 1000
