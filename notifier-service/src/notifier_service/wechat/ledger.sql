-- The ledger of consent. Each statement bears being run twice: after a lost connection nobody knows if it took effect.
-- How a delivery's end settles its reservation is in the migration (settle_wechat_reservation).

-- name: reserve
-- available → reserved, once for a delivery however often it is claimed; no row: nothing is available
with known as (
    update wechat_reservation
    set attempt = %(attempt)s, verdict = case verdict when 'sent' then 'sent' else 'unknown' end
    where delivery_id = %(delivery_id)s and attempt <= %(attempt)s
    returning verdict, msgid
), taken as (
    update wechat_consent set available = available - 1, changed_at = now()
    where reader = %(reader)s and template_id = %(template_id)s and available > 0
        and not exists (select from wechat_reservation where delivery_id = %(delivery_id)s)
    returning reader, template_id
), reserved as (
    insert into wechat_reservation (delivery_id, attempt, reader, template_id)
    select %(delivery_id)s, %(attempt)s, reader, template_id from taken
    returning verdict, msgid
)
select * from known union all select * from reserved

-- name: note
-- What WeChat said to this attempt, kept at once: should we die before the delivery's end is committed, it is not sent again
update wechat_reservation set verdict = %(verdict)s, msgid = %(msgid)s
where delivery_id = %(delivery_id)s and attempt = %(attempt)s and not is_settled

-- name: take_push
-- A push, once: what is accepted is available, what is withdrawn is gone, what was not sent is given back
with first as (
    insert into wechat_push (digest) values (%(digest)s) on conflict do nothing returning digest
), change as (
    select * from unnest(
        %(readers)s::bytea[], %(template_ids)s::text[], %(kinds)s::text[], %(msgids)s::text[], %(used_up)s::boolean[]
    ) as change(reader, template_id, kind, msgid, is_used_up)
    where exists (select from first)
), unsent as (
    delete from wechat_reservation r using change
    where change.kind = 'not_sent' and r.msgid = change.msgid and r.reader = change.reader and r.is_settled
    returning r.reader, r.template_id, change.is_used_up
), sent as (
    delete from wechat_reservation r using change
    where change.kind = 'sent' and r.msgid = change.msgid and r.reader = change.reader and r.is_settled
), sums as (
    select reader, template_id, sum(gained)::integer as gained, bool_or(is_gone) as is_gone from (
        select reader, template_id, (kind = 'accepted')::integer as gained, kind = 'withdrawn' as is_gone
        from change where kind in ('accepted', 'withdrawn')
        union all
        select reader, template_id, (not is_used_up)::integer, is_used_up from unsent
    ) as changes group by reader, template_id order by reader, template_id
)
insert into wechat_consent as c (reader, template_id, available)
select reader, template_id, case when is_gone then 0 else gained end from sums
on conflict (reader, template_id) do update set
    available = case when (select is_gone from sums s where (s.reader, s.template_id) = (c.reader, c.template_id))
        then 0 else least(c.available + excluded.available, 1000) end,
    changed_at = now()

-- name: available
-- How many messages a user still takes
select available from wechat_consent where reader = %(reader)s and template_id = %(template_id)s

-- name: forget_reservations
-- settled → forgotten: WeChat has reported long since
delete from wechat_reservation where delivery_id = any(array(
    select delivery_id from wechat_reservation where is_settled and at < now() - interval '7 days' limit %(limit)s
))

-- name: forget_pushes
-- taken → forgotten: nothing is repeated after a day
delete from wechat_push where ctid = any(array(
    select ctid from wechat_push where at < now() - interval '1 day' limit %(limit)s
))
