-- name: make
-- As the settings of the replica that started last name them: new and disabled ones active, others disabled
with named as (
    select * from jsonb_to_recordset(%(rows)s::jsonb)
        as named(name text, channel text, rate_per_second real, burst smallint)
), made as (
    insert into endpoint as e (name, channel, rate_per_second, burst)
    select name, channel, rate_per_second, burst from named order by name
    on conflict (name) do update set state = 'active', disabled_reason = null, version = e.version + 1
        where e.state <> 'active'
    returning id
), dropped as (
    update endpoint set state = 'disabled', disabled_reason = 'the settings no longer name it', version = version + 1
    where name like 'settings:%%' and state <> 'disabled' and name not in (select name from named)
)
insert into subscription (endpoint_id, topic)
select id, 'alert' from made
where not exists (select from subscription s where s.endpoint_id = made.id and s.topic = 'alert')
