"""A trending list as `/v1` answers it: as of now or of a past day, all of it or only what is new."""

import re
from datetime import date

import msgspec
from aiohttp import web

from github_client import lifetimes
from github_client.service import CATALOGUE, CLOCK, TRENDING
from github_client.trending.page_key import PageKey, Section, read_page_key
from service_kit.answers import Freshness, Meta, envelope
from service_kit.errors import InvalidParameter, NotFound, UnprocessableParameter
from service_kit.query import Query

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class _Novelty(msgspec.Struct):
    """The member of a row that `new_only` goes by; null where nothing is known."""

    is_new: bool | None = None


async def answer_list(request: web.Request, section: Section) -> web.Response:
    """The rows of one trending page, best first. `on=YYYY-MM-DD`: of that UTC day's end; `new_only=true`: the new ones.

    Raises UnprocessableParameter for a day that is none or yet to come, NotFound for one of which nothing is kept.
    """
    query = Query(request.rel_url.raw_query_string)
    key = read_page_key(section, query, request.app[CATALOGUE])
    is_new_only = query.choice("new_only", ("true", "false"), "false") == "true"
    today = request.app[CLOCK].utc().date()
    day = read_day(query, today)
    rows, freshness = await (_of_now(request, key) if day is None else _of_day(request, key, day, today))
    return envelope(request, only_new(rows) if is_new_only else rows, Meta(), freshness)


def read_day(query: Query, today: date) -> date | None:
    """The parameter `on`, None if absent. Raises InvalidParameter, UnprocessableParameter."""
    text = query.text("on")
    if text is None:
        return None
    if not _DAY.fullmatch(text):
        raise InvalidParameter("on", "should be a day in UTC: YYYY-MM-DD.")
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise UnprocessableParameter("on", "is no day of the calendar.") from None
    if day > today:
        raise UnprocessableParameter("on", "is a day yet to come.")
    return day


def only_new(rows: bytes) -> bytes:
    """Of a JSON array of rows those that are new, each as it was."""
    each = msgspec.json.decode(rows, type=list[msgspec.Raw])
    return b"[%b]" % b",".join(bytes(row) for row in each if msgspec.json.decode(row, type=_Novelty).is_new)


async def _of_now(request: web.Request, key: PageKey) -> tuple[bytes, Freshness]:
    answer = await request.app[TRENDING].latest(key)
    return answer.rows, answer.freshness


async def _of_day(request: web.Request, key: PageKey, day: date, today: date) -> tuple[bytes, Freshness]:
    page = await request.app[TRENDING].store.on(key, day)
    if page is None:
        raise NotFound("There is no snapshot of this page from that day.")
    seconds_left = lifetimes.TRENDING_PAST_DAY if day < today else lifetimes.TRENDING
    return page.rows, Freshness(
        seconds_left, page.taken_at, if_error_seconds=lifetimes.STALE_IF_ERROR_SECONDS, is_copy=True
    )
