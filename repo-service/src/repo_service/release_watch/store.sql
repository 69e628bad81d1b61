-- The statements of the release watch. Each bears being run twice: after a lost connection nobody knows whether it took
-- effect. A look is fenced by the next_look_at that its claim set: who comes too late changes and tells nothing.

-- name: follow
-- subscribed to → watched; no longer → gone
-- A disabled endpoint and a paused subscription want nothing: what is published meanwhile is old when they come back.
with wanted as materialized (
    select subscription.repository, count(distinct endpoint_id) as subscribers
    from subscription join endpoint on endpoint.id = subscription.endpoint_id
    where topic = 'release.published' and subscription.repository is not null
        and not subscription.paused and endpoint.state = 'active'
    group by subscription.repository
), unwanted as (
    delete from watched_repository where repository not in (select repository from wanted)
)
insert into watched_repository as known (repository, subscribers)
select repository, subscribers from wanted
order by repository
on conflict (repository) do update set subscribers = excluded.subscribers
where known.subscribers <> excluded.subscribers

-- name: claim
-- due → being looked at, until next_look_at at the longest
-- Each subscriber counts as a minute of waiting: what many wait for comes first, and nothing waits for ever.
update watched_repository set next_look_at = now() + make_interval(secs => %(lease_seconds)s)
where repository = any(array(
    select repository from watched_repository
    where next_look_at <= now()
    order by next_look_at - make_interval(mins => subscribers)
    limit 1
    for update skip locked
))
returning repository, next_look_at, subscribers, watched_since, etag, credential, known_release_ids, failures

-- name: note_unchanged
-- looked at → looked at again later
update watched_repository
set next_look_at = now() + make_interval(secs => %(interval_seconds)s), looked_at = now(),
    failures = 0, last_error = null
where repository = %(repository)s and next_look_at = %(next_look_at)s

-- name: note_releases
-- looked at → looked at again later, and what is new is told: both or neither
with noted as (
    update watched_repository
    set next_look_at = now() + make_interval(secs => %(interval_seconds)s), looked_at = now(),
        failures = 0, last_error = null,
        etag = %(etag)s, credential = %(credential)s, known_release_ids = %(known_release_ids)s::bigint[]
    where repository = %(repository)s and next_look_at = %(next_look_at)s
    returning repository
), told as materialized (
    select release.subject, enqueue_notification(
        'release.published', release.body, dedup_key => release.subject, subject => release.subject
    )
    from noted, unnest(%(subjects)s::text[], %(bodies)s::jsonb[]) as release (subject, body)
)
select count(*) from told

-- name: put_off
-- looked at in vain → looked at again later; what is known stays
update watched_repository
set next_look_at = now() + make_interval(secs => %(retry_seconds)s), failures = %(failures)s, last_error = %(error)s
where repository = %(repository)s and next_look_at = %(next_look_at)s
