-- depends: 0003-cache-github-answers
-- GitHub's trending pages as they were, and who fetches them: nobody else keeps them, so these tables are logged.

-- No foreign keys between these tables: each stored page would be checked some fifty times, and the one statement that
-- deletes pages (thin_out_pages) takes only those of which nothing was ever stored.

create table trending_page (
    id integer primary key generated always as identity,
    section text not null check (section in ('repositories', 'developers')),
    since text not null check (since in ('daily', 'weekly', 'monthly')),
    language_slug text not null,
    spoken_language_code text not null,
    asked_at timestamptz not null,
    next_fetch_at timestamptz not null,
    wanted_at timestamptz,
    snapshot_id bigint,
    failures integer not null default 0,
    last_error text,
    failing_since timestamptz,
    unique (section, since, language_slug, spoken_language_code),
    check ((failures > 0) = (failing_since is not null and last_error is not null))
);

comment on table trending_page is 'One page of github.com/trending that somebody asked for: when to fetch it, and what is shown of it now.';
comment on column trending_page.id is 'Short, for the many rows that belong to a page.';
comment on column trending_page.section is 'repositories or developers: GitHub ranks both.';
comment on column trending_page.since is 'The period over which GitHub ranks.';
comment on column trending_page.language_slug is 'The programming language as in the page''s address; empty: all.';
comment on column trending_page.spoken_language_code is 'ISO 639-1; empty: all.';
comment on column trending_page.asked_at is 'When it was last asked for: the most recently asked pages are kept warm, the others rest.';
comment on column trending_page.next_fetch_at is 'Not fetched before: a claim moves it 10 minutes on, nothing moves it closer but the failure of a page never shown.';
comment on column trending_page.wanted_at is 'Since when a person waits for it; null: nobody does.';
comment on column trending_page.snapshot_id is 'What is shown: the last good snapshot, a degraded one only where there never was a good one; null before the first.';
comment on column trending_page.failures is 'Fetches in a row that brought nothing good; the back-off grows with it.';
comment on column trending_page.last_error is 'Why the last one failed, for whoever looks; null when it did not.';
comment on column trending_page.failing_since is 'When the first of them failed; null when the last fetch was good.';

-- The warm pages.
create index trending_page_asked_at on trending_page (asked_at);

-- A snapshot's rows are one text: it is answered as it is, it is read whole, and Postgres compresses it to some 5 KB. As
-- 25 rows of their own, 80,000 snapshots (120 pages, 7 days) would be 2 million rows, each with a header and an index entry.
create table trending_snapshot (
    id bigint primary key,
    page_id integer not null,
    section text not null,
    taken_at timestamptz not null,
    row_count smallint not null,
    filled jsonb not null,
    is_degraded boolean not null,
    rows text not null
);

comment on table trending_snapshot is 'A page as it was at one time. All are kept for 7 days, of older UTC days the last good one for ever.';
comment on column trending_snapshot.id is 'Drawn by who stores it, so that a repeated statement recognises what it has stored already.';
comment on column trending_snapshot.page_id is 'Whose.';
comment on column trending_snapshot.section is 'The page''s, here as well so that the latest snapshots of a section are one range of an index.';
comment on column trending_snapshot.taken_at is 'When it was stored, a moment after GitHub answered.';
comment on column trending_snapshot.row_count is 'How many rows the page had: a page that suddenly has fewer is suspicious.';
comment on column trending_snapshot.filled is 'How many rows had each field, for the same reason.';
comment on column trending_snapshot.is_degraded is 'True where the page could only be read in part: shown only for want of a better one, and no part of the history.';
comment on column trending_snapshot.rows is 'A JSON array, best first: the rows with their history as it was then, as /v1 answers them.';

-- A page's snapshots of a day; thinning out, which takes good and degraded ones, asks by page as well.
create index trending_snapshot_page on trending_snapshot (page_id, taken_at) where not is_degraded;
-- The latest of a section, and what is old.
create index trending_snapshot_section on trending_snapshot (section, taken_at);

-- What history needs, brought up to date by each snapshot, so that none is ever read back for it.
create table trending_standing (
    id bigint primary key generated always as identity,
    page_id integer not null,
    item text not null,
    first_seen timestamptz not null,
    best_rank smallint not null,
    streak_days integer not null,
    last_day date not null,
    new_on date not null,
    unique (page_id, item)
) with (fillfactor = 80);

comment on table trending_standing is 'A repository''s or developer''s history on one page in short; degraded snapshots do not count.';
comment on column trending_standing.id is 'Short, for its many days.';
comment on column trending_standing.page_id is 'History is told page by page: ranks on different pages do not compare.';
comment on column trending_standing.item is 'owner/name or login, in lower case: GitHub does not tell them apart by case.';
comment on column trending_standing.first_seen is 'The first snapshot that it was on; never changes.';
comment on column trending_standing.best_rank is 'The best place it ever had.';
comment on column trending_standing.streak_days is 'On how many UTC days in a row up to last_day it was seen; a day without a snapshot breaks it.';
comment on column trending_standing.last_day is 'The UTC day on which it was last seen: tells a streak that goes on from one that is over.';
comment on column trending_standing.new_on is 'The last UTC day on which it came after 30 days of not being seen, or for the first time: it counts as new all that day.';

-- Narrow, because it grows for ever: some 30 rows for each page and day, at about 75 bytes with the index.
create table trending_day (
    standing_id bigint not null,
    day date not null,
    rank smallint not null,
    best_rank smallint not null,
    stars integer,
    period_stars integer,
    primary key (standing_id, day)
) with (fillfactor = 90);

comment on table trending_day is 'Where a repository or developer stood on a page on one UTC day; days on which it was not seen have no row.';
comment on column trending_day.standing_id is 'Whose day, and on which page.';
comment on column trending_day.day is 'UTC, whatever the time zone of who asks.';
comment on column trending_day.rank is 'Its place when it was last seen that day.';
comment on column trending_day.best_rank is 'Its best place of that day.';
comment on column trending_day.stars is 'Stars in all when it was last seen that day; null for developers, and where the page did not say.';
comment on column trending_day.period_stars is 'Stars of the page''s period, likewise.';

create table trending_collector (
    is_only boolean primary key default true check (is_only),
    holder text not null,
    lease_until timestamptz not null,
    next_request_at timestamptz not null,
    thinned_before timestamptz not null
) with (fillfactor = 50);

comment on table trending_collector is 'One row: who of all replicas fetches trending pages now, and how fast.';
comment on column trending_collector.is_only is 'There is one row.';
comment on column trending_collector.holder is 'The process that collects, or was the last to do so.';
comment on column trending_collector.lease_until is 'Another may take over after that: the holder renews it while it lives.';
comment on column trending_collector.next_request_at is 'No page is fetched before: the pace towards github.com outlives the collector that set it.';
comment on column trending_collector.thinned_before is 'Older snapshots have been thinned out already, and need not be looked at again.';

insert into trending_collector (holder, lease_until, next_request_at, thinned_before)
values ('', '-infinity', '-infinity', '-infinity');

create table trending_menu (
    is_only boolean primary key default true check (is_only),
    languages text not null,
    seen_at timestamptz not null
);

comment on table trending_menu is 'One row, once a page was fetched: the languages that GitHub offers, for services that fetch no page themselves.';
comment on column trending_menu.is_only is 'There is one row.';
comment on column trending_menu.languages is 'A JSON array in the menu''s order: name, slug, colour.';
comment on column trending_menu.seen_at is 'When the menu was last looked at, to tell an old one.';
