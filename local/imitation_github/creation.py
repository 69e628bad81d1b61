"""How the world is made from a seed: a few people and repositories that are always there, and a believable many."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from local.imitation_github import words
from local.imitation_github.world import (
    INACTIVE_LOGIN,
    ORGANIZATION_LOGIN,
    OWNER_LOGIN,
    READER_LOGIN,
    SECOND_READER_LOGIN,
    Account,
    Repository,
    World,
)

NOTABLE_REPOSITORIES = 400
SMALL_REPOSITORIES = 1000
"""So many that a broad search reaches the limit of 1,000 results."""
PEOPLE = 210
ORGANIZATIONS = 45


def make_world(seed: int) -> World:
    """The whole world; the same for the same seed."""
    chance = random.Random(seed)
    named = _named_people()
    people = [*named, *_people(chance)]
    organizations = _organizations(chance)
    owners = [*people[len(named) :] * 2, *organizations * 3]
    repositories = [*_named_repositories(named, organizations[0]), *_repositories(chance, owners, people)]
    return World(seed, [*people, *organizations], repositories)


def _named_people() -> list[Account]:
    mira = Account(
        id=3100001,
        login=OWNER_LOGIN,
        type="User",
        name="Mira Tallow",
        bio="I make small tools and then use them.",
        company=f"@{ORGANIZATION_LOGIN}",
        blog="https://mira.example",
        location="Ghent",
        email="mira@mira.example",
        followers=4218,
        following=61,
    )
    tobin = Account(3100002, READER_LOGIN, "User", name="Tobin Varga", followers=17, following=140)
    liu = Account(3100003, SECOND_READER_LOGIN, "User", name="柳云鹤", bio="写代码，也写诗。", location="杭州")
    return [mira, tobin, liu, Account(3100004, INACTIVE_LOGIN, "User")]


def _people(chance: random.Random) -> list[Account]:
    taken = {OWNER_LOGIN, READER_LOGIN, SECOND_READER_LOGIN, INACTIVE_LOGIN}
    people: list[Account] = []
    while len(people) < PEOPLE:
        name, login = _chinese_name(chance) if chance.random() < 0.3 else _western_name(chance)
        if login.lower() in taken:
            login += str(chance.randrange(2, 999))
        if login.lower() in taken:
            continue
        taken.add(login.lower())
        company = f"@{chance.choice(words.NOUNS)}-{chance.choice(words.ORGANIZATION_ENDINGS)}"
        people.append(
            Account(
                id=4_000_000 + len(people) * 61_231 + chance.randrange(60_000),
                login=login,
                type="User",
                name=name if chance.random() < 0.85 else None,
                bio=chance.choice(words.BIOS) if chance.random() < 0.6 else None,
                company=company if chance.random() < 0.4 else None,
                blog=f"https://{login.lower()}.example" if chance.random() < 0.5 else "",
                location=chance.choice(words.CITIES) if chance.random() < 0.7 else None,
                email=f"{login.lower()}@mail.example" if chance.random() < 0.3 else None,
                followers=_long_tailed(chance, 40, 60_000),
                following=chance.randrange(0, 300),
                created_at=_some_day(chance, 2010, 2025),
            )
        )
    return people


def _chinese_name(chance: random.Random) -> tuple[str, str]:
    (family, family_latin), (given, given_latin) = (
        chance.choice(words.CHINESE_FAMILIES),
        chance.choice(words.CHINESE_NAMES),
    )
    return family + given, family_latin + given_latin


def _western_name(chance: random.Random) -> tuple[str, str]:
    first, last = chance.choice(words.FIRST_NAMES), chance.choice(words.LAST_NAMES)
    return f"{first} {last}", chance.choice((f"{first}{last}", f"{first[0]}{last}".lower(), f"{last}-{first}"))


def _organizations(chance: random.Random) -> list[Account]:
    logins = [ORGANIZATION_LOGIN]
    while len(logins) < ORGANIZATIONS:
        login = f"{chance.choice(words.NOUNS)}-{chance.choice(words.ORGANIZATION_ENDINGS)}"
        if login not in logins:
            logins.append(login)
    return [
        Account(
            id=90_000_000 + place * 77_003,
            login=login,
            type="Organization",
            name=login.replace("-", " ").title(),
            bio=f"Home of the {login.partition('-')[0]} projects" if place % 3 else None,
            blog=f"https://{login}.example" if place % 2 else "",
            location=chance.choice(words.CITIES) if place % 4 else None,
            followers=_long_tailed(chance, 200, 40_000),
            created_at=_some_day(chance, 2012, 2024),
        )
        for place, login in enumerate(logins)
    ]


def _named_repositories(named: list[Account], organization: Account) -> list[Repository]:
    """The ones that tests and manuals may name: one for each thing that is unlike the rest."""
    mira, tobin, liu, _ = named
    lantern = Repository(
        id=600_000_001,
        owner=mira,
        name="lantern",
        description="A small lantern for dark terminals 🏮",
        spoken="en",
        language="Rust",
        topics=("cli", "rust"),
        license=("mit", "MIT License", "MIT"),
        homepage="https://lantern.example",
        stars=12_345,
        stars_per_day=3.0,
        forks=678,
        open_issues=90,
        subscribers=123,
        size_kib=16_425,
        created_at=datetime(2021, 2, 3, 4, 5, 6, tzinfo=UTC),
        contributors=(mira, liu),
        bot="dependabot",
        readme="README.md",
    )
    bare = replace(
        lantern, description=None, spoken=None, language=None, topics=(), license=None, homepage=None, bot=None,
        stars=0, stars_per_day=0.0, forks=0, open_issues=0, subscribers=1, size_kib=0, contributors=(),
    )  # fmt: skip
    return [
        lantern,
        replace(
            lantern, id=600_000_002, owner=organization, name="kettle", language="C++", description="水开了就叫 ☕"
        ),
        replace(bare, id=600_000_003, owner=mira, name="private-ledger", private=True, description="Not for everyone"),
        replace(bare, id=600_000_004, owner=organization, name="private-plans", private=True, language="Go"),
        replace(bare, id=600_000_005, owner=tobin, name="no-readme", readme="missing"),
        replace(bare, id=600_000_006, owner=tobin, name="large-readme", readme="large", stars=31),
        replace(bare, id=600_000_007, owner=tobin, name="restructured", readme="readme.rst", language="Python"),
        replace(bare, id=600_000_008, owner=liu, name="docs-readme", readme="docs/README.md", stars=55),
        replace(bare, id=600_000_009, owner=liu, name="plain-readme", readme="README", archived=True),
        replace(bare, id=600_000_010, owner=liu, name=".github"),
    ]


def _repositories(chance: random.Random, owners: list[Account], people: list[Account]) -> list[Repository]:
    taken: set[str] = set()
    made: list[Repository] = []
    while len(made) < NOTABLE_REPOSITORIES + SMALL_REPOSITORIES:
        owner, name = chance.choice(owners), _repository_name(chance)
        if f"{owner.login}/{name}".lower() in taken:
            continue
        taken.add(f"{owner.login}/{name}".lower())
        number = 610_000_000 + len(made) * 90_011 + chance.randrange(90_000)
        is_notable = len(made) < NOTABLE_REPOSITORIES
        made.append((_notable if is_notable else _small)(chance, _plain(chance, number, owner, name), people))
    return made


def _plain(chance: random.Random, number: int, owner: Account, name: str) -> Repository:
    """A repository without stars, with what all have."""
    description, spoken = _description(chance)
    *license_, _ = chance.choices(words.LICENSES, [weight for *_, weight in words.LICENSES])[0]
    return Repository(
        id=number,
        owner=owner,
        name=name,
        description=description,
        spoken=spoken,
        language=chance.choices([*words.LANGUAGE_WEIGHTS, None], [*words.LANGUAGE_WEIGHTS.values(), 4])[0],
        topics=(),
        license=(license_[0], license_[1], license_[2]) if chance.random() < 0.8 else None,
        homepage=f"https://{name.lower()}.example" if chance.random() < 0.3 else chance.choice(("", None)),
        stars=0,
        stars_per_day=0.0,
        forks=0,
        open_issues=chance.randrange(0, 9),
        subscribers=1,
        size_kib=_long_tailed(chance, 900, 900_000),
        created_at=max(_some_day(chance, 2013, 2025), owner.created_at),
        contributors=(owner,) if owner.type == "User" else (),
        bot=chance.choice(words.BOTS) if chance.random() < 0.3 else None,
        readme=chance.choice(("README.md", "README.md", "README", "missing")),
        default_branch="main" if chance.random() < 0.75 else "master",
        archived=chance.random() < 0.02,
    )


def _notable(chance: random.Random, plain: Repository, people: list[Account]) -> Repository:
    """One that may trend. It has a README, as nearly everything that trends does."""
    stars = _long_tailed(chance, 900, 190_000)
    stars_per_day = chance.uniform(1, 40) * (1 + stars / 40_000)
    soon = stars + 330 * stars_per_day  # the other counts stay while stars grow: let them fit those of a year later
    others = chance.sample(people, chance.randrange(0, 5))
    return replace(
        plain,
        topics=tuple(sorted(chance.sample(words.TOPICS, chance.randrange(0, 7)))),
        stars=stars,
        stars_per_day=stars_per_day,
        forks=int(soon * chance.uniform(0.03, 0.25)),
        open_issues=int(soon * chance.uniform(0, 0.05)),
        subscribers=1 + int(soon * chance.uniform(0.005, 0.03)),
        contributors=tuple(dict.fromkeys((*plain.contributors, *others)))[:5],
        readme=chance.choice(("README.md", "README.md", "README.md", "docs/README.md", "readme.rst")),
    )


def _small(chance: random.Random, plain: Repository, _people: list[Account]) -> Repository:
    """One of the many that few people know."""
    return replace(plain, stars=_long_tailed(chance, 3, 400), fork=chance.random() < 0.1)


def _repository_name(chance: random.Random) -> str:
    adjective, noun, other = chance.choice(words.ADJECTIVES), chance.choice(words.NOUNS), chance.choice(words.NOUNS)
    return chance.choice(
        (
            noun, f"{adjective}-{noun}", f"{noun}{other}", f"{noun.title()}{other.title()}", f"{noun}.js",
            f"{adjective}_{noun}", f"awesome-{noun}", f"{noun}-{other}", f"py{noun}", f"go-{adjective}-{noun}",
        )
    )  # fmt: skip


def _description(chance: random.Random) -> tuple[str | None, str | None]:
    """A description, and the ISO 639-1 code of its language."""
    kind = chance.random()
    if kind < 0.04:
        return None, None
    if kind < 0.28:
        return f"{chance.choice(words.CHINESE_THINGS)}，{chance.choice(words.CHINESE_PURPOSES)}", "zh"
    if kind < 0.32:
        return chance.choice(words.JAPANESE_DESCRIPTIONS), "ja"
    if kind < 0.35:
        return chance.choice(words.GERMAN_DESCRIPTIONS), "de"
    if kind < 0.38:
        return chance.choice(words.AWKWARD_DESCRIPTIONS), "en"
    text = f"{chance.choice(words.PRAISE)} {chance.choice(words.THINGS)} {chance.choice(words.PURPOSES)}"
    return (f"{chance.choice(words.EMOJI)} {text}" if chance.random() < 0.25 else text), "en"


def _long_tailed(chance: random.Random, typical: int, most: int) -> int:
    """Mostly little, seldom very much."""
    return min(int(typical * chance.paretovariate(0.8)) - typical // 2, most)


def _some_day(chance: random.Random, first_year: int, last_year: int) -> datetime:
    days = (last_year - first_year) * 365
    return datetime(first_year, 1, 1, tzinfo=UTC) + timedelta(
        days=chance.randrange(days), seconds=chance.randrange(86_400)
    )
