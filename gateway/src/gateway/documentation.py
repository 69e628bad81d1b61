"""What the gateway serves itself: the API's description and its page, and the first client's health check."""

import gzip
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any, NamedTuple

import msgspec
import yaml

from gateway.routes import ORIGINAL_PREFIX

_LIFETIME_SECONDS = 300
_PAGE = files(__package__).joinpath("docs_page")
# The page and what it shows come from here alone; Swagger UI has its icons as data:.
_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Document(NamedTuple):
    """One of them, plain and packed; both forms have one weak tag."""

    content_type: str
    body: bytes
    gzipped: bytes
    etag: str
    lifetime_seconds: int

    def respond(self, headers: Mapping[str, str]) -> tuple[int, list[tuple[str, str]], bytes]:
        """Status, headers and body for a request's headers, which are found whatever their case."""
        named = [
            ("Cache-Control", f"public, max-age={self.lifetime_seconds}"),
            ("ETag", self.etag),
            ("Vary", "Accept-Encoding"),
        ]
        if self.etag in {one.strip() for one in headers.get("If-None-Match", "").split(",")}:
            return 304, named, b""
        named.append(("Content-Type", self.content_type))
        named.append(("Content-Security-Policy", _CONTENT_SECURITY_POLICY))
        if len(self.gzipped) >= len(self.body) or "gzip" not in headers.get("Accept-Encoding", ""):
            return 200, named, self.body
        named.append(("Content-Encoding", "gzip"))
        return 200, named, self.gzipped


def read_documents() -> dict[str, Document]:
    """Which is served at which path; read here, then kept in memory."""
    well = _document("application/json; charset=utf-8", b'"ok"', lifetime_seconds=0)
    return {
        "/health-check": well,
        f"{ORIGINAL_PREFIX}/health-check": well,
        "/openapi.json": _document("application/json", msgspec.json.encode(read_description())),
        "/docs": _document("text/html; charset=utf-8", _PAGE.joinpath("index.html").read_bytes()),
        "/docs/start.js": _document("text/javascript; charset=utf-8", _PAGE.joinpath("start.js").read_bytes()),
        "/docs/swagger-ui-bundle.js": _packed("text/javascript; charset=utf-8", "swagger-ui-bundle.js.gz"),
        "/docs/swagger-ui.css": _packed("text/css; charset=utf-8", "swagger-ui.css.gz"),
    }


def read_description() -> dict[str, Any]:
    """The OpenAPI description as JSON has it; `x-` members at its top only hold what its YAML says more than once."""
    text = files(__package__).joinpath("openapi.yaml").read_bytes()
    described = yaml.load(text, yaml.CSafeLoader)
    return {name: value for name, value in described.items() if not name.startswith("x-")}


def _packed(content_type: str, name: str) -> Document:
    packed = _PAGE.joinpath(name).read_bytes()
    return _document(content_type, gzip.decompress(packed), packed)


def _document(
    content_type: str, body: bytes, gzipped: bytes | None = None, *, lifetime_seconds: int = _LIFETIME_SECONDS
) -> Document:
    digest = hashlib.blake2b(body, digest_size=12).hexdigest()
    return Document(content_type, body, gzipped or gzip.compress(body, mtime=0), f'W/"{digest}"', lifetime_seconds)
