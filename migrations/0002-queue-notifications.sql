-- depends: 0001-store-accounts
-- The notification queue: content once in message, work to do in delivery, what became of it in delivery_record.

create table message (
    id bigint generated always as identity primary key,
    topic text not null check (topic <> ''),
    dedup_key text,
    body jsonb not null,
    occurrences integer not null default 1 check (occurrences > 0),
    created_at timestamptz not null default now()
);

comment on table message is 'What is worth telling, stored once however many deliveries and tries it takes.';
comment on column message.id is 'Stays the same over every try, so that a receiver can recognise a repetition.';
comment on column message.topic is 'What kind of thing it tells; decides who gets it and how it is worded.';
comment on column message.dedup_key is 'Two messages with one key are one message for as long as the first is kept; null: never the same.';
comment on column message.body is 'The facts, redacted; the wording is the channel''s.';
comment on column message.occurrences is 'How often it happened: a repetition counts here instead of becoming a second message.';
comment on column message.created_at is 'When it was first enqueued: decides how long it is kept.';

create unique index message_dedup_key on message (dedup_key) where dedup_key is not null;
create index message_created_at on message using brin (created_at);

-- Narrow and short: the claim rewrites its rows, and finished ones leave, so that neither content nor history slows it.
create table delivery (
    id bigint generated always as identity primary key,
    message_id bigint not null,
    channel text not null,
    state text not null default 'ready' check (state in ('ready', 'running')),
    run_at timestamptz not null default now(),
    attempt smallint not null default 0,
    lease_until timestamptz,
    worker text,
    last_error text,
    check ((state = 'running') = (lease_until is not null and worker is not null))
) with (
    fillfactor = 80,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 20000
);

comment on table delivery is 'One message on one channel that is yet to be delivered; a finished one leaves for delivery_record.';
comment on column delivery.id is 'What a worker and its records name this delivery by.';
comment on column delivery.message_id is 'The content. No foreign key: its check would cost each enqueue, and messages outlive their deliveries.';
comment on column delivery.channel is 'Where to; first in the claim''s index, so that a channel that is slow holds up only itself.';
comment on column delivery.state is 'ready: waits for run_at. running: a worker has it until lease_until.';
comment on column delivery.run_at is 'Not before this: now for a new one, later after a failure.';
comment on column delivery.attempt is 'How often it was claimed. Never counted down: it is the fence that keeps a late worker from finishing a newer try.';
comment on column delivery.lease_until is 'A worker that has not finished by then is taken for dead, and the row is ready again.';
comment on column delivery.worker is 'Who has it: so that a worker can hand its rows back, and an operator can see who holds what.';
comment on column delivery.last_error is 'Why it is still here, for whoever looks.';

-- The claim reads this index and nothing else; rows that are running are not in it.
create index delivery_ready on delivery (channel, run_at, id) where state = 'ready';
-- Rows of a worker, and (being few) expired leases. lease_until is not in it, so that renewing one would stay cheap.
create index delivery_running on delivery (worker) where state = 'running';

create table delivery_record (
    at timestamptz not null default now(),
    delivery_id bigint not null,
    message_id bigint not null,
    channel text not null,
    attempt smallint not null,
    outcome text not null check (outcome in ('delivered', 'skipped', 'failed', 'lost', 'dead')),
    http_status smallint,
    duration_ms integer,
    error text,
    worker text
);

comment on table delivery_record is 'One row for each try and how it ended; written in the statement that moves the delivery, never changed.';
comment on column delivery_record.at is 'When the try ended; decides how long the record is kept.';
comment on column delivery_record.delivery_id is 'Binds the tries of one delivery together.';
comment on column delivery_record.message_id is 'Leads to the content when the delivery itself is gone, also for sending a dead one again.';
comment on column delivery_record.channel is 'Where to, for counting by channel without the delivery.';
comment on column delivery_record.attempt is 'Which try it was.';
comment on column delivery_record.outcome is 'delivered, skipped (channel not set up) and dead (given up) are final; failed and lost (its worker vanished) are tried again.';
comment on column delivery_record.http_status is 'What the receiver answered; null when it did not.';
comment on column delivery_record.duration_ms is 'How long the receiver took; null when the worker vanished.';
comment on column delivery_record.error is 'What went wrong, redacted; null when nothing did.';
comment on column delivery_record.worker is 'Who tried, to find its log.';

create index delivery_record_at on delivery_record using brin (at);
create index delivery_record_message_id on delivery_record (message_id);

-- Called inside the transaction that stores the fact it tells of: either both happen or neither.
create function enqueue_notification(topic text, body jsonb, dedup_key text default null, occurrences integer default 1)
returns bigint language plpgsql as $$
#variable_conflict use_column
declare
    stored_id bigint;
    is_new boolean;
begin
    insert into message (topic, body, dedup_key, occurrences)
    values (
        enqueue_notification.topic,
        enqueue_notification.body,
        enqueue_notification.dedup_key,
        enqueue_notification.occurrences
    )
    on conflict (dedup_key) where dedup_key is not null
    do update set occurrences = message.occurrences + excluded.occurrences
    -- xmax is 0 only in a row that this very statement inserted.
    returning id, xmax = 0 into stored_id, is_new;
    if is_new and enqueue_notification.topic = 'alert' then
        insert into delivery (message_id, channel) values (stored_id, 'slack');
        -- Once a transaction, however many are enqueued in it: equal notifications are merged at commit.
        perform pg_notify('delivery', '');
    end if;
    return stored_id;
end
$$;

comment on function enqueue_notification is 'The only way into the queue: stores a message and a delivery for each channel of its topic. A repeated dedup_key adds its occurrences to the first message instead. Returns the message''s id.';
