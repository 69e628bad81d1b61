"""Avatars: for each id a mirrored pattern of five by five squares, as a PNG."""

import struct
import zlib

from local.imitation_github.world import draw

MOST_PIXELS = 460
_BACKGROUND = bytes((240, 240, 240))


def png(kind: str, number: int, pixels: int) -> bytes:
    """A square picture of about this many pixels a side."""
    color = bytes(60 + int(draw(kind, number, channel) * 150) for channel in "rgb")
    scale = max(1, min(pixels, MOST_PIXELS) // 6)
    rows = []
    for row in range(5):
        half = [draw(kind, number, row, column) < 0.5 for column in range(3)]
        squares = [*half, half[1], half[0]]
        line = b"".join((color if is_set else _BACKGROUND) * scale for is_set in squares)
        margin = _BACKGROUND * (scale // 2)
        rows.append((b"\0" + margin + line + margin) * scale)
    side = 5 * scale + 2 * (scale // 2)
    blank = (b"\0" + _BACKGROUND * side) * (scale // 2)
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    data = zlib.compress(blank + b"".join(rows) + blank)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
