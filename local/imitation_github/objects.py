"""GitHub's JSON objects: accounts and repositories with all their keys, as recorded in 2025."""

import base64
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from local.imitation_github.credentials import Caller
from local.imitation_github.pulse import pushed_at, stars_at, updated_at
from local.imitation_github.world import Account, Repository, World

Json = dict[str, Any]

_ACCOUNT_LINKS = {
    "followers_url": "followers",
    "following_url": "following{/other_user}",
    "gists_url": "gists{/gist_id}",
    "starred_url": "starred{/owner}{/repo}",
    "subscriptions_url": "subscriptions",
    "organizations_url": "orgs",
    "repos_url": "repos",
    "events_url": "events{/privacy}",
    "received_events_url": "received_events",
}
_REPOSITORY_LINKS = {
    "forks_url": "forks",
    "keys_url": "keys{/key_id}",
    "collaborators_url": "collaborators{/collaborator}",
    "teams_url": "teams",
    "hooks_url": "hooks",
    "issue_events_url": "issues/events{/number}",
    "events_url": "events",
    "assignees_url": "assignees{/user}",
    "branches_url": "branches{/branch}",
    "tags_url": "tags",
    "blobs_url": "git/blobs{/sha}",
    "git_tags_url": "git/tags{/sha}",
    "git_refs_url": "git/refs{/sha}",
    "trees_url": "git/trees{/sha}",
    "statuses_url": "statuses/{sha}",
    "languages_url": "languages",
    "stargazers_url": "stargazers",
    "contributors_url": "contributors",
    "subscribers_url": "subscribers",
    "subscription_url": "subscription",
    "commits_url": "commits{/sha}",
    "git_commits_url": "git/commits{/sha}",
    "comments_url": "comments{/number}",
    "issue_comment_url": "issues/comments{/number}",
    "contents_url": "contents/{+path}",
    "compare_url": "compare/{base}...{head}",
    "merges_url": "merges",
    "archive_url": "{archive_format}{/ref}",
    "downloads_url": "downloads",
    "issues_url": "issues{/number}",
    "pulls_url": "pulls{/number}",
    "milestones_url": "milestones{/number}",
    "notifications_url": "notifications{?since,all,participating}",
    "labels_url": "labels{/name}",
    "releases_url": "releases{/id}",
    "deployments_url": "deployments",
}


@dataclass(frozen=True, slots=True)
class View:
    """Who looks at the world, when, and under which address (`http://host:port`) they reached it."""

    world: World
    base: str
    now: datetime
    caller: Caller

    def may_see(self, repository: Repository) -> bool:
        """Public ones are for all, private ones for a token that owns them."""
        return not repository.private or self.caller.owns(repository.owner)


def timestamp(moment: datetime) -> str:
    """A moment as GitHub writes it: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def node_id(kind: str, number: int) -> str:
    """The id of GraphQL, in its older form."""
    return base64.b64encode(f"0{len(kind)}:{kind}{number}".encode()).decode()


def account_summary(view: View, account: Account) -> Json:
    """An account as it stands inside of other objects, and as an item of a search (without its score)."""
    url = f"{view.base}/users/{account.login}"
    return {
        "login": account.login,
        "id": account.id,
        "node_id": node_id(account.type, account.id),
        "avatar_url": f"{view.base}/avatars/u/{account.id}?v=4",
        "gravatar_id": "",
        "url": url,
        "html_url": f"{view.base}/{account.login}",
        **{key: f"{url}/{path}" for key, path in _ACCOUNT_LINKS.items()},
        "type": account.type,
        "user_view_type": "public",
        "site_admin": False,
    }


def account_full(view: View, account: Account) -> Json:
    """A profile. Its e-mail address is for those who are signed in."""
    public = [repository for repository in view.world.owned_by(account) if not repository.private]
    return {
        **account_summary(view, account),
        "name": account.name,
        "company": account.company,
        "blog": account.blog,
        "location": account.location,
        "email": account.email if view.caller.is_signed_in else None,
        "hireable": None,
        "bio": account.bio,
        "twitter_username": None,
        "public_repos": len(public),
        "public_gists": account.id % 7,
        "followers": account.followers,
        "following": account.following,
        "created_at": timestamp(account.created_at),
        "updated_at": timestamp(account_updated_at(view, account)),
    }


def account_private(view: View, account: Account) -> Json:
    """One's own profile, for a token with the scope `user`."""
    private = [repository for repository in view.world.owned_by(account) if repository.private]
    return {
        **account_full(view, account),
        "user_view_type": "private",
        "notification_email": account.email,
        "private_gists": 0,
        "total_private_repos": len(private),
        "owned_private_repos": len(private),
        "disk_usage": 4096,
        "collaborators": 0,
        "two_factor_authentication": True,
        "plan": {"name": "free", "space": 976562499, "collaborators": 0, "private_repos": 10000},
    }


def account_updated_at(view: View, account: Account) -> datetime:
    """When its newest repository was last pushed to."""
    pushes = (pushed_at(one, view.now) for one in view.world.owned_by(account) if not one.private)
    return max(pushes, default=account.created_at)


def repository_summary(view: View, repository: Repository) -> Json:
    """A repository as an item of a search, without its score."""
    url = f"{view.base}/repos/{repository.full_name}"
    web = f"{view.base}/{repository.full_name}"
    host = view.base.partition("://")[2]
    stars = stars_at(repository, view.now)
    shown: Json = {
        "id": repository.id,
        "node_id": node_id("Repository", repository.id),
        "name": repository.name,
        "full_name": repository.full_name,
        "private": repository.private,
        "owner": account_summary(view, repository.owner),
        "html_url": web,
        "description": repository.description,
        "fork": repository.fork,
        "url": url,
        **{key: f"{url}/{path}" for key, path in _REPOSITORY_LINKS.items()},
        "created_at": timestamp(repository.created_at),
        "updated_at": timestamp(updated_at(repository, view.now)),
        "pushed_at": timestamp(pushed_at(repository, view.now)),
        "git_url": f"git://{host}/{repository.full_name}.git",
        "ssh_url": f"git@{host}:{repository.full_name}.git",
        "clone_url": f"{web}.git",
        "svn_url": web,
        "homepage": repository.homepage,
        "size": repository.size_kib,
        "stargazers_count": stars,
        "watchers_count": stars,
        "language": repository.language,
        "has_issues": True,
        "has_projects": True,
        "has_downloads": True,
        "has_wiki": repository.id % 2 == 0,
        "has_pages": False,
        "has_discussions": repository.stars > 1000,
        "forks_count": repository.forks,
        "mirror_url": None,
        "archived": repository.archived,
        "disabled": False,
        "open_issues_count": repository.open_issues,
        "license": _license(view, repository),
        "allow_forking": True,
        "is_template": False,
        "web_commit_signoff_required": False,
        "topics": list(repository.topics),
        "visibility": "private" if repository.private else "public",
        "forks": repository.forks,
        "open_issues": repository.open_issues,
        "watchers": stars,
        "default_branch": repository.default_branch,
    }
    if view.caller.is_signed_in:
        administered = view.caller.owns(repository.owner)
        levels = ("admin", "maintain", "push", "triage")
        shown["permissions"] = {**dict.fromkeys(levels, administered), "pull": True}
    return shown


def repository_full(view: View, repository: Repository) -> Json:
    """A repository asked for by its name; those who administer it see its settings, too."""
    shown = repository_summary(view, repository)
    if view.caller.is_signed_in:
        shown["temp_clone_token"] = ""
    if view.caller.owns(repository.owner):
        shown |= {
            "allow_squash_merge": True,
            "allow_merge_commit": False,
            "allow_rebase_merge": False,
            "allow_auto_merge": False,
            "delete_branch_on_merge": True,
            "allow_update_branch": True,
            "use_squash_pr_title_as_default": True,
            "squash_merge_commit_message": "PR_BODY",
            "squash_merge_commit_title": "PR_TITLE",
            "merge_commit_message": "PR_TITLE",
            "merge_commit_title": "MERGE_MESSAGE",
            "security_and_analysis": {"secret_scanning": {"status": "disabled"}},
        }
    if repository.owner.type == "Organization":
        shown |= {"custom_properties": {}, "organization": account_summary(view, repository.owner)}
    return {**shown, "network_count": repository.forks, "subscribers_count": repository.subscribers}


def _license(view: View, repository: Repository) -> Json | None:
    if repository.license is None:
        return None
    key, name, spdx = repository.license
    url = None if key == "other" else f"{view.base}/licenses/{key}"
    return {"key": key, "name": name, "spdx_id": spdx, "url": url, "node_id": node_id("License", len(key))}
