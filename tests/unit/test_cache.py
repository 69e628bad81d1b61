"""Copies in the process: bounded by bytes, the least recently used forgotten first."""

import os
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from github_client.cache import COPY_LIMIT_BYTES, PACKED_FROM_BYTES, Copy, MemoryCache, pack, unpack


def copy(packed: bytes = b"{}") -> Copy:
    return Copy(status=200, packed=packed, as_of=datetime(2026, 11, 20, tzinfo=UTC), confirmed_seconds=0.0)


def test_what_was_not_used_longest_is_forgotten_first() -> None:
    cache = MemoryCache(limit_bytes=2500)
    for key in ("a", "b", "c"):
        cache.put(key, copy())
    cache.get("a")
    cache.put("d", copy())
    assert [cache.get(key) is not None for key in "abcd"] == [True, False, True, True]


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 5000), st.booleans()), min_size=1))
def test_the_limit_holds_whatever_is_kept_and_forgotten(steps: list[tuple[int, int, bool]]) -> None:
    cache = MemoryCache(limit_bytes=20_000)
    for number, size_bytes, forgotten in steps:
        if forgotten:
            cache.forget(str(number))
        else:
            cache.put(str(number), copy(bytes(size_bytes)))
        assert 0 <= cache.size_bytes <= 20_000
    for number in range(21):
        cache.forget(str(number))
    assert (len(cache), cache.size_bytes) == (0, 0)


def test_a_copy_that_is_too_large_is_not_kept_nor_the_older_one_it_replaces() -> None:
    cache = MemoryCache()
    cache.put("a", copy())
    cache.put("a", copy(bytes(COPY_LIMIT_BYTES + 1)))
    assert cache.get("a") is None
    assert cache.size_bytes == 0


@pytest.mark.parametrize("body", [b"{}", b"[1]" * PACKED_FROM_BYTES, b'"' + os.urandom(5000).hex().encode() + b'"'])
def test_what_is_packed_comes_back(body: bytes) -> None:
    assert unpack(pack(body)) == body
    assert len(pack(body)) <= len(body)


def test_long_answers_are_compressed() -> None:
    assert len(pack(b'{"a": 1}' * PACKED_FROM_BYTES)) < PACKED_FROM_BYTES
