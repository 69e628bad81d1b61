"""How the world moves with the clock: stars, pushes, what trends. Nothing is stored: the moment alone decides."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

from local.imitation_github.world import EPOCH, Account, Repository, World, draw

Since = Literal["daily", "weekly", "monthly"]
PERIOD_DAYS: dict[Since, int] = {"daily": 1, "weekly": 7, "monthly": 30}
TRENDING_TURN = timedelta(hours=4)
"""A trending page is the same for so long; then some repositories leave it and others come."""
NEWCOMER_HALF_LIFE = timedelta(minutes=2)
"""A newcomer leads its page at first, and leaves it within a quarter of an hour or so."""
NEWCOMER_STARS = 4000
GROWTH_TURN = timedelta(hours=1)
"""Counts change once an hour, so that an ETag holds for a while."""


def last_turn(now: datetime, turn: timedelta, phase: float = 0.0) -> datetime:
    """The latest moment, not after now, at which something with this turn changed; `phase` from 0 to 1 shifts it."""
    offset = EPOCH + turn * phase
    return offset + (now - offset) // turn * turn


def stars_at(repository: Repository, now: datetime) -> int:
    """Stars in all."""
    days = (last_turn(now, GROWTH_TURN) - EPOCH) / timedelta(days=1)
    return max(0, int(repository.stars + repository.stars_per_day * days))


def updated_at(repository: Repository, now: datetime) -> datetime:
    """When its data last changed: those that grow do so hourly."""
    return last_turn(now, GROWTH_TURN) if repository.stars_per_day else pushed_at(repository, now)


def pushed_at(repository: Repository, now: datetime) -> datetime:
    """When it was last pushed to: every few hours for some, every few months for others, never before it was made."""
    turn = timedelta(seconds=int(21_600 * 400 ** draw(repository.id, "pushes")))
    pushed = last_turn(now, turn, draw(repository.id, "phase"))
    return max(pushed.replace(microsecond=0), repository.created_at)


def period_stars(world: World, repository: Repository, since: Since, now: datetime) -> int:
    """Stars gained in the period: its usual gain, and sometimes far more; never more than it has. Newcomers fade."""
    if repository.arrived_at is not None:
        return int(NEWCOMER_STARS * 0.5 ** ((now - repository.arrived_at) / NEWCOMER_HALF_LIFE))
    period, into = divmod((last_turn(now, TRENDING_TURN) - EPOCH) / timedelta(days=PERIOD_DAYS[since]), 1)
    # Some repositories burst in some periods; a burst grows and fades from one period into the next.
    before, after = (12 * draw(world.seed, repository.id, since, period + each) ** 12 for each in (0, 1))
    burst = before + (after - before) * into
    gain = repository.stars_per_day * PERIOD_DAYS[since] * (0.3 + burst)
    return min(int(gain), stars_at(repository, now))


def trending_repositories(
    world: World, since: Since, language: str | None, spoken: str | None, now: datetime
) -> Sequence[tuple[Repository, int]]:
    """What trends, with its period's stars, most first; `language` by name, "" for those without any."""
    gains = [
        (repository, period_stars(world, repository, since, now))
        for repository in world.repositories
        if repository.stars_per_day
        and (language is None or (repository.language or "") == language)
        and (spoken is None or repository.spoken == spoken)
    ]
    gains.sort(key=lambda gain: (-gain[1], gain[0].id))
    count = 11 + int(draw(world.seed, since, language, spoken, last_turn(now, TRENDING_TURN)) * 15)
    return gains[:count]


def trending_developers(
    world: World, since: Since, language: str | None, now: datetime
) -> Sequence[tuple[Account, Repository | None]]:
    """Who trends, with their popular repository; every eighth or so is shown without one."""
    best: dict[str, tuple[int, Account, Repository]] = {}
    for repository in world.repositories:
        if not repository.stars_per_day or (language is not None and (repository.language or "") != language):
            continue
        gain = period_stars(world, repository, since, now)
        for person in repository.contributors[:2]:
            if person.login not in best or best[person.login][0] < gain:
                best[person.login] = (gain, person, repository)
    ranking = sorted(best.values(), key=lambda entry: (-entry[0], entry[1].id))[:25]
    return [(who, None if draw(world.seed, who.login, "shy") < 0.12 else popular) for _, who, popular in ranking]
