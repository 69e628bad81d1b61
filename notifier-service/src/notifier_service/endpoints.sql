-- name: endpoints
-- What workers keep of endpoints
select id, version, channel, address_encrypted, secret_encrypted, config, language, name from endpoint
where id = any(%(ids)s::bigint[])
