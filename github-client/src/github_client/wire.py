"""One GET of GitHub's REST API on the wire: headers, redirects on the same origin, limits of time and size."""

import asyncio

import aiohttp
from yarl import URL

from github_client.credentials import Credential
from service_kit.client import Reply, fetch
from service_kit.errors import UpstreamFault

API_VERSION = "2022-11-28"
USER_AGENT = "WeGit/0.1 (mini-program back end)"
BODY_LIMIT_BYTES = 8 * 1024 * 1024
REDIRECT_LIMIT = 3


async def ask(
    session: aiohttp.ClientSession, url: URL, credential: Credential, accept: str, deadline: float, etag: str | None
) -> Reply:
    """The answer: 2xx, or 304 if `etag` was given. `deadline` is of the event loop's clock.

    GitHub answers 301 for a renamed repository, and the ETag is the final answer's. Raises UpstreamStatus (400 and
    more), UpstreamFault and its kin.
    """
    headers = {"Accept": accept, "X-GitHub-Api-Version": API_VERSION, "User-Agent": USER_AGENT, **credential.headers()}
    if etag is not None:
        headers["If-None-Match"] = etag
    origin = url.origin()
    for _ in range(REDIRECT_LIMIT + 1):
        reply = await fetch(
            session,
            "GET",
            url,
            headers=headers,
            timeout_seconds=deadline - asyncio.get_running_loop().time(),
            body_limit_bytes=BODY_LIMIT_BYTES,
            log_body=credential.kind != "caller",
        )
        if reply.status < 300 or (reply.status == 304 and etag is not None):
            return reply
        location = reply.headers.get("Location")
        if reply.status not in {301, 302, 307, 308} or not location:
            raise UpstreamFault(f"GitHub answered with an unexpected {reply.status}.")
        url = url.join(URL(location))
        if url.origin() != origin:
            raise UpstreamFault("GitHub redirected to another host.")
    raise UpstreamFault("GitHub redirected too often.")
