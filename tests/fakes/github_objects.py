"""GitHub's objects with the fields that we read."""

from typing import Any


def repository(**changes: Any) -> dict[str, Any]:
    """A public repository, made-up/sample."""
    return {
        "id": 70,
        "name": "sample",
        "full_name": "made-up/sample",
        "owner": {"login": "made-up", "avatar_url": "https://avatars.example/u/7"},
        "private": False,
        "html_url": "https://github.com/made-up/sample",
        "description": None,
        "fork": False,
        "stargazers_count": 1,
        "forks_count": 2,
        "open_issues_count": 3,
        "default_branch": "trunk",
        "created_at": "2024-01-02T03:04:05Z",
        "updated_at": "2026-11-20T00:00:00Z",
        **changes,
    }


def event(number: int, **changes: Any) -> dict[str, Any]:
    """A public event of made-up."""
    return {
        "id": str(number),
        "type": "WatchEvent",
        "actor": {"login": "made-up", "avatar_url": "https://avatars.example/u/7"},
        "repo": {"name": "made-up/sample"},
        "created_at": "2026-11-20T00:00:00Z",
        "public": True,
        **changes,
    }


def developer(**changes: Any) -> dict[str, Any]:
    """The user made-up."""
    return {
        "login": "made-up",
        "id": 7,
        "avatar_url": "https://avatars.example/u/7",
        "html_url": "https://github.com/made-up",
        "type": "User",
        "public_repos": 1,
        "followers": 2,
        "following": 3,
        "created_at": "2024-01-02T03:04:05Z",
        **changes,
    }
