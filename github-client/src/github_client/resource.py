"""Something that GitHub can be asked for, and what it answered."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar
from urllib.parse import urlencode

from github_client.cache import Copy, unpack
from github_client.client import GitHubReply
from github_client.lifetimes import LIFETIMES, Kind, Lifetime
from service_kit.answers import Freshness

T = TypeVar("T")


class Resource(Generic[T]):
    """Something that GitHub can be asked for, and how its answer is read."""

    __slots__ = ("accept", "decode", "key", "kind", "lifetime", "parameters", "path", "read")

    def __init__(
        self,
        kind: Kind,
        path: str,
        parameters: Mapping[str, str | int],
        accept: str,
        decode: Callable[[bytes], T],
        read: Callable[[GitHubReply], Awaitable[T]],
    ) -> None:
        """`path` is percent-encoded; GitHub's do not care for case. `read` raises what the resource's error is.

        What `read` returned is kept as JSON, which `decode` makes a value again.
        """
        self.kind = kind
        self.path = path.lower()
        self.parameters = parameters
        self.accept = accept
        self.decode = decode
        self.read = read
        self.lifetime: Lifetime = LIFETIMES[kind]
        self.key = f"{kind} {self.path}?{urlencode(parameters)} {accept}"


class Answer(Generic[T]):
    """What GitHub said: `body` as JSON of our own reading, `value` the same decoded; and how fresh it is."""

    __slots__ = ("_copy", "_decode", "freshness")

    def __init__(self, copy: Copy, decode: Callable[[bytes], T], freshness: Freshness) -> None:
        self._copy = copy
        self._decode = decode
        self.freshness = freshness

    @property
    def body(self) -> bytes:
        """JSON."""
        return unpack(self._copy.packed)

    @property
    def value(self) -> T:
        """A new one each time."""
        return self._decode(self.body)

    @property
    def next_page(self) -> int | None:
        """None on the last one."""
        return self._copy.next_page

    @property
    def last_known_page(self) -> int:
        """The highest page that the answer tells of."""
        return self._copy.last_known_page
