-- The access token that all replicas share.

-- name: read
-- The token as it is, and for how many seconds it may be used
select token_encrypted, generation, extract(epoch from greatest(expires_at, 'epoch') - now())::float8 from wechat_token
where app_id = %(app_id)s

-- name: lease
-- nobody fetches → this replica does: if the token is still the one that it knows of; whether it may be forced
insert into wechat_token as t (app_id, lease_until) values (%(app_id)s, now() + make_interval(secs => %(seconds)s))
on conflict (app_id) do update set
    lease_until = excluded.lease_until,
    forced_at = case when %(force)s and t.forced_at < now() - make_interval(secs => %(force_interval)s)
        then now() else t.forced_at end
where t.generation = %(generation)s and t.lease_until < now()
returning %(force)s and forced_at = now()

-- name: store
-- fetched → everybody's
update wechat_token set
    token_encrypted = %(token)s, generation = generation + 1, lease_until = '-infinity',
    expires_at = now() + make_interval(secs => %(seconds)s)
where app_id = %(app_id)s and generation = %(generation)s

-- name: release
-- fetching failed → somebody else may try
update wechat_token set lease_until = '-infinity' where app_id = %(app_id)s and generation = %(generation)s
