"""A gateway process to which names stand for what NAMES says (JSON, addresses by name), as Docker's DNS would have it.

`NAMES='{"repo-service.test": ["127.0.0.1", "127.0.0.2"]}' python -m tests.fakes.gateway_with_names`
"""

import json
import os
from functools import partial
from unittest.mock import patch

from gateway.app import Settings, serving_to_the_end
from gateway.hop.hop import Hop
from gateway.hop.resolver import look_up
from service_kit.server import run_server


async def lookup(host: str) -> list[str]:
    """As `gateway.hop.resolver.look_up`."""
    said: dict[str, list[str]] = json.loads(os.environ["NAMES"])
    return said[host] if host in said else await look_up(host)


if __name__ == "__main__":
    with patch("gateway.app.Hop", partial(Hop, lookup=lookup)):
        run_server("gateway", Settings, serving_to_the_end)
