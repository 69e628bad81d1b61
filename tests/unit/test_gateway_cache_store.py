"""The cache's store: whose places are whose, who leaves when it is full, and that it never holds more than it may."""

import gc
import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.cache.entry import Entry
from gateway.cache.policy import Lifetime
from gateway.cache.store import VARIANTS_LIMIT, Store

LIFETIME = Lifetime(age=0, fresh=60, while_revalidated=0, if_error=0)


def entry(size: int = 10, *, vary: str = "", accept: str = "") -> Entry:
    headers = [("Content-Type", "application/json"), *([("Vary", vary)] if vary else [])]
    return Entry(200, headers, b"x" * size, LIFETIME, 0.0, accept)


def test_an_entry_is_found_by_its_target_alone() -> None:
    store, kept = Store(1 << 20), entry()
    store.put("/a", kept)
    assert store.get("/a", "text/html") is kept
    assert store.get("/b", "") is None


def test_a_new_entry_takes_the_place_of_the_old_one() -> None:
    store = Store(1 << 20)
    store.put("/a", entry(1000))
    one = store.size_bytes
    store.put("/a", entry(1000))
    assert (len(store), store.size_bytes) == (1, one)


def test_variants_stand_side_by_side() -> None:
    store = Store(1 << 20)
    html, json = entry(vary="Accept", accept="text/html"), entry(vary="Accept", accept="*/*")
    store.put("/a", html)
    store.put("/a", json)
    assert store.get("/a", "text/html") is html
    assert store.get("/a", "*/*") is json
    assert store.get("/a", "text/plain") is None
    store.put("/a", entry())  # it has stopped to vary
    assert len(store) == 1


def test_a_target_has_only_so_many_variants() -> None:
    store = Store(1 << 20)
    for number in range(3 * VARIANTS_LIMIT):
        store.put("/a", entry(vary="Accept", accept=str(number)))
    assert len(store) == VARIANTS_LIMIT
    assert store.get("/a", "0") is None


def test_the_least_recently_used_leaves() -> None:
    store = Store(40_000)
    store.put("/a", entry())
    store.put("/b", entry())
    for number in range(20):
        assert store.get("/a", "") is not None
        store.put(f"/{number}", entry())
    assert store.get("/b", "") is None
    assert store.evicted > 0


def test_one_entry_cannot_push_out_everything() -> None:
    store = Store(100_000)
    store.put("/small", entry())
    store.put("/large", entry(50_000))
    assert store.get("/large", "") is None
    assert store.get("/small", "") is not None


def test_what_is_too_large_does_not_leave_an_older_answer_behind() -> None:
    store = Store(100_000)
    store.put("/a", entry())
    store.put("/a", entry(50_000))
    assert (len(store), store.size_bytes) == (0, 0)


def test_another_encoding_is_counted_and_nothing_is_added_to_what_has_left() -> None:
    store, kept = Store(1 << 20), entry(2000)
    store.put("/a", kept)
    before = store.size_bytes
    store.grow("/a", kept, "br", b"x" * 500)
    assert store.size_bytes - before > 500
    store.discard("/a", kept)
    assert store.size_bytes == 0
    store.grow("/a", kept, "gzip", b"x" * 500)
    assert store.size_bytes == 0


operations = st.lists(
    st.tuples(
        st.sampled_from(["put", "get", "grow", "discard"]),
        st.integers(0, 12),
        st.integers(0, 9000),
        st.sampled_from(["", "a", "b"]),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(operations, st.integers(5_000, 60_000))
def test_the_store_never_holds_more_than_it_may(made: list[tuple[str, int, int, str]], limit: int) -> None:
    store = Store(limit)
    for operation, number, size, accept in made:
        target = f"/{number}"
        known = store.get(target, accept)
        if operation == "put":
            store.put(target, entry(size, vary="Accept" if accept else "", accept=accept))
        elif operation == "grow" and known is not None:
            store.grow(target, known, "br", b"y" * size)
        elif operation == "discard" and known is not None:
            store.discard(target, known)
        kept = [(target, one) for target, place in store._places.items() for one in place]
        assert store.size_bytes == sum(one.size_bytes + len(target) for target, one in kept)
        assert 0 <= store.size_bytes <= limit


def test_what_is_counted_is_what_it_takes() -> None:
    """Python's objects included, a full store takes no more memory than its bound says."""
    limit = 4 << 20
    tracemalloc.start()
    try:
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        store = Store(limit)
        for number in range(3000):
            made = entry(number % 3000)
            store.put(f"/v1/repositories/owner-{number}/name", made)
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert store.size_bytes > limit * 0.9
    assert taken <= limit, (taken, len(store))
