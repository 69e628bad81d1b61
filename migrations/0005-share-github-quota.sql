-- depends: 0004-store-trending-pages
-- What each replica learns of GitHub's limits, for all the others.

-- Unlogged: after a crash GitHub tells it all again with the next answers.
create unlogged table github_quota (
    credential text not null,
    bucket text not null,
    quota_limit integer not null,
    remaining integer not null,
    reset_at timestamptz not null,
    rests_until timestamptz not null,
    reason text check (reason in ('primary', 'secondary', 'refused')),
    strikes integer not null,
    told_at timestamptz not null,
    primary key (credential, bucket)
) with (fillfactor = 50);

comment on table github_quota is 'One row for each budget that GitHub keeps for a credential: some rows in all, rewritten often.';
comment on column github_quota.credential is 'Its identity, an HMAC: tells credentials apart and gives none away.';
comment on column github_quota.bucket is 'GitHub''s name of it (core, search, …); * for what befalls the credential as a whole.';
comment on column github_quota.quota_limit is 'Requests in a window; 0 where only a rest is known.';
comment on column github_quota.remaining is 'What is left of them.';
comment on column github_quota.reset_at is 'When the window ends.';
comment on column github_quota.rests_until is 'Not to be used before.';
comment on column github_quota.reason is 'Why it rests or rested last: primary (budget spent), secondary (too much at a time), refused (revoked).';
comment on column github_quota.strikes is 'Secondary limits in a row: each makes the next rest longer.';
comment on column github_quota.told_at is 'When a replica last wrote it; what nobody has told for a day is forgotten.';
