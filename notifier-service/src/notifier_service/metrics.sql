-- name: depth
-- How many deliveries there are by channel and state; counted no further than the limit, so that counting stays cheap
select channel, state, count(*) from (
    select channel, state from ((
        select channel, 'ready' as state from delivery where state = 'ready' limit %(limit)s
    ) union all (
        select channel, 'running' from delivery where state = 'running' limit %(limit)s
    ) union all (
        select channel, 'held' from delivery where state = 'held' limit %(limit)s
    )) as each
) as counted group by channel, state

-- name: oldest
-- For how long the longest due delivery of each channel has waited: the claim's index, one entry a channel
select name, coalesce((
    select extract(epoch from greatest(now() - run_at, '0'))::float8 from delivery
    where channel = name and state = 'ready' and run_at <= now() order by run_at limit 1
), 0) from unnest(%(channels)s::text[]) as name

-- name: dead_letters
select count(*) from (select from dead_letter where replayed_as is null limit %(limit)s) as waiting
