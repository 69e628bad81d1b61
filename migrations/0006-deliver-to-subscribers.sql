-- depends: 0005-share-github-quota
-- From one channel to subscribers: who is told of what, one delivery for each of them, and what operators steer.

alter table message
    add column subject text check (subject <> ''),
    add column expires_at timestamptz;

comment on column message.subject is 'What it is about (repository:owner/name), lower case: a subscriber is told of one subject of one topic once. Null: told every time.';
comment on column message.expires_at is 'Not worth telling after this; null: always.';

create table fan_out (
    message_id bigint primary key,
    after_subscription_id bigint not null default 0
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

comment on table fan_out is 'Messages whose subscribers have yet to get their deliveries; a row leaves with the last of them.';
comment on column fan_out.message_id is 'Whose subscribers.';
comment on column fan_out.after_subscription_id is 'How far it has come: advanced in the transaction that makes the deliveries, so that a crash repeats none.';

create table endpoint (
    id bigint generated always as identity primary key,
    owner text not null default 'operator',
    name text unique check (name <> ''),
    channel text collate "C" not null check (channel <> ''),
    address_hint text,
    address_digest bytea,
    address_encrypted bytea,
    secret_encrypted bytea,
    config jsonb not null default '{}',
    language text not null default 'en' check (language in ('en', 'zh')),
    state text not null default 'active' check (state in ('unconfirmed', 'active', 'disabled')),
    disabled_reason text,
    paused boolean not null default false,
    rate_per_second real check (rate_per_second > 0),
    burst smallint not null default 1 check (burst > 0),
    slot_at timestamptz not null default '-infinity',
    blocked_until timestamptz,
    released_at timestamptz not null default '-infinity',
    failures smallint not null default 0,
    version integer not null default 1,
    created_at timestamptz not null default now()
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

comment on table endpoint is 'One place to deliver to: a webhook, a Slack hook, a WeChat user, an address for alerts.';
comment on column endpoint.id is 'Named by deliveries and in the idempotency key, so it is never used again.';
comment on column endpoint.owner is 'Whose it is; everything is the operator''s until users have accounts.';
comment on column endpoint.name is 'What settings and operators call it (settings:slack); null: only its id.';
comment on column endpoint.channel is 'What kind of place it is: which file delivers there.';
comment on column endpoint.address_hint is 'What may be shown of its address: of a URL the host.';
comment on column endpoint.address_digest is 'HMAC of address and config, by which who subscribes a second time finds it again: the encrypted address differs each time.';
comment on column endpoint.address_encrypted is 'Where it is, as the channel understands it, encrypted under SECRET_KEY; null where the settings hold it.';
comment on column endpoint.secret_encrypted is 'What its messages are signed with, encrypted under SECRET_KEY; null where nothing is signed.';
comment on column endpoint.config is 'What else its channel wants to know; no secrets.';
comment on column endpoint.language is 'Which language it is told in.';
comment on column endpoint.state is 'unconfirmed: has not yet shown that it wants messages, gets none. active. disabled: gets none any more.';
comment on column endpoint.disabled_reason is 'Who or what disabled it: its receiver said that it is gone, or an operator did.';
comment on column endpoint.paused is 'An operator''s stop: its deliveries are held until resumed.';
comment on column endpoint.rate_per_second is 'How many it takes a second, over all replicas; null: any number.';
comment on column endpoint.burst is 'How many at once after a rest.';
comment on column endpoint.slot_at is 'When its next slot would begin at a steady rate (GCRA''s theoretical arrival time); one cell for all replicas.';
comment on column endpoint.blocked_until is 'Left alone until then: it said so (Retry-After), or it failed time after time. Past, it says that held deliveries may be let go.';
comment on column endpoint.released_at is 'When some of its held deliveries were last let go: by one replica at a time, and no faster than it can show how it takes them.';
comment on column endpoint.failures is 'Failed tries in a row, whichever deliveries they were of: each makes the next rest longer.';
comment on column endpoint.version is 'Counts changes of what workers keep decrypted; whoever changes that counts it up.';
comment on column endpoint.created_at is 'For whoever looks.';

create unique index endpoint_address on endpoint (owner, channel, address_digest) where address_digest is not null;

create index endpoint_blocked on endpoint (blocked_until) where blocked_until is not null;
-- The few that each claim must know of.
create index endpoint_resting on endpoint (id) where paused or blocked_until is not null;

create table subscription (
    id bigint generated always as identity primary key,
    endpoint_id bigint not null references endpoint on delete cascade,
    topic text not null check (topic <> ''),
    languages text[] not null default '{""}',
    since text not null default 'daily' check (since in ('daily', 'weekly', 'monthly')),
    minimum_period_stars integer check (minimum_period_stars >= 0),
    repository text check (repository = lower(repository)),
    owner_login text check (owner_login = lower(owner_login)),
    mode text not null default 'at_once' check (mode in ('at_once', 'daily', 'weekly')),
    digest_hour smallint check (digest_hour between 0 and 23),
    digest_weekday smallint check (digest_weekday between 1 and 7),
    time_zone text not null default 'UTC',
    quiet_from time,
    quiet_until time,
    next_digest_at timestamptz,
    paused boolean not null default false,
    created_at timestamptz not null default now(),
    check ((quiet_from is null) = (quiet_until is null)),
    check ((mode = 'at_once') = (digest_hour is null and next_digest_at is null)),
    check ((mode = 'weekly') = (digest_weekday is not null)),
    -- Subscribing a second time is no second subscription. Its index finds an endpoint's, too.
    unique nulls not distinct
        (endpoint_id, topic, mode, languages, since, minimum_period_stars, repository, owner_login)
);

comment on table subscription is 'What an endpoint wants to be told of, and when.';
comment on column subscription.id is 'The order in which a message is fanned out.';
comment on column subscription.endpoint_id is 'Who is told.';
comment on column subscription.topic is 'What kind of message.';
comment on column subscription.languages is 'Only these languages'' trending pages, by slug, sorted; an empty text is the page of all languages together.';
comment on column subscription.since is 'Only this period''s trending pages.';
comment on column subscription.minimum_period_stars is 'Only repositories with at least so many stars in the period.';
comment on column subscription.repository is 'Only this one (owner/name, lower case).';
comment on column subscription.owner_login is 'Only repositories of this owner (lower case).';
comment on column subscription.mode is 'at_once, or one digest a day or week.';
comment on column subscription.digest_hour is 'When the digest comes, in time_zone.';
comment on column subscription.digest_weekday is 'When the weekly digest comes (ISO: Monday is 1), in time_zone.';
comment on column subscription.time_zone is 'IANA name: what the hours here mean.';
comment on column subscription.quiet_from is 'From then on nothing is sent, in time_zone; it may lie after quiet_until.';
comment on column subscription.quiet_until is 'What came in the quiet hours is sent then, in time_zone.';
comment on column subscription.next_digest_at is 'When the next digest is due; advanced in the statement that enqueues it.';
comment on column subscription.paused is 'Gets no new deliveries until resumed; what happens meanwhile is not told later.';
comment on column subscription.created_at is 'For whoever looks.';

create index subscription_topic on subscription (topic, id);
create index subscription_next_digest on subscription (next_digest_at) where next_digest_at is not null;

create function after_quiet_hours(moment timestamptz, time_zone text, quiet_from time, quiet_until time)
returns timestamptz language sql stable as $$
    select greatest(moment, case
        when quiet_from < quiet_until and here::time >= quiet_from and here::time < quiet_until
            or quiet_from > quiet_until and here::time < quiet_until
            then (here::date + quiet_until) at time zone time_zone
        when quiet_from > quiet_until and here::time >= quiet_from
            then (here::date + 1 + quiet_until) at time zone time_zone
    end)
    from (select moment at time zone time_zone as here) local
$$;

comment on function after_quiet_hours is 'The first moment from this one on that is not in the quiet hours, by the clock on the wall there; they may begin before midnight and end after it.';

create function next_digest(after timestamptz, time_zone text, digest_hour smallint, digest_weekday smallint)
returns timestamptz language sql stable as $$
    select case
        when today at time zone time_zone > after then today at time zone time_zone
        else (today + make_interval(days => case when digest_weekday is null then 1 else 7 end)) at time zone time_zone
    end
    from (
        select date_trunc('day', here) + make_interval(
            days => coalesce((digest_weekday - extract(isodow from here)::integer + 7) % 7, 0), hours => digest_hour
        ) as today
        from (select after at time zone time_zone as here) local
    ) soonest
$$;

comment on function next_digest is 'When that hour (of that ISO weekday, if any) comes next, by the clock on the wall there: once even where that clock is put forward or back over it.';

create table told (
    endpoint_id bigint not null,
    topic text not null,
    subject text not null,
    at timestamptz not null default now(),
    primary key (endpoint_id, topic, subject)
);

comment on table told is 'What an endpoint has been told of: nobody gets the same thing twice, whatever pages it is on and however they are subscribed.';
comment on column told.endpoint_id is 'Who.';
comment on column told.topic is 'As the message''s.';
comment on column told.subject is 'As the message''s.';
comment on column told.at is 'When; after 90 days it may be told again.';

create index told_at on told using brin (at);

create table channel (
    name text collate "C" primary key,
    paused boolean not null default false
);

comment on table channel is 'What an operator has set for a channel as a whole; one without a row works as it is.';
comment on column channel.name is 'As endpoint.channel.';
comment on column channel.paused is 'Nothing of it is claimed until resumed.';

create table worker (
    id integer generated always as identity primary key,
    host text not null,
    pid integer not null,
    version text not null,
    started_at timestamptz not null default now(),
    seen_at timestamptz not null default now(),
    draining boolean not null default false,
    died_at timestamptz
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

comment on table worker is 'Processes that deliver; one beat a process tells that all it holds is in good hands.';
comment on column worker.id is 'Who holds a delivery.';
comment on column worker.host is 'Where to look for its log.';
comment on column worker.pid is 'Which process there.';
comment on column worker.version is 'What it runs, while a new version is rolled out.';
comment on column worker.started_at is 'For whoever looks.';
comment on column worker.seen_at is 'Its last beat; when that is too long ago its deliveries are taken from it.';
comment on column worker.draining is 'It is stopping and claims no more.';
comment on column worker.died_at is 'When it was taken for dead and its deliveries from it; should it yet live, it must begin anew. Kept for a minute.';

create table schedule (
    name text primary key check (name <> ''),
    cron text not null,
    time_zone text not null default 'UTC',
    topic text not null,
    body jsonb not null default '{}',
    next_at timestamptz not null,
    paused boolean not null default false
);

comment on table schedule is 'Messages that are enqueued again and again.';
comment on column schedule.name is 'What operators call it; part of each message''s deduplication key.';
comment on column schedule.cron is 'When, as five fields of cron.';
comment on column schedule.time_zone is 'IANA name: what cron''s hours mean.';
comment on column schedule.topic is 'The message''s.';
comment on column schedule.body is 'The message''s.';
comment on column schedule.next_at is 'The next tick; advanced in the statement that enqueues it, so that two schedulers fire once.';
comment on column schedule.paused is 'Does not fire until resumed; missed ticks are then made up for by one.';

-- What was queued before goes to the Slack webhook that the settings name, as all that comes later.
insert into endpoint (name, channel, rate_per_second, burst) values ('settings:slack', 'slack', 1, 3);
insert into subscription (endpoint_id, topic) select id, 'alert' from endpoint where name = 'settings:slack';

alter table delivery rename to old_delivery;
alter index delivery_pkey rename to old_delivery_pkey;
alter index delivery_ready rename to old_delivery_ready;
alter index delivery_running rename to old_delivery_running;

-- Narrow and short: the claim rewrites its rows, and finished ones leave, so that neither content nor history slows it.
create table delivery (
    id bigint generated by default as identity primary key,
    message_id bigint not null,
    endpoint_id bigint not null,
    run_at timestamptz not null default now(),
    created_at timestamptz not null default now(),
    lease_until timestamptz,
    worker integer,
    attempt integer not null default 0,
    failures smallint not null default 0,
    has_slot boolean not null default false,
    state text collate "C" not null default 'ready' check (state in ('ready', 'running', 'held')),
    channel text collate "C" not null,
    last_error text,
    check (state <> 'running' or lease_until is not null and worker is not null)
) with (
    fillfactor = 80,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_insert_threshold = -1,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 20000
);

comment on table delivery is 'One message on its way to one endpoint; a finished one leaves for delivery_record.';
comment on column delivery.id is 'What a worker and its records name this delivery by.';
comment on column delivery.message_id is 'The content. No foreign key: its check would cost each row, and messages outlive their deliveries.';
comment on column delivery.endpoint_id is 'Where to. No foreign key, for the same reason; a row whose endpoint is gone is dropped when it is claimed.';
comment on column delivery.run_at is 'Not before this: now for a new one, later after a failure, its slot where the endpoint has a rate.';
comment on column delivery.created_at is 'For how long it has been on its way.';
comment on column delivery.lease_until is 'A worker that has neither finished nor renewed by then is taken for stuck, and the row is ready again.';
comment on column delivery.worker is 'Who has it (worker.id), or had it last: what runs at one that is no longer seen is ready again.';
comment on column delivery.attempt is 'How often it was claimed. Never counted down: it is the fence that keeps a late worker from finishing a newer try.';
comment on column delivery.failures is 'How many tries count against it. What the receiver put off (Retry-After) and what was handed back unsent do not.';
comment on column delivery.has_slot is 'run_at is a slot of the endpoint''s rate that is reserved for it.';
comment on column delivery.state is 'ready: waits for run_at. running: a worker has it until lease_until. held: its endpoint takes nothing at present.';
comment on column delivery.channel is 'As its endpoint''s; first in the claim''s index, so that a channel that is slow holds up only itself.';
comment on column delivery.last_error is 'Why it is still here, for whoever looks.';

-- The claim reads this index and nothing else; rows that are running or held are not in it.
create index delivery_ready on delivery (channel, run_at, id) where state = 'ready';
-- Rows of a worker, and (being few) expired leases. lease_until is not in it, so that renewing one stays cheap.
create index delivery_running on delivery (worker) where state = 'running';
create index delivery_held on delivery (endpoint_id, id) where state = 'held';

insert into delivery (id, message_id, endpoint_id, run_at, attempt, failures, channel, last_error)
select d.id, message_id, e.id, run_at, attempt, least(attempt, 11), d.channel, last_error
from old_delivery d join endpoint e on e.name = 'settings:slack'
order by d.id;
do $$ begin perform setval(pg_get_serial_sequence('delivery', 'id'), nextval(pg_get_serial_sequence('old_delivery', 'id')), false); end $$;
drop table old_delivery;
alter table delivery alter column id set generated always;

alter table delivery_record rename to old_delivery_record;
alter index delivery_record_at rename to old_delivery_record_at;
drop index delivery_record_message_id;

create table delivery_record (
    at timestamptz not null default now(),
    delivery_id bigint not null,
    message_id bigint not null,
    endpoint_id bigint,
    duration_ms integer,
    worker integer,
    attempt integer not null,
    http_status smallint,
    outcome text collate "C" not null
        check (outcome in ('delivered', 'skipped', 'failed', 'limited', 'lost', 'dead', 'expired', 'cancelled')),
    channel text collate "C" not null,
    provider_id text,
    error text
) partition by range (at);

comment on table delivery_record is 'One row for each try and how it ended; written in the statement that moves the delivery, never changed. A partition a day.';
comment on column delivery_record.at is 'When the try ended; decides how long the record is kept.';
comment on column delivery_record.delivery_id is 'Binds the tries of one delivery together.';
comment on column delivery_record.message_id is 'Leads to the content when the delivery itself is gone.';
comment on column delivery_record.endpoint_id is 'Where to; null for what was sent before there were endpoints.';
comment on column delivery_record.duration_ms is 'How long the receiver took; null when nothing was sent or the worker vanished.';
comment on column delivery_record.worker is 'Who tried, to find its log.';
comment on column delivery_record.attempt is 'Which claim it was.';
comment on column delivery_record.http_status is 'What the receiver answered; null when it did not.';
comment on column delivery_record.outcome is 'delivered, skipped (channel not set up), dead (given up), expired and cancelled are final; failed, limited (the receiver put it off) and lost (its worker vanished) are tried again.';
comment on column delivery_record.channel is 'Where to, for counting by channel without the endpoint.';
comment on column delivery_record.provider_id is 'What the receiver calls the message; null where it calls it nothing.';
comment on column delivery_record.error is 'What went wrong, redacted; null when nothing did.';

create index delivery_record_delivery_id on delivery_record (delivery_id);
-- Empty as long as partitions are made ahead of time; it is here so that no record is ever refused.
create table delivery_record_default partition of delivery_record default;

create function make_delivery_record_partitions(days integer) returns void language plpgsql as $$
declare
    day date;
begin
    -- One at a time: replicas that start together would make the same ones.
    perform pg_advisory_xact_lock(hashtext('make_delivery_record_partitions'));
    for day in select (now() at time zone 'UTC')::date + n from generate_series(0, days) n loop
        if to_regclass(format('delivery_record_%s', to_char(day, 'YYYYMMDD'))) is null then
            -- What was recorded before there was a partition lies in the default one, and would be in its way.
            lock table delivery_record_default in access exclusive mode;
            execute format(
                'create table %1$I (like delivery_record including all);
                with moved as (delete from delivery_record_default where at >= %2$L and at < %3$L returning *)
                insert into %1$I select * from moved;
                alter table delivery_record attach partition %1$I for values from (%2$L) to (%3$L)',
                format('delivery_record_%s', to_char(day, 'YYYYMMDD')),
                day::text || ' 00:00:00+00', (day + 1)::text || ' 00:00:00+00'
            );
        end if;
    end loop;
end
$$;

comment on function make_delivery_record_partitions is 'Makes the partitions of today (UTC) and of so many days after it, where they are missing, with what the default one has of those days.';

insert into delivery_record (at, delivery_id, message_id, channel, attempt, outcome, http_status, duration_ms, error)
select at, delivery_id, message_id, channel, attempt, outcome, http_status, duration_ms, error
from old_delivery_record where at < date_trunc('day', now() at time zone 'UTC') at time zone 'UTC';
do $$ begin perform make_delivery_record_partitions(7); end $$;
insert into delivery_record (at, delivery_id, message_id, channel, attempt, outcome, http_status, duration_ms, error)
select at, delivery_id, message_id, channel, attempt, outcome, http_status, duration_ms, error
from old_delivery_record where at >= date_trunc('day', now() at time zone 'UTC') at time zone 'UTC';
drop table old_delivery_record;

create table dead_letter (
    delivery_id bigint primary key,
    message_id bigint not null,
    endpoint_id bigint not null,
    channel text collate "C" not null,
    attempt integer not null,
    created_at timestamptz not null,
    reason text not null,
    died_at timestamptz not null default now(),
    replayed_as bigint
);

comment on table dead_letter is 'Deliveries that were given up, until an operator replays or purges them.';
comment on column dead_letter.delivery_id is 'Its id while it lived; its records bear it.';
comment on column dead_letter.message_id is 'The content, kept for as long as this row is.';
comment on column dead_letter.endpoint_id is 'Where to.';
comment on column dead_letter.channel is 'As the delivery''s.';
comment on column dead_letter.attempt is 'How often it was claimed; a replay counts on from here.';
comment on column dead_letter.created_at is 'As the delivery''s.';
comment on column dead_letter.reason is 'Why it was given up, redacted.';
comment on column dead_letter.died_at is 'When.';
comment on column dead_letter.replayed_as is 'The delivery that a replay made of it, with the same idempotency key; null: not replayed.';

create index dead_letter_waiting on dead_letter (died_at) where replayed_as is null;
create index dead_letter_message_id on dead_letter (message_id);

drop function enqueue_notification(text, jsonb, text, integer);

-- Called inside the transaction that stores the fact it tells of: either both happen or neither.
create function enqueue_notification(
    topic text, body jsonb, dedup_key text default null, occurrences integer default 1,
    subject text default null, expires_at timestamptz default null
) returns bigint language plpgsql as $$
#variable_conflict use_column
declare
    stored_id bigint;
    is_new boolean;
begin
    insert into message (topic, body, dedup_key, occurrences, subject, expires_at)
    values (
        enqueue_notification.topic,
        enqueue_notification.body,
        enqueue_notification.dedup_key,
        enqueue_notification.occurrences,
        lower(enqueue_notification.subject),
        enqueue_notification.expires_at
    )
    on conflict (dedup_key) where dedup_key is not null
    do update set occurrences = message.occurrences + excluded.occurrences
    -- xmax is 0 only in a row that this very statement inserted.
    returning id, xmax = 0 into stored_id, is_new;
    if is_new then
        insert into fan_out (message_id) values (stored_id);
        -- Once a transaction, however many are enqueued in it: equal notifications are merged at commit.
        perform pg_notify('delivery', '');
    end if;
    return stored_id;
end
$$;

comment on function enqueue_notification is 'The way into the queue: stores a message for the subscribers of its topic. A repeated dedup_key adds its occurrences to the first message instead. Returns the message''s id.';

create function enqueue_notifications(
    topic text, bodies jsonb[], dedup_keys text[] default null, subjects text[] default null,
    expires_at timestamptz default null
) returns setof bigint language sql as $$
    with stored as (
        insert into message (topic, body, dedup_key, subject, expires_at)
        select enqueue_notifications.topic, given.body, given.dedup_key, lower(given.subject), enqueue_notifications.expires_at
        from unnest(bodies, dedup_keys, subjects) as given(body, dedup_key, subject)
        on conflict (dedup_key) where dedup_key is not null do nothing
        returning id
    ), waiting as (
        insert into fan_out (message_id) select id from stored returning message_id
    ), told as materialized (
        select pg_notify('delivery', '') where exists (select from waiting)
    )
    select message_id from waiting where (select count(*) from told) >= 0
$$;

comment on function enqueue_notifications is 'enqueue_notification for many at once: arrays of equal length, or null. Returns the ids of the new messages; what is known by its dedup_key is left as it is.';
