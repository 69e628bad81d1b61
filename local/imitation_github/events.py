"""What people do: streams of events, newest first, as GitHub's event endpoints tell them since October 2025."""

import hashlib
import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from local.imitation_github.objects import (
    Json,
    View,
    account_summary,
    node_id,
    repository_summary,
    timestamp,
)
from local.imitation_github.pulse import last_turn
from local.imitation_github.world import INACTIVE_LOGIN, Account, Repository, World, draw

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
        return str(20_000_000_000 + int(self.at.timestamp() - 1_767_225_600) * 1000 + int(self.luck * 1000))


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


def event(view: View, deed: Deed) -> Json:
    """The event as JSON."""
    owner = deed.repository.owner
    told: Json = {
        "id": deed.id,
        "type": deed.type,
        "actor": {
            "id": deed.actor.id,
            "login": deed.actor.login,
            "display_login": deed.actor.login,
            "gravatar_id": "",
            "url": f"{view.base}/users/{deed.actor.login}",
            "avatar_url": f"{view.base}/avatars/u/{deed.actor.id}?",
        },
        "repo": {
            "id": deed.repository.id,
            "name": deed.repository.full_name,
            "url": f"{view.base}/repos/{deed.repository.full_name}",
        },
        "payload": _payload(view, deed),
        "public": not deed.repository.private,
        "created_at": timestamp(deed.at),
    }
    if owner.type == "Organization":
        told["org"] = {
            "id": owner.id,
            "login": owner.login,
            "gravatar_id": "",
            "url": f"{view.base}/orgs/{owner.login}",
            "avatar_url": f"{view.base}/avatars/u/{owner.id}?",
        }
    return told


def _payload(view: View, deed: Deed) -> Json:
    luck = deed.luck
    branch = f"feature-{int(luck * 900)}"
    match deed.type:
        case "PushEvent":
            return {
                "repository_id": deed.repository.id,
                "push_id": int(luck * 10**10),
                "ref": f"refs/heads/{deed.repository.default_branch}",
                "head": _sha(luck, "head"),
                "before": _sha(luck, "before"),
            }
        case "CreateEvent":
            kind = ("branch", "branch", "tag", "repository")[int(draw(luck, "ref") * 4)]
            return {
                "ref": None if kind == "repository" else branch if kind == "branch" else f"v0.{int(luck * 90)}.0",
                "ref_type": kind,
                "master_branch": deed.repository.default_branch,
                "description": deed.repository.description,
                "pusher_type": "user",
            }
        case "DeleteEvent":
            return {"ref": branch, "ref_type": "branch", "pusher_type": "user"}
        case "WatchEvent":
            return {"action": "started"}
        case "ForkEvent":
            fork = repository_summary(view, deed.repository)
            fork |= {"owner": account_summary(view, deed.actor), "fork": True, "public": True}
            return {"action": "forked", "forkee": fork | {"full_name": f"{deed.actor.login}/{deed.repository.name}"}}
        case "PullRequestEvent":
            action = ("opened", "closed", "reopened", "merged")[int(draw(luck, "action") * 4)]
            pull = _pull_request(view, deed)
            return {"action": action, "number": pull["number"], "pull_request": pull}
        case "PullRequestReviewEvent":
            return {
                "action": "created",
                "review": _comment(view, deed, "pulls"),
                "pull_request": _pull_request(view, deed),
            }
        case "PullRequestReviewCommentEvent":
            return {
                "action": "created",
                "comment": _comment(view, deed, "pulls"),
                "pull_request": _pull_request(view, deed),
            }
        case "IssuesEvent":
            return {
                "action": ("opened", "closed", "reopened")[int(draw(luck, "action") * 3)],
                "issue": _issue(view, deed),
            }
        case "IssueCommentEvent":
            return {"action": "created", "issue": _issue(view, deed), "comment": _comment(view, deed, "issues")}
        case "CommitCommentEvent":
            return {"comment": _comment(view, deed, "commits")}
        case "DiscussionEvent":
            return {"action": "created", "discussion": _issue(view, deed)}
        case "MemberEvent":
            return {"action": "added", "member": account_summary(view, deed.actor)}
        case "ReleaseEvent":
            return {"action": "published", "release": release(view, deed.repository, int(luck * 30) + 1, deed.at)}
        case "GollumEvent":
            return {"pages": [{"page_name": "Home", "title": "Home", "summary": None, "action": "edited"}]}
        case _:
            return {}


def release(view: View, repository: Repository, number: int, at: datetime) -> Json:
    """One release."""
    author = next(iter(repository.contributors), repository.owner)
    url, tag = f"{view.base}/repos/{repository.full_name}", f"v0.{number}.0"
    known = repository.id * 100 + number
    return {
        "url": f"{url}/releases/{known}",
        "assets_url": f"{url}/releases/{known}/assets",
        "upload_url": f"{url}/releases/{known}/assets{{?name,label}}",
        "html_url": f"{view.base}/{repository.full_name}/releases/tag/{tag}",
        "id": known,
        "author": account_summary(view, author),
        "node_id": node_id("Release", known),
        "tag_name": tag,
        "target_commitish": repository.default_branch,
        "name": tag if number % 3 else None,
        "draft": False,
        "immutable": False,
        "prerelease": number % 5 == 0,
        "created_at": timestamp(at),
        "updated_at": timestamp(at),
        "published_at": timestamp(at),
        "assets": [],
        "tarball_url": f"{url}/tarball/{tag}",
        "zipball_url": f"{url}/zipball/{tag}",
        "body": f"## What's changed\n\n- Fix #{number}\n- 修复若干问题 🐛" if number % 4 else None,
    }


def _pull_request(view: View, deed: Deed) -> Json:
    number = 1 + int(deed.luck * 3000)
    url = f"{view.base}/repos/{deed.repository.full_name}"
    place = {"id": deed.repository.id, "url": url, "name": deed.repository.name}
    return {
        "url": f"{url}/pulls/{number}",
        "id": 1_300_000_000 + number,
        "number": number,
        "head": {"ref": f"feature-{number}", "sha": _sha(deed.luck, "pull"), "repo": place},
        "base": {"ref": deed.repository.default_branch, "sha": _sha(deed.luck, "base"), "repo": place},
    }


def _issue(view: View, deed: Deed) -> Json:
    number = 1 + int(deed.luck * 3000)
    url = f"{view.base}/repos/{deed.repository.full_name}/issues/{number}"
    return {
        "url": url,
        "repository_url": f"{view.base}/repos/{deed.repository.full_name}",
        "labels_url": f"{url}/labels{{/name}}",
        "comments_url": f"{url}/comments",
        "events_url": f"{url}/events",
        "html_url": f"{view.base}/{deed.repository.full_name}/issues/{number}",
        "id": 1_600_000_000 + number,
        "node_id": node_id("Issue", number),
        "number": number,
        "title": ("It crashes when nobody looks", "支持暗黑模式 🌙", "Docs: say what <T> is")[number % 3],
        "user": account_summary(view, deed.actor),
        "labels": [],
        "state": "open",
        "locked": False,
        "assignee": None,
        "assignees": [],
        "milestone": None,
        "comments": number % 9,
        "created_at": timestamp(deed.at),
        "updated_at": timestamp(deed.at),
        "closed_at": None,
        "author_association": "CONTRIBUTOR",
        "active_lock_reason": None,
        "body": None if number % 4 == 0 else "See the title.",
        "reactions": _reactions(url),
        "timeline_url": f"{url}/timeline",
        "performed_via_github_app": None,
        "state_reason": None,
    }


def _comment(view: View, deed: Deed, place: str) -> Json:
    number = 1 + int(deed.luck * 3000)
    url = f"{view.base}/repos/{deed.repository.full_name}/{place}/comments/{number}"
    issue = f"{view.base}/repos/{deed.repository.full_name}/{place}/{number}"
    return {
        "url": url,
        "html_url": f"{view.base}/{deed.repository.full_name}/{place}/{number}#comment-{number}",
        "issue_url": issue,
        "id": 1_500_000_000 + number,
        "node_id": node_id("Comment", number),
        "user": account_summary(view, deed.actor),
        "created_at": timestamp(deed.at),
        "updated_at": timestamp(deed.at),
        "author_association": "CONTRIBUTOR",
        "body": "Works for me :+1:",
        "reactions": _reactions(url),
        "performed_via_github_app": None,
    }


def _reactions(url: str) -> dict[str, Any]:
    kinds = ("+1", "-1", "laugh", "hooray", "confused", "heart", "rocket", "eyes")
    return {"url": f"{url}/reactions", "total_count": 0, **dict.fromkeys(kinds, 0)}


def _sha(luck: float, what: str) -> str:
    return hashlib.sha1(f"{luck}{what}".encode(), usedforsecurity=False).hexdigest()
