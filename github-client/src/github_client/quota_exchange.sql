-- The statement of github_quota. It bears being run twice. Times cross the border as seconds from now: a service's clock
-- may be wrong, and monotonic ones begin anywhere.

-- name: exchange
-- what was learnt here → the table; the table → here
with clock as (
    select coalesce(%(now)s::timestamptz, now()) as now
), told as (
    select * from unnest(
        %(credential)s::text[], %(bucket)s::text[], %(quota_limit)s::integer[], %(remaining)s::integer[],
        %(reset_in)s::float8[], %(rests_in)s::float8[], %(reason)s::text[], %(strikes)s::integer[]
    ) as told (credential, bucket, quota_limit, remaining, reset_in, rests_in, reason, strikes)
), written as (
    insert into github_quota as known
        (credential, bucket, quota_limit, remaining, reset_at, rests_until, reason, strikes, told_at)
    select credential, bucket, quota_limit, remaining, now + make_interval(secs => reset_in),
        now + make_interval(secs => rests_in), reason, strikes, now
    from told, clock
    -- In one order, so that two replicas do not lock each other out.
    order by credential, bucket
    on conflict (credential, bucket) do update set
        quota_limit = case
            when excluded.quota_limit > 0
                and excluded.reset_at >= known.reset_at - make_interval(secs => %(same_window)s)
            then excluded.quota_limit else known.quota_limit end,
        -- Within a window less is believed, more is not.
        remaining = case
            when excluded.reset_at > known.reset_at + make_interval(secs => %(same_window)s) then excluded.remaining
            when excluded.reset_at < known.reset_at - make_interval(secs => %(same_window)s) then known.remaining
            else least(known.remaining, excluded.remaining) end,
        reset_at = greatest(known.reset_at, excluded.reset_at),
        rests_until = greatest(known.rests_until, excluded.rests_until),
        reason = case when excluded.rests_until > known.rests_until then excluded.reason else known.reason end,
        strikes = case when excluded.rests_until > known.rests_until then excluded.strikes else known.strikes end,
        told_at = excluded.told_at
), forgotten as (
    delete from github_quota using clock where told_at < now - interval '1 day'
)
select credential, bucket, quota_limit, remaining, extract(epoch from reset_at - now)::float8,
    extract(epoch from rests_until - now)::float8, reason, strikes
from github_quota, clock
where credential = any(%(of)s)
