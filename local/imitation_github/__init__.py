"""An imitation of GitHub, for a demo without a network and for tests: the API and the trending pages on one port.

GITHUB_API_URL and GITHUB_WEB_URL are both its address, http://HOST:PORT. All that it shows is made up from a seed;
what changes (stars, events, what trends) follows from the clock alone. Its links lead back to the name that it was
reached by. It answers as GitHub does: weak ETags that depend on the caller and 304s that cost nothing, `Link` in
GitHub's forms, 60 or 5,000 requests an hour and 10 or 30 searches a minute, renamed (301), private and missing
repositories, README variants, 1,000 search results, at most 300 events, trending pages with their menu or the word
that there is nothing.

It knows the tokens in `local.imitation_github.credentials`. Among its repositories are, for certain:

  mira-tallow/lantern       plain; its former name mira-tallow/old-lantern is answered with 301
  lantern-labs/kettle       an organisation's; once tin-works/kettle
  mira-tallow/private-ledger, lantern-labs/private-plans   private, seen with OWNER_TOKEN only
  tobin-varga/no-readme, tobin-varga/large-readme, tobin-varga/restructured (readme.rst),
  liuyunhe/docs-readme (docs/README.md), liuyunhe/plain-readme (README, archived), liuyunhe/.github

It is steered over HTTP; these paths are neither logged nor limited:

  GET    /_imitation/requests  what was asked, oldest first: at, method, path, query, identity (`anonymous`,
                               `user:LOGIN`, `app:ID`, `bad credentials`; `unread` where nobody looked; never a token),
                               accept, conditional, fault, status (null while unanswered, or after a reset)
  DELETE /_imitation/requests  forget them
  DELETE /_imitation/limits    let every caller's budget begin afresh
  GET    /_imitation/faults    the faults, with how often each was met
  POST   /_imitation/faults    add one: {"match": "/repos/", "kind": "status", "status": 503, "count": 2}
  DELETE /_imitation/faults    clear them all; what a slow one holds up goes on at once
  POST   /_imitation/releases  publish a release: {"repository": "mira-tallow/lantern", "tag": "v9.0.0"}, and perhaps
                               "name", "body", "prerelease", "draft"

A fault has `kind`; `match`, a prefix of path and query, or a regular expression if it begins with ^ (default: all);
`count`, after which it ends (default: when cleared). The first one that fits happens, before anything is counted:

  status              `status` (502) with a JSON body
  slow                answers after `seconds` (3600)
  cut_body            half the body, then the connection ends
  html_body           `status` (503) with HTML labelled application/json
  reset               no answer: the connection is reset
  primary_limit       `status` (403), nothing remaining for `seconds` (60)
  secondary_limit     by `variant`: retry_after (429, `seconds`), retry_after_date (403), gh_limited_by (403, requests
                      remain), no_retry_after (429), body_only (403), abuse (403, no rate-limit headers)
  incomplete_results  a search that says it did not finish
  empty_trending      a trending page with neither rows nor the word that there are none
  renamed_classes     a trending page whose every class is another one
  no_stars            a trending page without counts
"""

from local.imitation_github.app import make_app

__all__ = ["make_app"]
