-- What endpoints want to be told. Each statement bears being run twice.

-- name: menu
-- the languages of GitHub's trending menu, as the trending store last saw them
select languages from trending_menu

-- name: knows_time_zone
-- whether hours can be reckoned in it here
select from pg_timezone_names where name = %(time_zone)s

-- name: create
-- nothing → a subscription, and its endpoint where that is new; what is there already stays as it is
-- The version is counted up for the sake of `delete`: it leaves an endpoint that has just got another subscription.
with target as (
    insert into endpoint as known (owner, channel, address_hint, address_digest, address_encrypted, secret_encrypted,
        config, language, state, rate_per_second, burst)
    select %(owner)s, %(channel)s, %(address_hint)s, %(address_digest)s, %(address_encrypted)s, %(secret_encrypted)s,
        %(config)s::jsonb, %(language)s, %(state)s, %(rate_per_second)s, %(burst)s
    where %(most)s > (
        select count(*) from subscription join endpoint on endpoint.id = endpoint_id where owner = %(owner)s
    )
    on conflict (owner, channel, address_digest) where address_digest is not null
    do update set version = known.version + 1
    returning id, secret_encrypted
), made as (
    insert into subscription as known (endpoint_id, topic, languages, since, minimum_period_stars, repository,
        owner_login, mode, digest_hour, digest_weekday, time_zone, quiet_from, quiet_until, paused, next_digest_at)
    select id, %(topic)s, %(languages)s::text[], %(since)s, %(minimum_period_stars)s, %(repository)s,
        %(owner_login)s, %(mode)s, %(digest_hour)s, %(digest_weekday)s, %(time_zone)s, %(quiet_from)s, %(quiet_until)s,
        %(paused)s, case when %(mode)s <> 'at_once'
            then next_digest(now(), %(time_zone)s, %(digest_hour)s::smallint, %(digest_weekday)s::smallint) end
    from target
    on conflict (endpoint_id, topic, mode, languages, since, minimum_period_stars, repository, owner_login)
    do update set paused = known.paused
    -- xmax is 0 only in a row that this very statement inserted.
    returning id, xmax = 0 as is_new
)
select made.id, made.is_new, target.secret_encrypted from made, target

-- name: list
-- one owner's, the newest first
select subscription.id, topic, languages, since, minimum_period_stars, repository, owner_login, mode, digest_hour,
    digest_weekday, time_zone, to_char(quiet_from, 'HH24:MI'), to_char(quiet_until, 'HH24:MI'), subscription.paused,
    next_digest_at, subscription.created_at,
    endpoint.id, endpoint.name, channel, address_hint, language, state, disabled_reason, endpoint.paused
from subscription join endpoint on endpoint.id = endpoint_id
where owner = %(owner)s and (%(id)s::bigint is null or subscription.id = %(id)s)
    and (%(topic)s::text is null or topic = %(topic)s) and (%(channel)s::text is null or channel = %(channel)s)
order by subscription.id desc
offset %(skip)s limit %(limit)s

-- name: change
-- what is wanted → what is wanted now; a digest keeps its next time unless its hours have changed
update subscription
set languages = %(languages)s::text[], since = %(since)s, minimum_period_stars = %(minimum_period_stars)s,
    repository = %(repository)s, owner_login = %(owner_login)s, mode = %(mode)s, digest_hour = %(digest_hour)s,
    digest_weekday = %(digest_weekday)s, time_zone = %(time_zone)s, quiet_from = %(quiet_from)s,
    quiet_until = %(quiet_until)s, paused = %(paused)s,
    next_digest_at = case
        when %(mode)s = 'at_once' then null
        when (mode, digest_hour, digest_weekday, time_zone)
            is not distinct from (%(mode)s, %(digest_hour)s::smallint, %(digest_weekday)s::smallint, %(time_zone)s)
            then next_digest_at
        else next_digest(now(), %(time_zone)s, %(digest_hour)s::smallint, %(digest_weekday)s::smallint) end
from endpoint
where subscription.id = %(id)s and endpoint.id = endpoint_id and owner = %(owner)s

-- name: delete
-- there → gone, and its endpoint with the last of its subscriptions, unless the settings name it
with gone as (
    delete from subscription using endpoint
    where subscription.id = %(id)s and endpoint.id = endpoint_id and owner = %(owner)s
    returning subscription.id, endpoint_id, endpoint.version
), endpoint_gone as (
    delete from endpoint using gone
    where endpoint.id = gone.endpoint_id and endpoint.version = gone.version and endpoint.name is null
        and not exists (
            select from subscription other where other.endpoint_id = gone.endpoint_id and other.id <> gone.id
        )
)
select id from gone

-- name: target
-- where a subscription's messages go, for the challenge
select endpoint.id, channel, address_encrypted, secret_encrypted, config, language, name, state
from subscription join endpoint on endpoint.id = endpoint_id
where subscription.id = %(id)s and owner = %(owner)s

-- name: confirm
-- unconfirmed or disabled → active, and rested: a rest that is over, unlike none, has held deliveries let go
update endpoint
set state = 'active', disabled_reason = null, failures = 0, blocked_until = now(), version = version + 1
where id = %(id)s

-- name: rotate
-- its secret → another one, unless somebody else has just changed it
update endpoint set secret_encrypted = %(new)s, version = version + 1
where id = %(id)s and secret_encrypted = %(old)s
