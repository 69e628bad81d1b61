-- depends: 0006-deliver-to-subscribers
-- WeChat: one access token for all replicas, and a ledger of what users consented to.

create table wechat_token (
    app_id text primary key,
    token_encrypted bytea,
    generation integer not null default 0,
    expires_at timestamptz not null default '-infinity',
    lease_until timestamptz not null default '-infinity',
    forced_at timestamptz not null default '-infinity'
);

comment on table wechat_token is 'The access token of a mini-program, fetched by one replica for all: fetching anew may withdraw the token that the others have.';
comment on column wechat_token.app_id is 'Whose.';
comment on column wechat_token.token_encrypted is 'The token, encrypted under SECRET_KEY; null before the first.';
comment on column wechat_token.generation is 'Counts tokens: who was refused names the one it used, so that a hundred refusals of one token fetch one new token.';
comment on column wechat_token.expires_at is 'Not used after this; a little before WeChat''s own time.';
comment on column wechat_token.lease_until is 'Somebody is fetching until then; the others wait for what it brings.';
comment on column wechat_token.forced_at is 'When WeChat was last made to give another token than it would have; it allows that 20 times a day.';

create table wechat_consent (
    reader bytea not null,
    template_id text not null,
    available integer not null check (available >= 0),
    changed_at timestamptz not null default now(),
    primary key (reader, template_id)
);

comment on table wechat_consent is 'How many messages a user still takes: in WeChat one acceptance is one message.';
comment on column wechat_consent.reader is 'HMAC of the openid under SECRET_KEY: found again by who knows the openid, of no use to anybody else.';
comment on column wechat_consent.template_id is 'Acceptances are for one template each.';
comment on column wechat_consent.available is 'Accepted, and neither reserved nor spent.';
comment on column wechat_consent.changed_at is 'For whoever looks.';

create table wechat_reservation (
    delivery_id bigint primary key,
    attempt integer not null,
    reader bytea not null,
    template_id text not null,
    verdict text not null default 'unknown' check (verdict in ('unknown', 'sent', 'not_sent', 'used_up')),
    msgid text,
    is_settled boolean not null default false,
    at timestamptz not null default now()
);

comment on table wechat_reservation is 'An acceptance that one delivery has taken: however often it is tried, it spends no second one.';
comment on column wechat_reservation.delivery_id is 'Which delivery; kept for a week after its end, for WeChat''s report.';
comment on column wechat_reservation.attempt is 'The latest claim: what an older one heard from WeChat is not written over it.';
comment on column wechat_reservation.reader is 'As wechat_consent.reader.';
comment on column wechat_reservation.template_id is 'As wechat_consent.template_id.';
comment on column wechat_reservation.verdict is 'What WeChat said: sent, not_sent, used_up; unknown while nothing was heard, as after a time-out.';
comment on column wechat_reservation.msgid is 'WeChat''s name of the message: its later report bears it.';
comment on column wechat_reservation.is_settled is 'The delivery has ended and the acceptance is spent.';
comment on column wechat_reservation.at is 'When it was reserved, then when it was settled; decides how long it is kept.';

create index wechat_reservation_msgid on wechat_reservation (msgid) where msgid is not null;
create index wechat_reservation_settled on wechat_reservation (at) where is_settled;

create table wechat_push (
    digest bytea primary key,
    at timestamptz not null default now()
);

comment on table wechat_push is 'Pushes that were taken: WeChat repeats one whose answer it did not get.';
comment on column wechat_push.digest is 'SHA-256 of the message, without what differs between repetitions (signature, nonce, encryption).';
comment on column wechat_push.at is 'When; after a day nothing is repeated any more.';

create index wechat_push_at on wechat_push using brin (at);

-- Whatever ends a delivery writes its record (completion, expiry, cancellation, rescue): so the reservation is settled
-- in that very transaction, and no statement of the queue has to know of WeChat.
create function settle_wechat_reservation() returns trigger language plpgsql as $$
declare
    settled wechat_reservation;
begin
    if new.outcome in ('failed', 'limited', 'lost') then
        return null; -- it is tried again, with what it has reserved
    end if;
    if new.outcome = 'delivered' then
        update wechat_reservation set is_settled = true, verdict = 'sent', msgid = coalesce(new.provider_id, msgid), at = now()
        where delivery_id = new.delivery_id;
        return null;
    end if;
    delete from wechat_reservation where delivery_id = new.delivery_id returning * into settled;
    if settled.verdict = 'not_sent' then
        update wechat_consent set available = available + 1, changed_at = now()
        where reader = settled.reader and template_id = settled.template_id;
    elsif settled.verdict = 'used_up' then
        update wechat_consent set available = 0, changed_at = now()
        where reader = settled.reader and template_id = settled.template_id;
    end if;
    return null; -- unknown: it may have arrived, so it counts as spent
end
$$;

comment on function settle_wechat_reservation is 'What becomes of an acceptance when its delivery ends: spent, given back, or all of the user''s gone.';

create trigger settle_wechat_reservation after insert on delivery_record
for each row when (new.channel = 'wechat') execute function settle_wechat_reservation();
