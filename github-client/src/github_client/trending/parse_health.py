"""Whether the rows that were read from a page can be all that is there: plausibility against what such pages had.

GitHub changes its page without a word. A parser then finds less: no rows, or rows without stars. No fixed share tells
that from a quiet day (three rows without a language are nothing, eleven without stars are), the probability does.
Pure.
"""

from collections.abc import Mapping, Sequence
from math import exp, lgamma, log

import msgspec

from github_client.trending.page_key import PageKey, Section
from github_client.trending.stored import Baseline

IMPLAUSIBLE_FIELD = 1e-6
"""Degraded below this probability. A hundred pages six times an hour make 100,000 tests a day, most of equal rows."""
IMPLAUSIBLE_ROWS = 1e-4
"""For the number of rows, of which there is one test a page."""
UNREADABLE_SHARE = 0.05
"""Of rows that are not read, bots among them; none in the recorded pages."""
EMPTY_ACCEPTED_AFTER_SECONDS = 3600
"""GitHub shows a page empty for five seconds to a minute now and then; what says so for an hour is empty."""
FEW_ACCEPTED_AFTER_SECONDS = 86_400
"""GitHub's pages have gone from 25 rows to 11 to 20 before: what stays so for a day is how it is now."""

# Rows, and those with each field: the thirteen recorded pages of 2021 to 2026.
_RECORDED: Mapping[Section, tuple[int, Mapping[str, int]]] = {
    "repositories": (
        154,
        {
            "description": 149,
            "language": 148,
            "language_color": 148,
            "stars": 153,
            "forks": 152,
            "period_stars": 153,
            "built_by": 154,
        },
    ),
    "developers": (65, {"name": 65, "avatar_url": 65, "repository": 61}),
}
_ROWS_OF_A_WHOLE_PAGE = 17
"""Of all languages together, in 2026: 11 to 20."""
# One page's rows are of a kind, and from one snapshot to the next they are the same: many rows are little evidence.
_RECORDED_WEIGHT = 50.0
_WEIGHT_LIMIT: Mapping[str, float] = {"section": 200.0, "page": 100.0}
_ONE_FOR_ALL = frozenset({"language", "language_color"})
"""On a page of one language every row has these, or (no known language, one without a colour) none."""


class Verdict(msgspec.Struct, frozen=True):
    """Whether a parse may be served as what GitHub shows; `reasons` say why not."""

    reasons: tuple[str, ...] = ()
    accepted_after_seconds: int | None = None
    """What fails in the number of its rows alone is taken for true once it has stayed so for this long."""

    @property
    def is_good(self) -> bool:
        """No reason against it."""
        return not self.reasons


def filled(section: Section, rows: Sequence[object]) -> dict[str, int]:
    """How many of the rows have each field that is judged."""
    return {field: sum(getattr(row, field) not in (None, ()) for row in rows) for field in _RECORDED[section][1]}


def judge(
    key: PageKey, rows: int, found: Mapping[str, int], unreadable_rows: int, baselines: Sequence[Baseline]
) -> Verdict:
    """Judge a parse of `rows` rows, of which `found` says how many have each field, against earlier good ones.

    Of `baselines` there is at most one of each scope; a fresh install has none, and goes by what was recorded.
    """
    page = next((each for each in baselines if each.scope == "page" and each.snapshots), None)
    reasons = []
    total = rows + unreadable_rows
    if _binomial_tail(unreadable_rows, total, UNREADABLE_SHARE) < IMPLAUSIBLE_FIELD:
        reasons.append(f"{unreadable_rows} of {total} rows cannot be read.")
    for field, count in found.items():
        with_it, without_it = _expected(key, field, baselines)
        if _beta_binomial_tail(count, rows, with_it, without_it) < IMPLAUSIBLE_FIELD:
            usual = with_it / (with_it + without_it)
            reasons.append(f"{count} of {rows} rows have {field}; {usual:.0%} is usual.")
    if reasons:
        return Verdict(tuple(reasons))
    usual_rows = _usual_rows(key, page)
    if rows == 0 and usual_rows >= 1:
        return Verdict((f"It is empty; {usual_rows:.0f} rows are usual.",), EMPTY_ACCEPTED_AFTER_SECONDS)
    if page is not None and _poisson_tail(rows, usual_rows) < IMPLAUSIBLE_ROWS:
        return Verdict((f"It has {rows} rows; {usual_rows:.0f} are usual.",), FEW_ACCEPTED_AFTER_SECONDS)
    return Verdict()


def _usual_rows(key: PageKey, page: Baseline | None) -> float:
    if page is not None:
        return page.rows / page.snapshots
    return 0 if key.language_slug or key.spoken_language_code else _ROWS_OF_A_WHOLE_PAGE


def _expected(key: PageKey, field: str, baselines: Sequence[Baseline]) -> tuple[float, float]:
    """Pseudo-counts of rows with and without the field: half a row each way, the recorded ones, the stored ones."""
    with_it = without_it = 0.5
    page_alone = bool(key.language_slug) and field in _ONE_FOR_ALL
    evidence = [] if page_alone else [(_RECORDED_WEIGHT, *_recorded(key.section, field))]
    evidence += [
        (_WEIGHT_LIMIT[each.scope], each.rows, each.filled.get(field, 0))
        for each in baselines
        if each.scope == "page" or not page_alone
    ]
    for limit, rows, count in evidence:
        weight = min(1.0, limit / rows) if rows else 0.0
        with_it += weight * count
        without_it += weight * (rows - count)
    return with_it, without_it


def _recorded(section: Section, field: str) -> tuple[int, int]:
    rows, counts = _RECORDED[section]
    return rows, counts[field]


def _beta_binomial_tail(most: int, trials: int, alpha: float, beta: float) -> float:
    """P(X <= most) where the share itself is uncertain as Beta(alpha, beta)."""

    def log_beta(a: float, b: float) -> float:
        return lgamma(a) + lgamma(b) - lgamma(a + b)

    if most >= trials:
        return 1.0
    return sum(
        exp(_log_choose(trials, count) + log_beta(count + alpha, trials - count + beta) - log_beta(alpha, beta))
        for count in range(most + 1)
    )


def _binomial_tail(least: int, trials: int, share: float) -> float:
    """P(X >= least)."""
    return sum(
        exp(_log_choose(trials, count) + count * log(share) + (trials - count) * log(1 - share))
        for count in range(least, trials + 1)
    )


def _poisson_tail(most: int, mean: float) -> float:
    """P(X <= most)."""
    if mean <= 0:
        return 1.0
    return sum(exp(count * log(mean) - mean - lgamma(count + 1)) for count in range(most + 1))


def _log_choose(trials: int, count: int) -> float:
    return lgamma(trials + 1) - lgamma(count + 1) - lgamma(trials - count + 1)
