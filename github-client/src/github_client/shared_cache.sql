-- The statements of github_answer. Each bears being run twice. `now` is null but in simulations: the database's own
-- time then decides, and what crosses the border is an age. Leases are about real processes, so always about real time.

-- name: prepare_read
-- the copy, if there is one, its age, and whether somebody is asking GitHub for it now
prepare read_github_answer (text, timestamptz) as
select status, body, etag, credential, next_page, last_known_page, confirmed_at,
    extract(epoch from coalesce($2, now()) - confirmed_at)::float8, leased_until > clock_timestamp()
from github_answer
where key = $1

-- name: read
execute read_github_answer (%(key)s, %(now)s)

-- name: claim
-- missing or older than its lifetime, and nobody asks → this replica asks
-- In one row with the copy, so that who finds the lease free has also seen what its last holder left.
insert into github_answer as kept (key, leased_until)
values (%(key)s, clock_timestamp() + make_interval(secs => %(lease_seconds)s))
on conflict (key) do update set leased_until = excluded.leased_until
where kept.leased_until <= clock_timestamp()
    and (kept.confirmed_at is null
        or kept.confirmed_at <= coalesce(%(now)s, now()) - make_interval(secs => case
            when kept.status = 200 then %(fresh_seconds)s else %(missing_fresh_seconds)s end))
returning status, body, etag, credential, next_page, last_known_page, confirmed_at,
    extract(epoch from coalesce(%(now)s, now()) - confirmed_at)::float8, true

-- name: keep
-- asked → answered; a slow leader's answer does not replace a newer one
insert into github_answer as kept
    (key, status, body, etag, credential, next_page, last_known_page, confirmed_at)
values (%(key)s, %(status)s, %(body)s, %(etag)s, %(credential)s, %(next_page)s, %(last_known_page)s,
    coalesce(%(now)s, now()) - make_interval(secs => %(age_seconds)s))
on conflict (key) do update set
    status = excluded.status, body = excluded.body, etag = excluded.etag, credential = excluded.credential,
    next_page = excluded.next_page, last_known_page = excluded.last_known_page,
    confirmed_at = excluded.confirmed_at, leased_until = '-infinity'
where kept.confirmed_at is null or kept.confirmed_at <= excluded.confirmed_at

-- name: confirm
-- asked → unchanged
update github_answer
set confirmed_at = coalesce(%(now)s, now()) - make_interval(secs => %(age_seconds)s), leased_until = '-infinity'
where key = %(key)s and etag = %(etag)s

-- name: release
-- asked → no answer: the next one may ask
update github_answer set leased_until = '-infinity' where key = %(key)s

-- name: forget_old
-- not confirmed for a week, or beyond the bound → gone; those in use are confirmed more often
delete from github_answer
where ctid = any(array(
    select ctid from github_answer
    where confirmed_at < now() - make_interval(days => %(days)s)
        or (confirmed_at is null and leased_until < now() - interval '1 hour')
        or confirmed_at < (
            select confirmed_at from github_answer where confirmed_at is not null
            order by confirmed_at desc offset %(most)s limit 1)
    order by confirmed_at
    limit %(batch)s))
