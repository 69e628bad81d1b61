"""What may be searched for: everything that GitHub would refuse is refused before it costs a call."""

from collections.abc import Collection

from github_client.rest import LAST_SEARCH_PAGE, SEARCH_QUERY_LIMIT_CHARACTERS
from service_kit.errors import UnprocessableParameter
from service_kit.query import Query

REPOSITORY_SORTS = ("stars", "forks", "help-wanted-issues", "updated")
DEVELOPER_SORTS = ("followers", "repositories", "joined")
BEST_MATCH = "best-match"


def search_parameters(query: Query, text_parameter: str) -> dict[str, str | int]:
    """GitHub's `q` and `page`. Raises InvalidParameter and UnprocessableParameter."""
    text = query.required(text_parameter)
    if len(text) > SEARCH_QUERY_LIMIT_CHARACTERS:
        raise UnprocessableParameter(
            text_parameter, f"is longer than the {SEARCH_QUERY_LIMIT_CHARACTERS} characters that GitHub takes."
        )
    return {"q": text, "page": query.page(most=LAST_SEARCH_PAGE)}


def order_parameters(query: Query, sorts: Collection[str]) -> dict[str, str | int]:
    """GitHub's `sort` and `order`; nothing for its best match. Raises UnprocessableParameter."""
    sort = query.choice("sort", (BEST_MATCH, *sorts), BEST_MATCH)
    order = query.choice("order", ("desc", "asc"), "desc")
    return {} if sort == BEST_MATCH else {"sort": sort, "order": order}
