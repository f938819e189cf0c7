"""A day without a breakout shows the reason, the same on the site and in the terminal."""

import datetime as dt
from typing import Any

import pytest

from reposignal_pipeline.publishing.numbers import breakout

DAY = {
    "is_breakout": False, "breakout_held_back": None, "signal_score": 50.0, "surprise": 1.0, "velocity_24h": 20.0,
    "expected_change": 10.0, "last_breakout": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("differs", "verdict", "why"),
    [
        ({"is_breakout": True}, "yes", ""),
        ({}, "no", "20 new stars, 10.0 expected; a breakout needs 10 times the expected number"),
        ({"velocity_24h": 513.0, "surprise": 24.7}, "no", "a single surprising day; a breakout needs two out of three"),
        ({"velocity_24h": 2.0, "expected_change": 0.1}, "no", "not unusual enough: +1.0 sd from the expected change"),
        ({"breakout_held_back": "star_wave"}, "no", "an unusual number of old repositories gained stars that night"),
        ({"is_breakout": None, "signal_score": None}, "not judged", "it has no score"),
        ({"is_breakout": None, "surprise": None}, "not judged", "the expected change is not known"),
        ({"is_breakout": None}, "not judged", "the day is surprising, but the two days before were not read"),
    ],
)
def test_the_reason_is_that_of_the_rule(differs: dict[str, Any], verdict: str, why: str) -> None:
    assert breakout({**DAY, **differs}) == (verdict, why)


def test_the_last_breakout_is_named() -> None:
    assert breakout({**DAY, "last_breakout": dt.date(2026, 2, 15)})[1].endswith("; the last breakout was on 2026-02-15")
