-- depends: 0006-deliver-to-subscribers
-- Which repositories' releases somebody wants to be told of, what is known of them, and when GitHub is asked again.

create table watched_repository (
    repository text primary key check (repository = lower(repository)),
    subscribers integer not null,
    watched_since timestamptz not null default now(),
    next_look_at timestamptz not null default now(),
    looked_at timestamptz,
    etag text,
    credential text,
    known_release_ids bigint[] not null default '{}',
    failures smallint not null default 0,
    last_error text
) with (fillfactor = 70);

comment on table watched_repository is 'A repository whose releases are told to somebody; it leaves with its last subscriber.';
comment on column watched_repository.repository is 'owner/name in lower case, as it was subscribed to: a renamed one goes on under its old name.';
comment on column watched_repository.subscribers is 'How many are told: the more, the sooner GitHub is asked again.';
comment on column watched_repository.watched_since is 'What was published before is old, and never told.';
comment on column watched_repository.next_look_at is 'Not asked before. A look moves it on first, so that no other replica looks too: it is the fence of what is then learnt.';
comment on column watched_repository.looked_at is 'When GitHub last answered, for whoever looks; null before the first answer.';
comment on column watched_repository.etag is 'Of the last answer: asking again costs nothing while it holds.';
comment on column watched_repository.credential is 'The identity of the credential that got the ETag, which holds for no other.';
comment on column watched_repository.known_release_ids is 'The releases last seen, newest first: what is not among them is new, in whatever order drafts are published.';
comment on column watched_repository.failures is 'Looks in a row that brought no answer; the pause grows with it.';
comment on column watched_repository.last_error is 'Why the last one failed; null when it did not.';

create index watched_repository_next_look on watched_repository (next_look_at);
