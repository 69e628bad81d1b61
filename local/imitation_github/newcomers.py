"""New repositories that trend at once, one each so many seconds: for a demo in which something happens."""

from datetime import datetime, timedelta

from local.imitation_github.pulse import NEWCOMER_STARS
from local.imitation_github.words import ADJECTIVES, NOUNS, THINGS
from local.imitation_github.world import EPOCH, Repository, World, draw

LANGUAGE = "Rust"
FIRST_ID = 900_000_000
MOST_AT_ONCE = 30
"""As many as can be on a page: of those that came while nobody looked, earlier ones have left it."""


class Newcomers:
    """Lets repositories arrive as time goes on. The moment alone decides which."""

    def __init__(self, world: World, every: timedelta, start: datetime) -> None:
        self._world = world
        self._every = every
        self._seen = (start - EPOCH) // every

    def arrive(self, now: datetime) -> None:
        """Add those that have come since the last call."""
        latest = (now - EPOCH) // self._every
        for number in range(max(self._seen, latest - MOST_AT_ONCE) + 1, latest + 1):
            self._world.add(_newcomer(self._world, number, EPOCH + number * self._every))
        self._seen = max(self._seen, latest)


def _newcomer(world: World, number: int, at: datetime) -> Repository:
    people = [account for account in world.accounts if account.type == "User"]
    owner = people[int(draw(world.seed, number, "owner") * len(people))]
    adjective, noun, thing = (
        words[int(draw(world.seed, number, place) * len(words))]
        for place, words in enumerate((ADJECTIVES, NOUNS, THINGS))
    )
    return Repository(
        id=FIRST_ID + number,
        owner=owner,
        name=f"{adjective}-{noun}-{number}",
        description=f"A new {thing}",
        spoken="en",
        language=LANGUAGE,
        topics=("rust",),
        license=("mit", "MIT License", "MIT"),
        homepage=None,
        stars=NEWCOMER_STARS,
        stars_per_day=0.01,  # none but those with any trend
        forks=12,
        open_issues=3,
        subscribers=40,
        size_kib=310,
        created_at=at - timedelta(days=1),
        contributors=(owner,),
        bot=None,
        readme="README.md",
        arrived_at=at,
    )
