-- depends: 0002-queue-notifications
-- The copies of GitHub's public answers that all replicas share, and who is fetching which.

-- Unlogged: what a crash of Postgres takes can be fetched again, and each fetch writes here.
create unlogged table github_answer (
    key text primary key,
    status smallint,
    body bytea,
    etag text,
    credential text,
    next_page integer,
    last_known_page integer not null default 1,
    confirmed_at timestamptz,
    leased_until timestamptz not null default '-infinity'
) with (
    fillfactor = 80,
    autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_vacuum_threshold = 1000
);

-- The bodies come compressed.
alter table github_answer alter column body set storage external;

-- For the sweep: the longest unconfirmed go first.
create index github_answer_confirmed_at on github_answer (confirmed_at);

comment on table github_answer is 'One row for each thing that GitHub was asked with a credential of the operator''s or none: public answers only, shared by all replicas. Answers to a caller''s token never come here.';
comment on column github_answer.key is 'What was asked: kind, path and parameters, in lower case where GitHub does not care.';
comment on column github_answer.status is '200, or 404 or 451 when GitHub shows no such thing; null until the first answer has come.';
comment on column github_answer.body is 'Our own reading of the answer as JSON, compressed with zlib where that is shorter; null unless status is 200.';
comment on column github_answer.etag is 'GitHub''s validator of the answer: asking again with it costs no quota while nothing has changed.';
comment on column github_answer.credential is 'The identity (an HMAC) of the credential that got the ETag: it holds for no other.';
comment on column github_answer.next_page is 'The page that the answer''s Link names as next; null on the last one.';
comment on column github_answer.last_known_page is 'The highest page that the answer''s Link tells of.';
comment on column github_answer.confirmed_at is 'When GitHub last gave this answer or said that it still holds: its age decides whether it is fresh.';
comment on column github_answer.leased_until is 'Until then one replica is asking GitHub and the others wait; in the past when nobody is.';
