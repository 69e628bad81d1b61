"""WeChat's error codes: each class of them, and the recorded answers."""

import json
import os
from pathlib import Path

import pytest

from notifier_service.wechat.errcodes import Meaning, meaning


@pytest.mark.parametrize(
    ("errcode", "expected"),
    [
        (0, "sent"),
        (-1, "passing"),
        (40001, "token"),
        (40014, "token"),
        (41001, "token"),
        (42001, "token"),
        (42007, "token"),
        (43101, "used_up"),
        (43107, "used_up"),
        (40003, "no_user"),
        (40037, "template"),
        (41028, "template"),
        (41029, "template"),
        (41030, "template"),
        (43104, "template"),
        (47001, "template"),
        (47003, "template"),
        (45009, "limited"),
        (45011, "limited"),
        (45047, "limited"),
        (40013, "refused"),
        (40125, "refused"),
        (40164, "refused"),
        (40243, "refused"),
        (43116, "refused"),
        (45168, "refused"),
        (48001, "refused"),
        (50002, "refused"),
        (99999, "passing"),
    ],
)
def test_error_code_has_its_meaning(errcode: int, expected: Meaning) -> None:
    assert meaning(errcode) == expected


@pytest.mark.skipif("RECORDINGS_DIR" not in os.environ, reason="RECORDINGS_DIR names no folder of recordings")
@pytest.mark.parametrize(
    ("case", "expected"),
    [("send_ok", "sent"), ("send_refused", "used_up"), ("send_refused_old", "used_up"), ("token_stale", "token")],
)
def test_recorded_answer_has_its_meaning(case: str, expected: Meaning) -> None:
    cases = json.loads((Path(os.environ["RECORDINGS_DIR"]) / "wechat" / "cases.json").read_text())

    assert meaning(cases[case]["errcode"]) == expected
