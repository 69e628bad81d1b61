-- name: register
-- A worker that begins
insert into worker (host, pid, version) values (%(host)s, %(pid)s, %(version)s) returning id

-- name: hold
-- Held for as long as the connection lives: it is gone the moment a process is killed, before its beat is missed.
select pg_try_advisory_lock({namespace}, {worker})

-- name: beat
-- A worker that lives; no row: it was taken for dead, and begins anew
update worker set seen_at = now(), draining = %(draining)s where id = %(worker)s and died_at is null returning id

-- name: renew
-- running → running: what a worker still has; → ready: what it never learnt that it has (a claim whose answer was lost)
with mine as materialized (
    select id, id = any(%(held)s::bigint[]) as is_held from delivery
    where worker = %(worker)s and state = 'running'
        and lease_until < now() + make_interval(secs => %(lease_seconds)s - %(known_after_seconds)s)
    for update skip locked
)
update delivery as d
set state = case when is_held then 'running' else 'ready' end,
    lease_until = case when is_held then now() + make_interval(secs => %(lease_seconds)s) end
from mine where d.id = mine.id
returning is_held

-- name: leave
-- A worker that ends; running → ready: whatever it has not finished
with freed as (
    update delivery set state = 'ready', lease_until = null where worker = %(worker)s and state = 'running' returning 1
), removed as (
    delete from worker where id = %(worker)s
)
select count(*) from freed
