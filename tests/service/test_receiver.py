"""The receiver of the walk-through believes signed messages only, and answers the challenge."""

import json
import time
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from local.receiver import Receiver
from notifier_service.standard_webhooks import new_secret, signed_headers

SECRET, OTHER = new_secret(), new_secret()


async def post(message: Any, signing: str = SECRET, age_seconds: int = 0, times: int = 1, spoil: bytes = b"") -> Any:
    """The last answer's status and body, and what was said."""
    said: list[str] = []
    body = json.dumps(message).encode()
    headers = signed_headers("msg_1_2", int(time.time()) - age_seconds, body, signing)
    async with TestClient(TestServer(Receiver(SECRET, said.append).app())) as client:
        for _ in range(times):
            answer = await client.post("/hook", data=body + spoil, headers=headers)
        return answer.status, await answer.text(), said


ENTERED = {
    "type": "trending.entered",
    "timestamp": "2026-11-27T12:00:00Z",
    "data": {"repository": {"owner": "a", "name": "b", "rank": 3, "period_stars": 40}},
}


async def test_signed_message_is_taken_and_printed() -> None:
    status, _, said = await post(ENTERED)
    assert (status, said) == (
        204,
        ["signed   trending.entered msg_1_2\n         a/b is new at place 3, 40 stars in the period"],
    )


async def test_repetition_is_taken_for_what_it_is() -> None:
    status, _, said = await post(ENTERED, times=2)
    assert status == 204
    assert "msg_1_2 (again)" in said[1]


async def test_challenge_is_answered() -> None:
    status, body, _ = await post({"type": "subscription.challenge", "data": {"challenge": "c"}})
    assert (status, json.loads(body)) == (200, {"challenge": "c"})


async def test_one_of_two_signatures_is_enough_while_the_secret_changes() -> None:
    assert (await post(ENTERED, signing=f"{OTHER} {SECRET}"))[0] == 204


@pytest.mark.parametrize(
    "wrong", [{"signing": OTHER}, {"age_seconds": 301}, {"age_seconds": -301}, {"spoil": b" "}, {"spoil": b"x"}]
)
async def test_what_is_not_authentic_is_refused(wrong: dict[str, Any]) -> None:
    status, _, said = await post(ENTERED, **wrong)
    assert status == 401
    assert said[0].startswith("refused")
