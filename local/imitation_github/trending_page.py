"""github.com/trending in the markup of 2026: the rows, or the word that there are none."""

import re
from datetime import datetime
from functools import cache
from html import escape
from urllib.parse import quote

from local.imitation_github import languages, pulse
from local.imitation_github.frame import PERIODS, Asked, framed
from local.imitation_github.markup import icon, tracked
from local.imitation_github.words import BOTS
from local.imitation_github.world import Account, Repository, World, draw

_HEART = "heart icon-sponsor mr-0 tmp-mr-0 mr-md-1 tmp-mr-md-1 v-align-middle color-fg-sponsors anim-pulse-in"
_CLASS = re.compile(r'class="([^"]*)"')


def page(world: World, asked: Asked, base: str, now: datetime, fault: str | None = None) -> str:
    """The whole page. A fault leaves the rows out, renames every class, or leaves every count out."""
    rows = [] if fault == "empty_trending" else _rows(world, asked, base, now, has_counts=fault != "no_stars")
    if not rows and fault != "empty_trending":
        rows = [_nothing(asked)]
    whole = framed(asked, "\n".join(rows))
    if fault == "renamed_classes":
        whole = _CLASS.sub(lambda found: f'class="{" ".join(map(_renamed, found[1].split()))}"', whole)
    return whole


def _rows(world: World, asked: Asked, base: str, now: datetime, *, has_counts: bool) -> list[str]:
    if asked.slug is not None and asked.language is None:
        return []
    if asked.section:
        found = pulse.trending_developers(world, asked.since, asked.language, now)
        return [_developer(base, rank, who, popular) for rank, (who, popular) in enumerate(found, 1)]
    trending = pulse.trending_repositories(world, asked.since, asked.language, asked.spoken, now)
    return [
        _repository(base, asked, repository, pulse.stars_at(repository, now), gain, has_counts=has_counts)
        for repository, gain in trending
    ]


def _repository(base: str, asked: Asked, repository: Repository, stars: int, gain: int, *, has_counts: bool) -> str:
    name, owner = repository.full_name, repository.owner.login
    # Recorded: on pages of one spoken language some rows have no count at all.
    is_bare = asked.spoken is not None and draw(repository.id, "bare") < 0.06
    sponsor = (
        f"""
      <a href="/sponsors/{owner}" aria-label="Sponsor @{owner}"{tracked("sponsors.button_click", owner)} \
data-view-component="true" class="Button--secondary Button--small Button mr-2 tmp-mr-2">  <span class="Button-content">
    <span class="Button-label">{icon(_HEART)}
    <span class="d-none d-md-inline v-align-middle">
      Sponsor
    </span></span>
  </span>
</a>
"""
        if draw(owner, "sponsors") < 0.3
        else ""
    )
    description = (
        f"""
    <p class="col-9 color-fg-muted my-1 tmp-pr-4">
      {escape(repository.description)}
    </p>
"""
        if repository.description
        else ""
    )
    counts = (
        f"""
      <a href="/{name}/stargazers" data-view-component="true" class="tmp-mr-3 Link Link--muted d-inline-block">\
{icon("star", "star")}
        {stars:,}</a>
      <a href="/{name}/forks" data-view-component="true" class="tmp-mr-3 Link Link--muted d-inline-block">\
{icon("repo-forked", "fork")}
        {repository.forks:,}</a>"""
        if has_counts and not is_bare
        else ""
    )
    period = (
        f"""
      <span data-view-component="true" class="d-inline-block float-sm-right">
        {icon("star")}
        {gain:,} {"star" if gain == 1 else "stars"} {PERIODS[asked.since]}
</span>"""
        if has_counts and not is_bare
        else ""
    )
    return f"""          <article class="Box-row">
  <div class="float-right d-flex">
{sponsor}
      <div data-view-component="true" class="BtnGroup d-flex">
        <a href="/login?return_to=%2F{quote(name, safe="")}" rel="nofollow"{tracked("authentication.click", name)} \
aria-label="You must be signed in to star a repository" data-view-component="true" \
class="tooltipped tooltipped-sw btn-sm btn">    \
{icon("star v-align-text-bottom d-none d-md-inline-block mr-2 tmp-mr-2")}\
{icon("star mr-0 tmp-mr-0 v-align-text-bottom d-inline-block d-md-none")}
        <span data-view-component="true" class="d-none d-md-inline">
          Star
</span>
</a></div>
  </div>

  <h2 class="h3 lh-condensed">
    <a{tracked("explore.click", name)} href="/{name}" data-view-component="true" class="Link">\
{icon("repo mr-1 tmp-mr-1 color-fg-muted")}

      <span data-view-component="true" class="text-normal">
        {owner} /
</span>
      {repository.name}</a>  </h2>

{description}
  <div class="f6 color-fg-muted mt-2">{_language(repository)}
{counts}
{_built_by(base, repository)}{period}
  </div>
</article>
"""


def _language(repository: Repository) -> str:
    if not repository.language:
        return ""
    color = languages.colors().get(repository.language) or "#ededed"
    return f"""
      <span class="tmp-mr-3 d-inline-block ml-0 tmp-ml-0">
  <span class="repo-language-color" style="background-color: {color}"></span>
  <span itemprop="programmingLanguage">{escape(repository.language)}</span>
</span>
"""


def _built_by(base: str, repository: Repository) -> str:
    built = [
        f"""<a class="d-inline-block"{tracked("explore.click", who.login)} data-hovercard-type="user" \
data-hovercard-url="/users/{who.login}/hovercard" data-octo-click="hovercard-link-click" \
data-octo-dimensions="link_type:self" href="/{who.login}"><img class="avatar mb-1 avatar-user" \
src="{base}/avatars/u/{who.id}?s=40&amp;v=4" width="20" height="20" alt="@{who.login}" /></a>"""
        for who in repository.contributors
    ]
    if bot := repository.bot:
        built.append(
            f"""<a class="d-inline-block"{tracked("explore.click", bot)} href="/apps/{bot}">\
<img class="avatar mb-1" src="{base}/avatars/in/{BOTS.index(bot)}?s=40&amp;v=4" width="20" height="20" \
alt="@{bot}" /></a>"""
        )
    if not built:
        return ""
    lines = "\n          ".join(built)
    return f"""      <span data-view-component="true" class="tmp-mr-3 d-inline-block">
        Built by

          {lines}
</span>"""


def _developer(base: str, rank: int, who: Account, popular: Repository | None) -> str:
    login = who.login
    below = (
        f"""
          <p class="f4 text-normal mb-1">
            <a{tracked("explore.click", login)} href="/{login}" data-view-component="true" class="Link--secondary Link">
              {login}
</a>          </p>"""
        if who.name
        else ""
    )
    repository = (
        f"""
          <div class="mt-2 mb-3 my-md-0">
            <article>
  <div class="f6 color-fg-muted text-uppercase mb-1">{icon("flame mr-1 tmp-mr-1 color-fg-severe")}Popular repo</div>
  <h1 class="h4 lh-condensed">
    <a style="max-width: 175px;"{tracked("explore.click", popular.full_name)} href="/{popular.full_name}" \
data-view-component="true" class="css-truncate css-truncate-target Link">
        {icon("repo color-fg-muted mr-1 tmp-mr-1")}
      {popular.name}
</a>  </h1>
    <div class="f6 color-fg-muted mt-1">
      {escape(popular.description or "")}
    </div>
</article>

          </div>"""
        if popular
        else ""
    )
    return f"""          <article class="Box-row d-flex" id="pa-{login}">
  <a style="width: 16px;" text="center" href="#pa-{login}" data-view-component="true" class="color-fg-muted f6 Link">
    {rank}
</a>
  <div class="tmp-mx-3">
    <a{tracked("explore.click", login)} href="/{login}" data-view-component="true" class="Link">
      <img class="rounded avatar-user" src="{base}/avatars/u/{who.id}?s=96&amp;v=4" width="48" height="48" \
alt="@{login}" />
</a>  </div>

  <div class="d-sm-flex flex-auto">
    <div class="col-sm-8 d-md-flex">
      <div class="col-md-6">
        <h1 class="h3 lh-condensed">
          <a{tracked("explore.click", login)} href="/{login}" data-view-component="true" class="Link">
            {escape(who.name or login)}
</a>        </h1>
{below}
      </div>

      <div class="col-md-6">{repository}
      </div>
    </div>

    <div class="col-sm-4 d-flex flex-sm-justify-end ml-sm-3">
      <div class="user-profile-following-container">
        <div class="user-following-container">
  <span class="user-following-container">
    <span class="follow d-block">
      <a class="btn btn-sm btn-block"{tracked("authentication.click", login)} \
href="/login?return_to=https%3A%2F%2Fgithub.com%2Ftrending%2Fdevelopers">Follow</a>
    </span>
  </span>
        </div>
      </div>
    </div>
  </div>
</article>
"""


def _nothing(asked: Asked) -> str:
    what = "your choices" if asked.spoken else escape(asked.language or asked.slug or "your choices")
    return f"""          <div class="blankslate">{icon("flame blankslate-icon")}
  <h3 class="blankslate-heading">It looks like we don’t have any trending {asked.kind} for {what}.</h3>
  <p>If you create a {what} repository, you can really own the place. We’d even let it slide if you started calling
  yourself the mayor.</p>
</div>
"""


@cache
def _renamed(name: str) -> str:
    return f"r-{int(draw(name, 'class') * 16**8):08x}"
