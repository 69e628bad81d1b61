"""Background tasks are started again when they die, and end with their owner."""

import asyncio

import pytest
import structlog

from service_kit import tasks
from service_kit.tasks import running


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(tasks, "CANCEL_INTERVAL_SECONDS", 0.01)


@pytest.mark.parametrize("death", ["raises", "returns"])
async def test_a_dead_task_is_noticed_and_started_again(death: str) -> None:
    lives = 0
    third = asyncio.Event()

    async def work() -> None:
        nonlocal lives
        lives += 1
        if lives == 3:
            third.set()
            await asyncio.Event().wait()
        if death == "raises":
            raise RuntimeError("no luck")

    with structlog.testing.capture_logs() as events:
        async with asyncio.timeout(5), running("example", work):
            await third.wait()
    expected = "task.died" if death == "raises" else "task.ended"
    assert [(event["event"], event["task"]) for event in events] == [(expected, "example")] * 2


async def test_a_task_that_swallows_a_cancellation_ends_all_the_same() -> None:
    swallowed = 0
    started = asyncio.Event()

    async def work() -> None:
        nonlocal swallowed
        while swallowed < 2:
            started.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed += 1
        await asyncio.Event().wait()

    async with asyncio.timeout(5):
        async with running("example", work):
            await started.wait()
    assert swallowed == 2
