"""Parameters that name things on GitHub: refused before anything is asked when GitHub could not have them."""

from aiohttp import web

from github_client.protocol import LOGIN, REPOSITORY_NAME
from service_kit.errors import InvalidParameter
from service_kit.query import Query


def login(parameter: str, value: str) -> str:
    """A user's or an organisation's name. Raises InvalidParameter."""
    if not LOGIN.fullmatch(value):
        raise InvalidParameter(parameter, "is not a name that a GitHub user or organisation could have.")
    return value


def repository_name(parameter: str, value: str) -> str:
    """A repository's name, without its owner. Raises InvalidParameter."""
    if not REPOSITORY_NAME.fullmatch(value):
        raise InvalidParameter(parameter, "is not a name that a GitHub repository could have.")
    return value


def repository_in_path(request: web.Request) -> tuple[str, str]:
    """Owner and name of a path `…/{owner}/{name}`. Raises InvalidParameter."""
    return login("owner", request.match_info["owner"]), repository_name("name", request.match_info["name"])


def repository_in_query(query: Query) -> tuple[str, str]:
    """Owner and name of a query `owner=&name=`. Raises InvalidParameter."""
    return login("owner", query.required("owner")), repository_name("name", query.required("name"))
