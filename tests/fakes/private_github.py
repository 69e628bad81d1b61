"""A GitHub that shows each token what it may see, on a real port: its bodies say who was shown what.

Each body holds `shown:LOGIN:` and, if it is about a repository, the mark of its present content, `content:NUMBER:`.
Two things no client may get wrong are kept: ETags sent with another credential than got them, and what was ever public.
"""

import hashlib
import itertools
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.fakes.github_objects import event, repository

EVERYBODY = "everybody"


@dataclass
class Sample:
    """A repository."""

    number: int
    content: str
    private: bool
    readers: set[str] = field(default_factory=set)


class PrivateGitHub:
    """`tokens` says whose each is; `all_seeing` are the logins that may read everything."""

    def __init__(self, tokens: dict[str, str], all_seeing: set[str]) -> None:
        self.tokens = dict(tokens)
        self.all_seeing = all_seeing
        self.is_down = False
        self.scopes: str | None = None
        """What is said to be the scopes of whoever asks; None: nothing, as of a fine-grained token."""
        self.asked = 0
        self.ever_public: set[str] = set()
        """Marks of the contents that everybody could read at some time."""
        self.crossed_etags: list[str] = []
        """Requests with an ETag that another credential got."""
        self.not_modified = 0
        self._numbers = itertools.count(1)
        self._samples: dict[int, Sample] = {}
        self._names: dict[str, int] = {}
        """Numbers by full name, those of renamed ones by their old name, too."""
        self._etags: dict[str, str | None] = {}
        """Who got which."""
        app = web.Application()
        app.router.add_get("/user", self._user)
        app.router.add_get("/search/repositories", self._search)
        app.router.add_get("/users/made-up/received_events", self._events)
        app.router.add_get("/repos/{owner}/{name}{rest:(/readme)?}", self._named)
        app.router.add_get("/repositories/{number}{rest:(/readme)?}", self._numbered)
        self.server = TestServer(app)

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash."""
        return str(self.server.make_url("")).rstrip("/")

    def create(self, name: str, *, private: bool) -> None:
        """Have a new repository under a name, whatever had it before."""
        self._names[name] = number = next(self._numbers)
        self._samples[number] = Sample(number, self._mark(), private)
        self._note_public(self._samples[number])

    def delete(self, name: str) -> None:
        """Have it no longer."""
        self._samples.pop(self._names.pop(name, 0), None)

    def push(self, name: str) -> None:
        """Let its content be another."""
        if sample := self._find(name):
            sample.content = self._mark()
            self._note_public(sample)

    def show(self, name: str, *, private: bool) -> None:
        """Let everybody see it, or only its readers."""
        if sample := self._find(name):
            sample.private = private
            self._note_public(sample)

    def rename(self, name: str, new_name: str) -> None:
        """The old name leads to the new one from now on."""
        if self._find(name) and not self._find(new_name):
            number = self._names[name]
            self._names.pop(new_name, None)  # so that the present name stands last
            self._names[new_name] = number

    def let_read(self, name: str, login: str, *, may: bool) -> None:
        """Let somebody read it even if it is private, or no more."""
        if sample := self._find(name):
            (sample.readers.add if may else sample.readers.discard)(login)

    def _mark(self) -> str:
        return f"content:{next(self._numbers)}:"

    def _find(self, name: str) -> Sample | None:
        return self._samples.get(self._names.get(name, 0))

    def _note_public(self, sample: Sample) -> None:
        if not sample.private:
            self.ever_public.add(sample.content)

    def _login(self, request: web.Request) -> str:
        self.asked += 1
        if self.is_down:
            raise web.HTTPBadGateway
        authorization = request.headers.get("Authorization")
        if authorization is None:
            return EVERYBODY
        if (login := self.tokens.get(authorization.removeprefix("Bearer "))) is None:
            raise web.HTTPUnauthorized(text='{"message": "Bad credentials"}')
        return login

    def _sees(self, login: str, sample: Sample | None) -> bool:
        return sample is not None and (not sample.private or login in sample.readers or login in self.all_seeing)

    async def _user(self, request: web.Request) -> web.Response:
        login = self._login(request)
        about = {"login": login, "bio": f"shown:{login}:", "id": 7, "avatar_url": "", "html_url": "", "type": "User"}
        about |= dict.fromkeys(("public_repos", "followers", "following"), 1) | {"created_at": "2024-01-02T03:04:05Z"}
        return self._answer(request, about, about)

    async def _search(self, request: web.Request) -> web.Response:
        login = self._login(request)
        seen = [self._shown(login, sample) for sample in self._samples.values() if self._sees(login, sample)]
        body = {"total_count": len(seen), "incomplete_results": False, "items": seen}
        return web.json_response(body)

    async def _events(self, request: web.Request) -> web.Response:
        login = self._login(request)
        seen = [sample for sample in self._samples.values() if self._sees(login, sample)]
        repo = [{"name": f"shown:{login}:{sample.content}"} for sample in seen]
        public = [not sample.private for sample in seen]
        events = [event(number, repo=repo[number], public=public[number]) for number in range(len(seen))]
        return self._answer(request, events, events)

    async def _named(self, request: web.Request) -> web.Response:
        login = self._login(request)
        name = request.match_info["name"]
        sample = self._find(name)
        if sample is None or not self._sees(login, sample):
            raise web.HTTPNotFound(text='{"message": "Not Found"}')
        if name != [other for other, number in self._names.items() if number == sample.number][-1]:
            raise web.HTTPMovedPermanently(f"/repositories/{sample.number}{request.match_info['rest']}")
        return self._about(request, login, sample)

    async def _numbered(self, request: web.Request) -> web.Response:
        login = self._login(request)
        sample = self._samples.get(int(request.match_info["number"]))
        if sample is None or not self._sees(login, sample):
            raise web.HTTPNotFound(text='{"message": "Not Found"}')
        return self._about(request, login, sample)

    def _about(self, request: web.Request, login: str, sample: Sample) -> web.Response:
        shown = self._shown(login, sample)
        if request.match_info["rest"]:
            # Its validator is of the text alone, so it outlives that the repository turns private.
            return self._answer(request, f"# shown:{login}:{sample.content}".encode(), sample.content)
        return self._answer(request, shown, shown)

    def _shown(self, login: str, sample: Sample) -> dict[str, Any]:
        return repository(id=sample.number, private=sample.private, description=f"shown:{login}:{sample.content}")

    def _answer(self, request: web.Request, body: Any, validated: Any) -> web.Response:
        authorization = request.headers.get("Authorization")
        digest = hashlib.sha256(f"{authorization} {validated}".encode()).hexdigest()
        etag = f'W/"{digest}"'
        sent = request.headers.get("If-None-Match")
        if sent is not None and self._etags.get(sent, "nobody") != authorization:
            self.crossed_etags.append(request.path)
        self._etags[etag] = authorization
        if sent == etag:
            self.not_modified += 1
            return web.Response(status=304, headers={"ETag": etag})
        headers = {"ETag": etag} | ({} if self.scopes is None else {"X-OAuth-Scopes": self.scopes})
        encoded = body if isinstance(body, bytes) else msgspec.json.encode(body)
        return web.Response(body=encoded, headers=headers, content_type="application/json")
