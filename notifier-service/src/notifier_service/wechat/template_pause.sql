-- name: pause
-- told → held: everybody who is told with a template, and operators are told so; no row: nobody was told with it any more
with named as materialized (
    select id from endpoint
    where channel = 'wechat' and config ->> 'template_id' = %(template_id)s and not paused
    order by id for update
), paused as (
    update endpoint set paused = true where id = any(array(select id from named)) returning id
)
select enqueue_notification(%(topic)s, %(alert)s::jsonb, %(dedup_key)s) from paused having count(*) > 0
