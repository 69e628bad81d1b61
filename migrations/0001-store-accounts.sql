-- The operator's GitHub credentials, so that they need not live in an environment variable.

create table account (
    name text primary key check (name ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    encrypted_token bytea not null,
    created_at timestamptz not null default now()
);

comment on table account is 'GitHub credentials that the operator stored; used like those of GITHUB_TOKENS.';
comment on column account.name is 'What the operator calls it; all that logs and command lines ever show.';
comment on column account.encrypted_token is 'Encrypted with SECRET_KEY, so that a copy of the database gives no access to GitHub.';
comment on column account.created_at is 'Tells an old credential from a new one when one must be replaced.';
