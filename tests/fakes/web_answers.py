"""aioresponses made to work with aiohttp 3.14, whose responses want to know their writer (pnuckowski/aioresponses#289).

It replaces the whole request, client middlewares included: for tests in which the wire is not the subject.
"""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import Mock, patch

import aioresponses.core
from aiohttp import ClientResponse, StreamReader
from aiohttp.client_proto import ResponseHandler
from aioresponses import aioresponses as patched_requests

_BODY_LIMIT_BYTES = 2**30


@contextmanager
def web_answers() -> Iterator[patched_requests]:
    """Every aiohttp request gets the answer that was registered for its address, without a socket."""
    response = functools.partial(ClientResponse, stream_writer=Mock(output_size=0))

    def reader(loop: object = None) -> StreamReader:
        return StreamReader(ResponseHandler(loop=loop), _BODY_LIMIT_BYTES, loop=loop)  # type: ignore[arg-type]

    with (
        patch.object(aioresponses.core, "ClientResponse", response),
        patch.object(aioresponses.core, "stream_reader_factory", reader),
        patched_requests() as answers,
    ):
        yield answers
