-- name: due
-- What is to be enqueued now, and the database's time: the only clock that counts
select name, cron, time_zone, next_at, now() from schedule where next_at <= now() and not paused order by next_at

-- name: tick
-- schedule: moved to its next time, with the message of this one; whoever comes second finds it moved
with ticked as (
    update schedule set next_at = %(next_at)s where name = %(name)s and next_at = %(tick)s and not paused
    returning topic, body
)
select enqueue_notification(topic, body, concat('schedule:', %(name)s::text, ':', %(tick)s::text)) from ticked

-- name: pause_unreadable
-- schedule: paused, as its cron or time zone cannot be read; until somebody mends and resumes it
update schedule set paused = true where name = %(name)s and next_at = %(tick)s and not paused returning name
