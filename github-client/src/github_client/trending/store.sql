-- The statements of the trending store. Each bears being run twice: after a lost connection nobody knows whether it
-- took effect. `now` is null but in simulations: the database's own time then decides. Days are days of UTC.

-- name: latest
-- what is shown of a page, and how old it is; without the rows where the caller has them already
select snapshot.id, snapshot.taken_at, extract(epoch from coalesce(%(now)s, now()) - snapshot.taken_at)::float8,
    snapshot.is_degraded, page.failures > 0,
    case when snapshot.id is distinct from %(known_snapshot_id)s then snapshot.rows end
from trending_page page join trending_snapshot snapshot on snapshot.id = page.snapshot_id
where page.section = %(section)s and page.since = %(since)s
    and page.language_slug = %(language_slug)s and page.spoken_language_code = %(spoken_language_code)s

-- name: on
-- a day's last good snapshot
select snapshot.id, snapshot.taken_at, extract(epoch from coalesce(%(now)s, now()) - snapshot.taken_at)::float8,
    snapshot.is_degraded, false, snapshot.rows
from trending_page page join trending_snapshot snapshot on snapshot.page_id = page.id and not snapshot.is_degraded
where page.section = %(section)s and page.since = %(since)s
    and page.language_slug = %(language_slug)s and page.spoken_language_code = %(spoken_language_code)s
    and snapshot.taken_at >= %(day)s::date::timestamp at time zone 'UTC'
    and snapshot.taken_at < (%(day)s::date + 1)::timestamp at time zone 'UTC'
order by snapshot.taken_at desc
limit 1

-- name: history
-- how an item stands, by the page's current snapshot, and a page of its days: one row each, none beyond the last
with standing as (
    select standing.*, shown.taken_at, (shown.taken_at at time zone 'UTC')::date as today, shown.rows
    from trending_page page
    join trending_standing standing on standing.page_id = page.id and standing.item = lower(%(item)s)
    join trending_snapshot shown on shown.id = page.snapshot_id
    where page.section = %(section)s and page.since = %(since)s
        and page.language_slug = %(language_slug)s and page.spoken_language_code = %(spoken_language_code)s
), listed as (
    select (row ->> 'rank')::integer as rank, (row ->> 'rank_change')::integer as rank_change
    from standing, json_array_elements(standing.rows::json) as row
    where lower(coalesce(row ->> 'login', concat(row ->> 'owner', '/', row ->> 'name'))) = standing.item
    limit 1
)
select standing.taken_at, standing.first_seen,
    case when standing.last_day >= standing.today then standing.streak_days else 0 end, standing.best_rank,
    listed.rank_change, standing.new_on >= standing.today, listed.rank,
    past.day, past.rank, past.best_rank, past.stars, past.period_stars
from standing left join listed on true left join lateral (
    select * from trending_day day where day.standing_id = standing.id
    order by day.day desc
    offset %(skip)s limit %(limit)s
) past on true
order by past.day desc

-- name: ask
-- unknown → due at once; known → asked again, and first in the queue where somebody waits
-- Who asks again within seconds changes nothing: a page that many ask for is not written for each.
insert into trending_page as known
    (section, since, language_slug, spoken_language_code, asked_at, next_fetch_at, wanted_at)
select section, since, language_slug, spoken_language_code, moment.now, moment.now,
    case when %(waiting)s then moment.now end
from (select coalesce(%(now)s, now()) as now) moment,
    unnest(%(section)s::text[], %(since)s::text[], %(language_slug)s::text[], %(spoken_language_code)s::text[])
    as asked (section, since, language_slug, spoken_language_code)
-- In one order, so that two who ask for the same pages do not lock each other out.
order by 1, 2, 3, 4
on conflict (section, since, language_slug, spoken_language_code) do update
set asked_at = excluded.asked_at, wanted_at = coalesce(known.wanted_at, excluded.wanted_at)
where known.asked_at not between excluded.asked_at - make_interval(secs => %(repeat_seconds)s) and excluded.asked_at
    or (known.wanted_at is null and excluded.wanted_at is not null)

-- name: ask_for_subscribers
-- unknown → due at once; known → asked again: the pages that somebody is told of
insert into trending_page as known (section, since, language_slug, spoken_language_code, asked_at, next_fetch_at)
select distinct 'repositories', since, language_slug, '', moment.now, moment.now
from subscription join endpoint on endpoint.id = subscription.endpoint_id, unnest(languages) as each (language_slug),
    (select coalesce(%(now)s, now()) as now) moment
where topic in ('trending.entered', 'trending.digest') and not subscription.paused and endpoint.state = 'active'
order by 1, 2, 3, 4
on conflict (section, since, language_slug, spoken_language_code) do update
set asked_at = excluded.asked_at
where known.asked_at not between excluded.asked_at - make_interval(secs => %(repeat_seconds)s) and excluded.asked_at

-- name: lead
-- nobody's, one's own or run out → the holder's
-- A lease longer than any that is given comes from a clock that jumped; it holds nobody up.
update trending_collector
set holder = %(holder)s, lease_until = coalesce(%(now)s, now()) + make_interval(secs => %(lease_seconds)s)
where holder = %(holder)s or lease_until not between coalesce(%(now)s, now())
    and coalesce(%(now)s, now()) + make_interval(secs => %(lease_seconds)s)

-- name: resign
-- the holder's → nobody's
update trending_collector set lease_until = '-infinity' where holder = %(holder)s

-- name: claim
-- due → being fetched, one page at a time and no faster than the pace: only the collector, only the warm pages
-- A waiting person's page counts as an hour overdue: it comes first, but cannot hold up the others for ever.
with moment as (
    select coalesce(%(now)s, now()) as now
), turn as materialized (
    select from trending_collector, moment
    where holder = %(holder)s and lease_until > moment.now
        -- A pace from a clock that jumped holds nobody up.
        and next_request_at not between moment.now + interval '1 us' and moment.now + interval '10 min'
    -- A second claim waits here for the first, and finds the pace moved on.
    for update of trending_collector
), warm as materialized (
    select id, next_fetch_at, wanted_at from trending_page
    where asked_at > (select now from moment) - make_interval(secs => %(warm_seconds)s)
    order by asked_at desc, id
    limit %(most_warm)s
), due as materialized (
    select id from warm, moment, turn
    where next_fetch_at <= moment.now
    order by least(next_fetch_at, wanted_at - interval '1 hour'), id
    limit 1
), paced as (
    update trending_collector
    set next_request_at = moment.now + make_interval(secs => %(interval_seconds)s * (1 + %(jitter)s * random()))
    from moment, due
)
update trending_page page
set next_fetch_at = moment.now + make_interval(secs => %(floor_seconds)s), wanted_at = null
from due, moment
where page.id = due.id and page.next_fetch_at <= moment.now
returning page.section, page.since, page.language_slug, page.spoken_language_code

-- name: store
-- fetched → shown: the snapshot, its rows with their history, what the history of the next one needs, and the news
-- Writers of one page queue at its row. All is taken from what the writes return, so the later one sees the earlier's.
with moment as materialized (
    select coalesce(%(now)s, now()) as now, (coalesce(%(now)s, now()) at time zone 'UTC')::date as today
), page as (
    insert into trending_page as known
        (section, since, language_slug, spoken_language_code, asked_at, next_fetch_at, snapshot_id)
    select %(section)s, %(since)s, %(language_slug)s, %(spoken_language_code)s, now,
        now + make_interval(secs => %(next_fetch_in_seconds)s), %(id)s
    from moment
    on conflict (section, since, language_slug, spoken_language_code) do update
    set next_fetch_at = greatest(known.next_fetch_at, excluded.next_fetch_at), snapshot_id = excluded.snapshot_id,
        failures = 0, last_error = null, failing_since = null
    where known.snapshot_id is distinct from excluded.snapshot_id
    returning id
), listed as materialized (
    select row::text as text, place, (row ->> 'rank')::smallint as rank,
        lower(coalesce(row ->> 'login', concat(row ->> 'owner', '/', row ->> 'name'))) as item,
        (row ->> 'stars')::integer as stars, (row ->> 'period_stars')::integer as period_stars
    from json_array_elements(%(rows)s::json) with ordinality as listed (row, place)
), best as materialized (
    -- Should a page ever name one twice, its better place counts.
    select distinct on (item) * from listed order by item, rank, place
), standing as (
    insert into trending_standing as known (page_id, item, first_seen, best_rank, streak_days, last_day, new_on)
    select page.id, best.item, moment.now, best.rank, 1, moment.today, moment.today
    from page, moment, best
    on conflict (page_id, item) do update
    set best_rank = least(known.best_rank, excluded.best_rank),
        streak_days = case
            when known.last_day >= excluded.last_day then known.streak_days
            when known.last_day = excluded.last_day - 1 then known.streak_days + 1
            else 1 end,
        new_on = case when known.last_day < excluded.last_day - 30 then excluded.new_on else known.new_on end,
        last_day = greatest(known.last_day, excluded.last_day)
    returning id, item, first_seen, best_rank, streak_days, new_on
), day as (
    insert into trending_day as known (standing_id, day, rank, best_rank, stars, period_stars)
    select standing.id, moment.today, best.rank, best.rank, best.stars, best.period_stars
    from standing join best using (item), moment
    on conflict (standing_id, day) do update
    set rank = excluded.rank, best_rank = least(known.best_rank, excluded.best_rank),
        stars = coalesce(excluded.stars, known.stars), period_stars = coalesce(excluded.period_stars, known.period_stars)
    -- xmax is 0 only in a row that this very statement inserted.
    returning standing_id, xmax = 0 as is_first
), announced as materialized (
    -- What became new with this snapshot. Where there was none for 30 days everything would be: that is no news.
    select count(enqueue_notification(
        'trending.entered',
        jsonb_build_object(
            'page', jsonb_build_object(
                'section', %(section)s, 'since', %(since)s,
                'language_slug', %(language_slug)s, 'spoken_language_code', %(spoken_language_code)s
            ),
            'repository', jsonb_build_object(
                'owner', row -> 'owner', 'name', row -> 'name', 'description', row -> 'description',
                'language', row -> 'language', 'stars', row -> 'stars', 'forks', row -> 'forks',
                'period_stars', row -> 'period_stars', 'rank', row -> 'rank',
                'first_seen', to_char(standing.first_seen at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
            ),
            'taken_at', to_char(moment.now at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
        ),
        dedup_key => format('trending.entered:%%s:%%s:%%s', page.id, item, moment.today),
        subject => 'repository:' || item,
        expires_at => now() + interval '2 days'
    ))
    from moment, page, standing join day on day.standing_id = standing.id join best using (item),
        lateral (select best.text::json as row) listed
    where %(section)s = 'repositories' and day.is_first and standing.new_on = moment.today
        and exists (
            select from trending_snapshot earlier
            where earlier.page_id = page.id and not earlier.is_degraded
                and earlier.taken_at >= moment.now - interval '30 days'
        )
), yesterday as materialized (
    select lower(coalesce(row ->> 'login', concat(row ->> 'owner', '/', row ->> 'name'))) as item,
        min((row ->> 'rank')::integer) as rank
    from (
        select rows from trending_snapshot
        where page_id = (select id from page) and not is_degraded
            and taken_at >= ((select today from moment) - 1)::timestamp at time zone 'UTC'
            and taken_at < (select today from moment)::timestamp at time zone 'UTC'
        order by taken_at desc
        limit 1
    ) last, json_array_elements(last.rows::json) as row
    group by 1
), told as (
    select listed.place, left(listed.text, -1) || ',' || substr(row_to_json(history)::text, 2) as text
    from listed join standing using (item) left join yesterday using (item), moment,
        lateral (
            select to_char(standing.first_seen at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as first_seen,
                standing.streak_days, standing.best_rank, yesterday.rank - listed.rank as rank_change,
                standing.new_on = moment.today as is_new
        ) history
)
insert into trending_snapshot (id, page_id, section, taken_at, row_count, filled, is_degraded, rows)
select %(id)s, page.id, %(section)s, moment.now, (select count(*) from listed), %(filled)s, false,
    concat('[', (select string_agg(text, ',' order by place) from told), ']')
from page, moment, announced
on conflict (id) do nothing

-- name: store_degraded
-- fetched, but read only in part → kept, and shown where there never was a good one; its rows have no history
with moment as materialized (
    select coalesce(%(now)s, now()) as now
), page as (
    insert into trending_page as known
        (section, since, language_slug, spoken_language_code, asked_at, next_fetch_at, snapshot_id)
    select %(section)s, %(since)s, %(language_slug)s, %(spoken_language_code)s, now,
        now + make_interval(secs => %(next_fetch_in_seconds)s), %(id)s
    from moment
    on conflict (section, since, language_slug, spoken_language_code) do update
    set next_fetch_at = greatest(known.next_fetch_at, excluded.next_fetch_at),
        snapshot_id = case
            when known.snapshot_id is null
                or (select is_degraded from trending_snapshot where id = known.snapshot_id) then excluded.snapshot_id
            else known.snapshot_id end
    returning id
)
insert into trending_snapshot (id, page_id, section, taken_at, row_count, filled, is_degraded, rows)
select %(id)s, page.id, %(section)s, moment.now, json_array_length(%(rows)s::json), %(filled)s, true,
    concat('[', (
        select string_agg(left(row::text, -1) || ',"first_seen":null,"streak_days":null,"best_rank":null,'
            || '"rank_change":null,"is_new":null}', ',' order by place)
        from json_array_elements(%(rows)s::json) with ordinality as listed (row, place)
    ), ']')
from page, moment
on conflict (id) do nothing

-- name: fail
-- fetched in vain → tried again later; what is shown stays
-- Of a page that is shown, a failed fetch counts like any other; one that never came need not wait for 10 minutes.
-- Run twice it counts twice, which does no more than prolong the back-off by a step.
insert into trending_page as known (section, since, language_slug, spoken_language_code, asked_at, next_fetch_at,
    failures, last_error, failing_since)
select %(section)s, %(since)s, %(language_slug)s, %(spoken_language_code)s, now,
    now + make_interval(secs => %(retry_in_seconds)s), 1, %(reason)s, now
from (select coalesce(%(now)s, now()) as now) moment
on conflict (section, since, language_slug, spoken_language_code) do update
set next_fetch_at = case when known.snapshot_id is null then excluded.next_fetch_at
        else greatest(known.next_fetch_at, excluded.next_fetch_at) end,
    failures = known.failures + 1,
    last_error = excluded.last_error, failing_since = coalesce(known.failing_since, excluded.failing_since)
returning failures

-- name: failing
-- why a page of which nothing was ever stored did not come, and when it is tried again
select last_error, extract(epoch from next_fetch_at - coalesce(%(now)s, now()))::float8
from trending_page
where section = %(section)s and since = %(since)s
    and language_slug = %(language_slug)s and spoken_language_code = %(spoken_language_code)s
    and failures > 0 and snapshot_id is null

-- name: baseline
-- what good snapshots of the page, and of its whole section, look like in sum
with recent as materialized (
    (
        select 'page' as scope, row_count, filled
        from trending_snapshot
        where not is_degraded and page_id = (
            select id from trending_page
            where section = %(section)s and since = %(since)s
                and language_slug = %(language_slug)s and spoken_language_code = %(spoken_language_code)s
        )
        order by taken_at desc
        limit %(of_page)s
    ) union all (
        select 'section', row_count, filled
        from trending_snapshot
        where section = %(section)s and not is_degraded
        order by taken_at desc
        limit %(of_section)s
    )
)
select scope, count(*), sum(row_count), (
    select coalesce(jsonb_object_agg(field, filled), '{}')
    from (
        select field, sum(number::integer) as filled
        from recent as of_scope, jsonb_each_text(of_scope.filled) as each (field, number)
        where of_scope.scope = recent.scope
        group by field
    ) sums
)
from recent
group by scope
order by scope

-- name: thin_out
-- kept → gone: a bounded batch of what is older than 7 days and not the last good one of its day
-- Days of which nothing is left to delete are never looked at again.
with due as materialized (
    select date_trunc('day', coalesce(%(now)s, now()), 'UTC') - make_interval(hours => 24 * %(days)s) as before
), surplus as materialized (
    select snapshot.id
    from trending_snapshot snapshot
    where snapshot.section in ('repositories', 'developers')
        and snapshot.taken_at >= (select thinned_before from trending_collector)
        and snapshot.taken_at < (select before from due)
        and (snapshot.is_degraded or exists (
            select from trending_snapshot later
            where later.page_id = snapshot.page_id and not later.is_degraded
                and (later.taken_at, later.id) > (snapshot.taken_at, snapshot.id)
                and later.taken_at < date_trunc('day', snapshot.taken_at, 'UTC') + interval '24 h'
        ))
        -- Not the one that is shown.
        and snapshot.id is distinct from (select snapshot_id from trending_page page where page.id = snapshot.page_id)
    limit %(batch)s
), gone as (
    delete from trending_snapshot where id = any(array(select id from surplus)) returning id
), closed as (
    update trending_collector set thinned_before = due.before
    from due
    where thinned_before < due.before and (select count(*) from surplus) < %(batch)s
)
select count(*) from gone

-- name: thin_out_pages
-- asked for, never fetched and no longer asked for → gone
delete from trending_page where id = any(array(
    select id from trending_page
    where snapshot_id is null and asked_at < coalesce(%(now)s, now()) - make_interval(secs => %(warm_seconds)s)
    limit %(batch)s
)) and snapshot_id is null

-- name: save_menu
-- seen → current
insert into trending_menu as known (languages, seen_at) values (%(languages)s, coalesce(%(now)s, now()))
on conflict (is_only) do update set languages = excluded.languages, seen_at = excluded.seen_at

-- name: load_menu
-- the languages last seen
select languages from trending_menu

-- name: health
-- the warm pages and the collector at a glance
with moment as (
    select coalesce(%(now)s, now()) as now
), warm as materialized (
    select * from trending_page
    where asked_at > (select now from moment) - make_interval(secs => %(warm_seconds)s)
    order by asked_at desc, id
    limit %(most_warm)s
)
select (select count(*) from trending_page), count(warm.id), count(*) filter (where failures > 0), min(failing_since),
    (array_agg(last_error order by failing_since) filter (where failures > 0))[1],
    max(extract(epoch from moment.now - snapshot.taken_at))::float8,
    (select lease_until > moment.now from trending_collector)
from moment left join warm on true left join trending_snapshot snapshot on snapshot.id = warm.snapshot_id
group by moment.now
