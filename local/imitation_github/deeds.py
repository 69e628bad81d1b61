"""What people do: streams of deeds, newest first, each the same whenever it is looked at."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from local.imitation_github.objects import View
from local.imitation_github.pulse import last_turn
from local.imitation_github.world import EPOCH, INACTIVE_LOGIN, Account, Repository, World, draw

LIMIT = 300
LONGEST = timedelta(days=30)
LATENCY = timedelta(minutes=5)
"""GitHub tells of nothing sooner."""
_OWN = [
    *["PushEvent"] * 34,
    *["CreateEvent"] * 10,
    *["DeleteEvent"] * 3,
    *["ReleaseEvent"] * 3,
    *("MemberEvent", "PublicEvent", "GollumEvent"),
]
_OTHERS = [
    *["WatchEvent"] * 14,
    *["PullRequestEvent"] * 10,
    *["IssueCommentEvent"] * 9,
    *["IssuesEvent"] * 5,
    *["ForkEvent", "PullRequestReviewEvent"] * 4,
    *["PullRequestReviewCommentEvent"] * 2,
    *("CommitCommentEvent", "DiscussionEvent"),
]


@dataclass(frozen=True, slots=True)
class Deed:
    """Something that somebody did; `luck`, from 0 to 1, decides what the payload says."""

    at: datetime
    actor: Account
    repository: Repository
    type: str
    luck: float

    @property
    def id(self) -> str:
        """Grows with time."""
        return str(20_000_000_000 + int((self.at - EPOCH).total_seconds()) * 1000 + int(self.luck * 1000))


def done_by(view: View, account: Account) -> list[Deed]:
    """What an account did, as far as the caller may know it: at most 300 deeds of at most 30 days."""
    return list(islice(_visible(view, _stream(view.world, account, view.now)), LIMIT))


def received_by(view: View, account: Account) -> list[Deed]:
    """What those whom an account follows did, and what happened in its own private repositories."""
    streams = [_stream(view.world, one, view.now) for one in view.world.followed_by(account)]
    if view.caller.owns(account):
        streams.append(deed for deed in _stream(view.world, account, view.now) if deed.repository.private)
    merged = heapq.merge(*streams, key=lambda deed: (deed.at, deed.luck), reverse=True)
    return list(islice(_visible(view, merged), LIMIT))


def _visible(view: View, deeds: Iterator[Deed]) -> Iterator[Deed]:
    # Each sees their own private deeds, and those in what they own.
    return (deed for deed in deeds if view.may_see(deed.repository))


def _stream(world: World, account: Account, now: datetime) -> Iterator[Deed]:
    """All deeds of 30 days, newest first; each stays what it is as time goes on."""
    if account.login == INACTIVE_LOGIN:
        return
    turn = timedelta(seconds=int(5400 + draw(account.login, "pace") * 70_000))
    own = [*world.owned_by(account)]
    start = last_turn(now - LATENCY, turn, draw(account.login, "phase"))
    while start > now - LONGEST:
        luck = draw(world.seed, account.login, start)
        at = (start - turn * draw(luck, "delay") * 0.9).replace(microsecond=0)
        if at > now - LONGEST:
            is_own = bool(own) and luck < 0.5
            repositories = own if is_own else world.repositories
            repository = repositories[int(draw(luck, "repository") * len(repositories))]
            kinds = _OWN if is_own else _OTHERS
            # What is private can be known of by its owner alone; somebody else is the actor elsewhere.
            if is_own or not repository.private:
                yield Deed(at, account, repository, kinds[int(draw(luck, "type") * len(kinds))], luck)
        start -= turn
