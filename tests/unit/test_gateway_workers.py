"""Several gateway processes seen as one: their metrics, their readiness, and a stop while one of them is down."""

import asyncio
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from gateway.metrics_sum import ENDED_LIMIT, MetricsSum
from gateway.workers import Readiness, Worker, aggregate_readiness


class DyingWorker(Worker):
    """One whose process ends as soon as it has started."""

    started = 0

    async def _run(self) -> int:
        self.started += 1
        return 1


async def test_a_worker_that_is_down_at_a_stop_is_not_started_again() -> None:
    worker = DyingWorker(1, "folder", 0)
    worker.ready.set()
    keeping = asyncio.create_task(worker.keep())
    while not worker.started:
        await asyncio.sleep(0)
    worker.stop()
    await keeping
    assert worker.started == 1


def samples_of(page: bytes) -> list[Sample]:
    return [sample for family in text_string_to_metric_families(page.decode()) for sample in family.samples]


COUNTER = '# TYPE asked counter\nasked_total{{route="/x"}} {}\n'
GAUGE = "# TYPE connections gauge\nconnections {}\n"
HISTOGRAM = (
    '# TYPE took histogram\ntook_bucket{{le="0.1"}} {}\ntook_bucket{{le="+Inf"}} {}\ntook_count {}\ntook_sum {}\n'
)


@pytest.mark.parametrize(
    ("pages", "expected"),
    [
        ({}, {}),
        ({"1": COUNTER.format(2)}, {("asked_total", "/x", None, None): 2}),
        ({"1": COUNTER.format(2), "2": COUNTER.format(3)}, {("asked_total", "/x", None, None): 5}),
        (
            {"1": GAUGE.format(2), "2": GAUGE.format(3)},
            {("connections", None, "1", None): 2, ("connections", None, "2", None): 3},
        ),
        (
            {"1": HISTOGRAM.format(1, 2, 2, 0.5), "2": HISTOGRAM.format(3, 3, 3, 0.25)},
            {
                ("took_bucket", None, None, "0.1"): 4,
                ("took_bucket", None, None, "+Inf"): 5,
                ("took_count", None, None, None): 5,
                ("took_sum", None, None, None): 0.75,
            },
        ),
        ({"1": "# TYPE asked_created gauge\nasked_created 1\n"}, {}),
    ],
    ids=["nobody", "one", "counters", "gauges", "histograms", "created"],
)
def test_what_counts_is_summed_and_what_is_a_state_is_shown_for_each(
    pages: dict[str, str], expected: dict[tuple[str | None, ...], float]
) -> None:
    samples = samples_of(MetricsSum().page(pages))
    shown = {
        (sample.name, *(sample.labels.get(label) for label in ("route", "worker", "le"))): sample.value
        for sample in samples
    }
    assert len(shown) == len(samples)
    assert shown == expected


def process(started: int, **counted: int) -> str:
    """What a process says that was started then, and has counted so much of each route."""
    values = "".join(f'asked_total{{route="{route}"}} {count}\n' for route, count in counted.items())
    start = f"# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds {started}\n"
    return f"{start}# TYPE asked counter\n{values}"


@pytest.mark.parametrize(
    ("then", "now", "expected"),
    [
        ({"1": process(1, x=5)}, {"1": process(1, x=7)}, {"x": 7}),
        ({"1": process(1, x=5)}, {"1": process(2, x=1)}, {"x": 6}),
        ({"1": process(1, x=5)}, {"1": process(2, x=9)}, {"x": 14}),
        ({"1": process(1, x=5, y=2)}, {"1": process(2, x=1)}, {"x": 6, "y": 2}),
        ({"1": process(1, x=5)}, {"1": process(1)}, {"x": 5}),
        ({"1": process(1, x=5)}, {"1": process(1, x=3)}, {"x": 8}),
        ({"1": process(1, x=5), "2": process(1, x=3)}, {"2": process(1, x=4)}, {"x": 9}),
        ({"1": process(1, x=5), "2": process(1, x=3)}, {}, {"x": 8}),
    ],
    ids=["the same", "another", "a busy other", "an idle other", "left out", "begun anew", "away", "all away"],
)
def test_a_sum_never_goes_backwards(then: dict[str, str], now: dict[str, str], expected: dict[str, int]) -> None:
    metrics = MetricsSum()
    metrics.page(then)
    for _ in range(2):  # asking changes nothing
        samples = samples_of(metrics.page(now))
        assert {one.labels["route"]: one.value for one in samples if one.name == "asked_total"} == expected


def test_a_state_is_shown_only_by_who_answers() -> None:
    metrics = MetricsSum()
    metrics.page({"1": GAUGE.format(2), "2": GAUGE.format(3)})
    assert [one.labels["worker"] for one in samples_of(metrics.page({"2": GAUGE.format(3)}))] == ["2"]


def test_what_nobody_adds_to_any_more_is_forgotten_beyond_a_bound() -> None:
    metrics = MetricsSum()
    metrics.page({"1": process(1, kept=1, **{f"r{number}": 1 for number in range(ENDED_LIMIT + 5)})})
    samples = samples_of(metrics.page({"1": process(2, kept=1)}))
    shown = {one.labels["route"]: one.value for one in samples if one.name == "asked_total"}
    assert len(shown) == ENDED_LIMIT
    assert shown["kept"] == 2
    assert "r0" not in shown


WELL = (200, Readiness())
LEANING = (200, Readiness(["repo-service"], {"repo-service": {"replicas": ["a"]}}))
LEANING_MORE = (200, Readiness(["repo-service"], {"repo-service": {"replicas": ["a", "b"]}}))
LEAVING = (503, Readiness(["gateway"], {"gateway": {"leaving": True}}))
BROKEN = (500, Readiness())


@pytest.mark.parametrize(
    ("told", "status", "degraded", "details"),
    [
        ({"1": WELL, "2": WELL}, 200, [], {}),
        ({"1": WELL}, 200, ["worker-2"], {}),
        ({"1": WELL, "2": LEANING}, 200, ["repo-service"], {"repo-service": {"worker-2": {"replicas": ["a"]}}}),
        (
            {"1": LEANING_MORE, "2": LEANING},
            200,
            ["repo-service"],
            {"repo-service": {"worker-1": {"replicas": ["a", "b"]}, "worker-2": {"replicas": ["a"]}}},
        ),
        ({"1": LEAVING, "2": WELL}, 200, ["worker-1", "gateway"], {"gateway": {"worker-1": {"leaving": True}}}),
        (
            {"1": LEAVING, "2": LEAVING},
            503,
            ["worker-1", "worker-2", "gateway"],
            {"gateway": {"worker-1": {"leaving": True}, "worker-2": {"leaving": True}}},
        ),
        ({"1": BROKEN, "2": WELL}, 200, ["worker-1"], {}),
        ({}, 503, ["worker-1", "worker-2"], {}),
    ],
)
def test_one_worker_that_is_ready_is_enough_and_the_others_are_named(
    told: dict[str, tuple[int, Readiness]], status: int, degraded: list[str], details: dict[str, Any]
) -> None:
    answered, body = aggregate_readiness(["1", "2"], told)
    assert (answered, body["status"]) == (status, "ready" if status == 200 else "not_ready")
    assert body["degraded"] == degraded
    assert body.get("details", {}) == details


@pytest.mark.parametrize(
    "body",
    [b"", b"Bad Gateway", b"[]", b'{"degraded": 5}', b'{"degraded": [5]}', b'{"details": []}', b"\xff", b"[" * 100_000],
)
def test_a_readiness_that_is_none_says_nothing(body: bytes) -> None:
    assert Readiness.read(body) == Readiness()


def test_a_readiness_is_read_with_its_details() -> None:
    body = b'{"status": "not_ready", "degraded": ["gateway"], "details": {"gateway": {"leaving": true}}}'
    assert Readiness.read(body) == LEAVING[1]
