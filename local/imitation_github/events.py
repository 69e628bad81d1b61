"""Deeds as JSON, the way GitHub's event endpoints tell them since October 2025: pushes without commits."""

import hashlib
from datetime import datetime
from typing import Any

from local.imitation_github.deeds import Deed
from local.imitation_github.objects import Json, View, account_summary, node_id, repository_summary, timestamp
from local.imitation_github.world import Repository, draw


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


def release_id(repository: Repository, number: int) -> int:
    """A release's id: grows with its number."""
    return repository.id * 100 + number


def release(view: View, repository: Repository, number: int, at: datetime) -> Json:
    """One release."""
    author = next(iter(repository.contributors), repository.owner)
    url, tag = f"{view.base}/repos/{repository.full_name}", f"v0.{number}.0"
    known = release_id(repository, number)
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
