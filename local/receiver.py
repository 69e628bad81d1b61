"""A webhook receiver to try notifications with: `python -m local.receiver` prints what comes, if its signature holds.

It shows what a receiver of one's own has to do: check the signature (Standard Webhooks, standardwebhooks.com), answer
the challenge, take a message that comes again for what it is, and answer 2xx soon.
"""

import argparse
import base64
import hmac
import json
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

PREFIX = "whsec_"
TOLERANCE_SECONDS = 300
"""A signature that is older may be somebody's copy of an old message."""
MOST_REMEMBERED = 10_000
"""Messages whose repetition is recognised."""


class NotAuthentic(Exception):
    """The message is not from whoever has the secret, or not from now; the text says why."""


def verify(headers: Mapping[str, str], body: bytes, secret: str, now: float) -> None:
    """Check a message's signature. `headers` do not care for case; `now` is Unix time. Raises NotAuthentic."""
    message_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not (timestamp.isascii() and timestamp.isdigit()) or abs(now - int(timestamp[:12])) > TOLERANCE_SECONDS:
        raise NotAuthentic("its time is missing, or not within five minutes of now")
    key = base64.b64decode(secret.removeprefix(PREFIX))
    digest = hmac.digest(key, f"{message_id}.{timestamp}.".encode() + body, "sha256")
    expected = b"v1," + base64.b64encode(digest)
    # More than one while the secret is being changed.
    given = headers.get("webhook-signature", "").encode().split()
    if not any(hmac.compare_digest(expected, each) for each in given):
        raise NotAuthentic("its signature does not hold")


class Receiver:
    """Takes messages, and prints a line or two of each with `say`."""

    def __init__(self, secret: str, say: Callable[[str], None]) -> None:
        self._secret = secret
        self._say = say
        self._seen: OrderedDict[str, None] = OrderedDict()

    def app(self) -> web.Application:
        """It listens to POST on every path."""
        app = web.Application()
        app.router.add_post("/{path:.*}", self._receive)
        return app

    async def _receive(self, request: web.Request) -> web.Response:
        body = await request.read()
        try:
            verify(request.headers, body, self._secret, time.time())
            message = json.loads(body)
        except (NotAuthentic, ValueError) as error:
            self._say(f"refused: {error}")
            return web.json_response({"error": str(error)}, status=401)
        message_id = request.headers["webhook-id"]
        if message["type"] == "subscription.challenge":
            self._say("signed   the challenge: answered")
            return web.json_response({"challenge": message["data"]["challenge"]})
        again = " (again)" if message_id in self._seen else ""
        self._seen[message_id] = None
        if len(self._seen) > MOST_REMEMBERED:
            self._seen.popitem(last=False)
        self._say(
            f"signed   {message['type']} {message_id}{again}\n         {summary(message['type'], message['data'])}"
        )
        return web.Response(status=204)


def summary(kind: str, data: dict[str, Any]) -> str:
    """A message in one line."""
    if kind == "trending.entered":
        repository = data["repository"]
        stars = f", {repository['period_stars']} stars in the period" if repository["period_stars"] else ""
        return f"{repository['owner']}/{repository['name']} is new at place {repository['rank']}{stars}"
    if kind == "release.published":
        return f"{data['repository']} {data['tag']}: {data['html_url']}"
    return json.dumps(data, ensure_ascii=False)


def main() -> None:
    """Receive until Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m local.receiver", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, default=9000, help="port of 127.0.0.1 to listen on (default: %(default)s)")
    parser.add_argument("--secret", help="what messages are signed with: whsec_…, Base64 (default: a new one)")
    options = parser.parse_args()
    secret = options.secret or PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()
    print(f"listening on http://127.0.0.1:{options.port}/; the secret is {secret}", flush=True)

    def say(line: str) -> None:
        print(f"{datetime.now(UTC):%H:%M:%S} {line}", flush=True)

    web.run_app(
        Receiver(secret, say).app(),
        host="127.0.0.1",
        port=options.port,
        access_log=None,
        print=None,
        shutdown_timeout=1,
    )


if __name__ == "__main__":
    main()
