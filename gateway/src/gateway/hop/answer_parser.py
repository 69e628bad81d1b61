"""An answer's bytes: where its head and body end, and what is refused as no answer (RFC 9112). No I/O."""

import re

import httptools

HEAD_LIMIT_BYTES = 32 * 1024
"""Of status line and headers, with those of interim answers (1xx) before them; trailers have as much again."""
HEADERS_LIMIT = 128
_LENGTH = re.compile(rb"[0-9]{1,15}")
_BODILESS = frozenset({204, 304})


class BrokenAnswer(Exception):
    """These bytes are no HTTP/1.1 answer, or one that has two readings; the text says why, and quotes none of it."""


class AnswerParser:
    """Takes the bytes of one answer as they come. llhttp reads them, in its strict mode; the rest is our own law.

    Own: both lengths at once, codings other than chunked, several lengths, protocol switches, and heads beyond the
    limits are refused, as a proxy that passes them on is how answers get split.
    """

    __slots__ = (
        "_close_delimited",
        "_codings",
        "_header_bytes",
        "_is_head",
        "_lengths",
        "_parser",
        "buffered_bytes",
        "content_length",
        "has_begun",
        "has_head",
        "headers",
        "is_complete",
        "keeps_alive",
        "parts",
        "status",
    )

    def __init__(self, method: str) -> None:
        """`method` is the request's: the answer to a HEAD has no body, whatever its headers say."""
        self._is_head = method == "HEAD"
        self._parser = httptools.HttpResponseParser(self)
        self._lengths: list[bytes] = []
        self._codings: list[bytes] = []
        self._header_bytes = 0
        self._close_delimited = False
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self.content_length: int | None = None
        """As the head says it; None where the length is known only at the end."""
        self.has_head = False
        self.is_complete = False
        self.keeps_alive = False
        """Whether the connection can carry another exchange; only known once the answer is complete."""
        self.parts: list[bytes] = []
        """The body so far, as it came; `take` gives it out."""
        self.buffered_bytes = 0
        self.has_begun = False

    def feed(self, data: bytes) -> None:
        """Take what came. Raises BrokenAnswer; what is complete by then stays good, only the connection does not."""
        before = self._header_bytes
        self.has_begun = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            raise BrokenAnswer("it switches protocols") from None
        except httptools.HttpParserError as error:
            if self.is_complete:  # more than was promised: the answer stands, what follows it is nobody's
                self.keeps_alive = False
                return
            cause = error.__context__
            raise (cause if isinstance(cause, BrokenAnswer) else BrokenAnswer("it is not HTTP")) from None
        if not self.has_head:
            # All of it, and not in a callback: a header that never ends calls none.
            self._header_bytes = before + len(data)
            self._check_size()

    def feed_eof(self) -> None:
        """The other side has ended the connection in order. Raises BrokenAnswer when the answer was not at its end."""
        self.keeps_alive = False
        if self._close_delimited:
            self.is_complete = True
        elif not self.is_complete:
            raise BrokenAnswer("it broke off")

    def take(self) -> bytes:
        """The body's bytes since the last time."""
        parts = self.parts
        taken = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self.buffered_bytes = 0
        return taken

    # What follows is called by httptools, from within feed.

    def on_message_begin(self) -> None:
        if self.is_complete:
            raise BrokenAnswer("more follows its end")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.is_complete:
            raise BrokenAnswer("more follows its end")
        self._header_bytes += len(name) + len(value)
        self._check_size()
        if self.has_head:
            return  # a trailer: not passed on, as it came after whom it might concern
        headers = self.headers
        if len(headers) == HEADERS_LIMIT:
            raise BrokenAnswer("it has too many headers")
        headers.append((name.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape")))
        size = len(name)
        if size == 14 and name.lower() == b"content-length":
            self._lengths.append(value)
        elif size == 17 and name.lower() == b"transfer-encoding":
            self._codings.append(value)

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            if status < 100 or status == 101:
                raise BrokenAnswer("it switches protocols" if status == 101 else "its status is none")
            self.headers.clear()
            self._lengths.clear()
            self._codings.clear()
            return
        if self._parser.get_http_version() not in ("1.1", "1.0") or status > 599:
            raise BrokenAnswer("its status line is not of HTTP/1.1")
        self._check_framing()
        self.status = status
        self.has_head = True
        self._header_bytes = 0
        if self._is_head:
            self._complete()

    def on_body(self, body: bytes) -> None:
        if self.is_complete:
            raise BrokenAnswer("more follows its end")
        self.parts.append(body)
        self.buffered_bytes += len(body)

    def on_message_complete(self) -> None:
        if self.has_head and not self.is_complete:
            self._complete()

    def _complete(self) -> None:
        self.is_complete = True
        self.keeps_alive = self._parser.should_keep_alive() and not self._close_delimited

    def _check_framing(self) -> None:
        lengths, codings = self._lengths, self._codings
        if codings:
            if lengths:
                raise BrokenAnswer("it has both Content-Length and Transfer-Encoding")
            if len(codings) > 1 or codings[0].lower() != b"chunked" or self._parser.get_http_version() == "1.0":
                raise BrokenAnswer("its Transfer-Encoding is not chunked")
        elif lengths:
            if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0]):
                raise BrokenAnswer("its Content-Length is not one number")
            self.content_length = int(lengths[0])
        elif not self._is_head and self._parser.get_status_code() not in _BODILESS:
            self._close_delimited = True

    def _check_size(self) -> None:
        if self._header_bytes > HEAD_LIMIT_BYTES:
            raise BrokenAnswer("its headers are too large")
