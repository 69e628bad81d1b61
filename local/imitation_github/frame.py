"""What stands around the rows of a trending page: what was asked for, the head, the menus."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from local.imitation_github import languages
from local.imitation_github.markup import icon
from local.imitation_github.pulse import Since
from local.imitation_github.words import SPOKEN_LANGUAGES

PERIODS: dict[Since, str] = {"daily": "today", "weekly": "this week", "monthly": "this month"}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a page is of. `language` is a name, "" for those without any, None for all; `slug` as it was asked for."""

    section: str
    """"" for repositories, "/developers" for developers."""
    since: Since
    slug: str | None = None
    language: str | None = None
    spoken: str | None = None

    @property
    def kind(self) -> str:
        """As the page calls its rows."""
        return "developers" if self.section else "repositories"

    def address(self, slug: str | None, since: str | None = None, spoken: str | None = None) -> str:
        """The path and query of a page like this one."""
        kept = spoken if spoken is not None else self.spoken
        query = f"since={since or self.since}" + (f"&amp;spoken_language_code={kept}" if kept else "")
        return f"/trending{self.section}{f'/{slug}' if slug else ''}?{query}"


def framed(asked: Asked, rows: str) -> str:
    """The whole page."""
    said = PERIODS[asked.since]
    subject = f"{escape(asked.language or '')} {asked.kind}".strip()
    spoken = "" if asked.section else _menu_of_spoken_languages(asked)
    return f"""<!DOCTYPE html>
<html lang="en" data-color-mode="auto" data-light-theme="light" data-dark-theme="dark">
  <head>
    <meta charset="utf-8">
    <meta name="description" content="GitHub is where people build software. All of this page is made up.">
    <title>Trending {subject} on GitHub {said} · GitHub</title>
  </head>
  <body class="logged-out env-production page-responsive">
    <div class="logged-out env-production page-responsive">
    <header class="HeaderMktg header-logged-out" role="banner">
      <a href="/" aria-label="Homepage">{icon("mark-github")}</a>
      <a href="/login?return_to=%2Ftrending" class="HeaderMenu-link">Sign in</a>
    </header>
<main>
<div class="color-bg-subtle border-bottom">
  <div class="container-lg p-responsive text-center tmp-py-6">
    <h1 class="h1">Trending</h1>

    <p class="f4 color-fg-muted col-md-6 mx-auto">
      See what the GitHub community is most excited about {said}.
    </p>
  </div>
</div>

<div class="position-relative container-lg p-responsive tmp-pt-6">
  <div class="Box">
    <div class="Box-header d-md-flex flex-items-center flex-justify-between">
      <nav class="subnav mb-0" aria-label="Trending" data-pjax>
  <a class="js-selected-navigation-item subnav-item" href="/trending">Repositories</a>
  <a class="js-selected-navigation-item subnav-item" href="/trending/developers">Developers</a>
</nav>
      <div class="d-sm-flex flex-items-center flex-md-justify-end tmp-mt-3 tmp-mt-md-0 table-list-header-toggle">
{spoken}
{_menu_of_languages(asked)}
{_menu_of_periods(asked)}
      </div>
    </div>

    <div data-hpc>
{rows}
    </div>
  </div>
</div>
</main>
    </div>
  </body>
</html>
"""


def _menu_of_languages(asked: Asked) -> str:
    items = [
        (name, asked.address(None if name == asked.language else languages.slug(name)), name == asked.language)
        for name in languages.colors()
    ]
    chosen = escape(asked.language or "Any")
    clear = f'<a role="menuitem" href="{asked.address(None)}" class="select-menu-item-text Link">Clear language</a>'
    return _menu("select-menu-language", "Language", chosen, clear, "languages-menuitems", items)


def _menu_of_spoken_languages(asked: Asked) -> str:
    slug = languages.slug(asked.language) if asked.language else asked.slug
    items = [(name, asked.address(slug, spoken=code), code == asked.spoken) for code, name in SPOKEN_LANGUAGES.items()]
    chosen = SPOKEN_LANGUAGES.get(asked.spoken or "", "Any")
    return _menu("select-menu-spoken-language", "Spoken Language", chosen, "", "text-filter-items", items)


def _menu_of_periods(asked: Asked) -> str:
    slug = languages.slug(asked.language) if asked.language else asked.slug
    items = [
        (said.capitalize(), f"https://github.com{asked.address(slug, since=since)}", since == asked.since)
        for since, said in PERIODS.items()
    ]
    return _menu("select-menu-date", "Date range", PERIODS[asked.since].capitalize(), "", "date-items", items)


def _menu(
    identity: str, title: str, chosen: str, clear: str, list_id: str, items: Sequence[tuple[str, str, bool]]
) -> str:
    lines = "          ".join(
        f"""<a aria-checked="{"true" if is_chosen else "false"}" data-pjax="" role="menuitemradio" href="{address}" \
data-view-component="true" class="select-menu-item Link">{icon("check select-menu-item-icon") if is_chosen else ""}\
<span data-menu-button-text="" data-view-component="true" class="select-menu-item-text">
              {escape(name)}
</span></a>"""
        for name, address, is_chosen in items
    )
    return f"""<details class="details-reset details-overlay select-menu select-menu-modal-right hx_rsm" \
id="{identity}">
    <summary data-view-component="true" class="select-menu-button btn-link">    {title}:

    <span data-menu-button="" data-view-component="true" class="text-bold">
        {chosen}
</span>
</summary>
  <details-menu class="select-menu-modal position-absolute right-0" style="z-index: 99;">
    <div class="select-menu-list" data-pjax id="{list_id}">
      {clear}
      <div data-filter-list>
          {lines}
      </div>
    </div>
  </details-menu>
</details>
"""
