"""An answer's bytes: where its head and body end, and what is refused as no answer (RFC 9112). No I/O."""

import re

import httptools

HEAD_LIMIT_BYTES = 32 * 1024
"""Of headers, with those of interim answers (1xx) before them; trailers have as much again."""
HEADERS_LIMIT = 128
LENGTH_DIGITS_LIMIT = 15
_BODILESS = frozenset({204, 304})
_VERSIONS = frozenset({"1.0", "1.1"})
_PLAIN_HEAD = re.compile(
    rb"HTTP/1\.1 (?!204|304)([2-5][0-9][0-9]) [ -~]*+\r\n((?:[A-Za-z0-9-]++: [!-~][ -~]*+(?<! )\r\n)++)\r\n"
)
_PLAIN_FIELD = re.compile(r"([^:]++): ([^\r]++)\r\n")
_ABOUT_FRAMING = {7: "upgrade", 10: "connection", 16: "proxy-connection", 17: "transfer-encoding"}
"""By length: headers besides Content-Length on which it depends where an answer ends, and its connection."""


class BrokenAnswer(Exception):
    """These bytes are no HTTP/1.1 answer, or one that has two readings; the text says why, and quotes none of it."""


class AnswerParser:
    """Takes the bytes of one answer as they come. llhttp reads them, in its strict mode; the rest is our own law.

    What is whole at once, of the plainest kind and has a length, as most answers do, is read without llhttp, which
    would read the same: each of its fields is a call.

    Own: both lengths at once, codings other than chunked, several lengths, protocol switches, and heads beyond the
    limits are refused, as a proxy that passes them on is how answers get split.
    """

    # Defaults of the class where they will do: a request makes one of these. The first are for httptools, to which a
    # name that is missing costs more than one that is None.
    on_status = on_chunk_header = on_chunk_complete = None
    status = 0
    content_length: int | None = None
    """As the head says it; None where the length is known only at the end."""
    has_begun = False
    has_head = False
    is_complete = False
    keeps_alive = False
    """Whether the connection can carry another exchange; only known once the answer is complete."""
    buffered_bytes = 0
    _unread_bytes = 0
    _close_delimited = False

    def __init__(self, method: str) -> None:
        """`method` is the request's: the answer to a HEAD has no body, whatever its headers say."""
        self._is_head = method == "HEAD"
        self._parser: httptools.HttpResponseParser | None = None
        self._fields: list[bytes] = []  # names and values in turn
        self.headers: list[tuple[str, str]] = []
        self.parts: list[bytes] = []
        """The body so far, as it came; `take` gives it out."""

    def feed(self, data: bytes) -> None:
        """Take what came. Raises BrokenAnswer; what is complete by then stays good, only the connection does not."""
        if not self.has_begun:
            self.has_begun = True
            if self._take_plain(data):
                return
            self._parser = httptools.HttpResponseParser(self)
        parser = self._parser
        assert parser is not None
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            raise BrokenAnswer("it switches protocols") from None
        except httptools.HttpParserError as error:
            if self.is_complete:  # more than was promised: the answer stands, what follows it is nobody's
                self.keeps_alive = False
                return
            cause = error.__context__
            raise (cause if isinstance(cause, BrokenAnswer) else BrokenAnswer("it is not HTTP")) from None
        if not self.has_head:
            # Counted here, as a header that never ends is never reported.
            self._unread_bytes += len(data)
        elif self._fields:  # trailers: not passed on, as they come after whom they might concern
            self._unread_bytes += sum(map(len, self._fields))
            self._fields.clear()
        if self._unread_bytes > HEAD_LIMIT_BYTES:
            raise BrokenAnswer("its headers are too large")

    def feed_eof(self) -> None:
        """The other side has ended the connection in order. Raises BrokenAnswer when the answer was not at its end."""
        self.keeps_alive = False
        if self._close_delimited:
            self.is_complete = True
        elif not self.is_complete:
            raise BrokenAnswer("it broke off")

    def close(self) -> None:
        """Nothing more will be fed. The parser holds what it calls: left so, the body would wait for the collector."""
        self._parser = None

    def take(self) -> bytes:
        """The body's bytes since the last time."""
        parts = self.parts
        taken = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self.buffered_bytes = 0
        return taken

    def _take_plain(self, data: bytes) -> bool:
        """Whether this is a whole answer of the plainest kind, and taken."""
        # No further than a head may go: what is not taken here is yet to be read by llhttp.
        found = None if self._is_head else _PLAIN_HEAD.match(data, 0, HEAD_LIMIT_BYTES)
        if found is None:
            return False
        end = found.end()
        headers: list[tuple[str, str]] = _PLAIN_FIELD.findall(found[2].decode("ascii"))
        length = ""
        for name, value in headers:
            size = len(name)
            if size == 14 and name.lower() == "content-length":
                if length:
                    return False
                length = value
            elif size in _ABOUT_FRAMING and name.lower() == _ABOUT_FRAMING[size]:
                return False
        body_bytes = len(data) - end
        if length != str(body_bytes) or len(headers) > HEADERS_LIMIT:
            return False
        self.status = int(found[1])
        self.headers = headers
        self.content_length = self.buffered_bytes = body_bytes
        self.has_head = self.is_complete = self.keeps_alive = True
        if body_bytes:
            self.parts.append(data[end:])
        return True

    # What follows is called by httptools, from within feed.

    def on_message_begin(self) -> None:
        if self.is_complete:
            raise BrokenAnswer("more follows its end")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += (name, value.rstrip())

    def on_headers_complete(self) -> None:
        parser = self._parser
        assert parser is not None
        status = parser.get_status_code()
        fields, self._fields = self._fields, []
        if status < 200:
            if status == 101:
                raise BrokenAnswer("it switches protocols")
            return
        version = parser.get_http_version()
        if version not in _VERSIONS or status > 599:
            raise BrokenAnswer("its status line is not of HTTP/1.1")
        if len(fields) > 2 * HEADERS_LIMIT:
            raise BrokenAnswer("it has too many headers")
        joined = b"\n".join(fields)  # a line break is in none of them
        if len(joined) > HEAD_LIMIT_BYTES:
            raise BrokenAnswer("its headers are too large")
        # Decoded in one call, as each of many would cost as much.
        texts = iter(joined.decode("utf-8", "surrogateescape").split("\n") if fields else ())
        self.headers = list(zip(texts, texts, strict=True))
        self._settle_framing(status, version)
        self.status = status
        self.has_head = True
        self._unread_bytes = 0
        if self._is_head:
            self._complete()

    def on_body(self, body: bytes) -> None:
        if self.is_complete:
            raise BrokenAnswer("more follows its end")
        self.parts.append(body)
        self.buffered_bytes += len(body)

    def on_message_complete(self) -> None:
        if self.is_complete:
            raise BrokenAnswer("more follows its end")  # a body where a HEAD asked for none
        if self.has_head:
            self._complete()

    def _complete(self) -> None:
        assert self._parser is not None
        self.is_complete = True
        self.keeps_alive = self._parser.should_keep_alive() and not self._close_delimited
        self.close()

    def _settle_framing(self, status: int, version: str) -> None:
        lengths, codings = [], []
        for name, value in self.headers:
            size = len(name)
            if size == 14 and name.lower() == "content-length":
                lengths.append(value)
            elif size == 17 and name.lower() == "transfer-encoding":
                codings.append(value.lower())
        if codings:
            if lengths:
                raise BrokenAnswer("it has both Content-Length and Transfer-Encoding")
            if codings != ["chunked"] or version == "1.0":
                raise BrokenAnswer("its Transfer-Encoding is not chunked")
        elif lengths:
            length = lengths[0]
            if len(lengths) > 1 or not (length.isascii() and length.isdigit()) or len(length) > LENGTH_DIGITS_LIMIT:
                raise BrokenAnswer("its Content-Length is not one number")
            self.content_length = int(length)
        else:
            self._close_delimited = not self._is_head and status not in _BODILESS
