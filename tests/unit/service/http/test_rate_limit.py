"""So many requests in a moving window, by a clock that nobody sets, of clients that are forgotten in time."""

import time

import pytest

from adavae.service.errors import ServiceError
from adavae.service.http.rate_limit import RateLimit
from adavae.service.settings import SettingsError


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def refused(limit: RateLimit, client_id: str = "a") -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        limit.count(client_id)
    return caught.value


def test_the_window_moves() -> None:
    clock = Clock()
    limit = RateLimit("2/minute", clock=clock)
    limit.count("a")
    clock.now_s += 20
    limit.count("a")
    error = refused(limit)
    assert (error.status, error.code, error.retry_after_s) == (429, "rate_limited", 40)
    assert error.message == "more requests than 2 per 60 s (ADAVAE_RATE_LIMIT): try again in 40 s"
    limit.count("b")
    clock.now_s += 39.5
    assert refused(limit).retry_after_s == 1
    clock.now_s += 0.5
    limit.count("a")
    assert refused(limit).retry_after_s == 20


def test_what_is_refused_does_not_count() -> None:
    clock = Clock()
    limit = RateLimit("1/second", clock=clock)
    limit.count("a")
    for _ in range(5):
        limit.hit("a")
        refused(limit)
    clock.now_s += 1
    limit.count("a")


def test_each_of_several_rules_counts() -> None:
    clock = Clock()
    limit = RateLimit("2 per second; 3/2 minutes", clock=clock)
    limit.count("a")
    limit.count("a")
    assert "2 per 1 s" in refused(limit).message
    clock.now_s += 1
    limit.count("a")
    assert "3 per 120 s" in refused(limit).message


def test_a_check_counts_nothing() -> None:
    limit = RateLimit("1/minute", clock=Clock())
    limit.check("a")
    limit.check("a")
    assert limit.num_clients == 0
    limit.hit("a")
    with pytest.raises(ServiceError):
        limit.check("a")


def test_a_wall_clock_that_is_set_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: set back by an hour, it kept addresses out for an hour."""
    limit, real = RateLimit("1/minute"), time.time
    limit.count("a")
    for moved_s in (-3600, 3600):
        monkeypatch.setattr(time, "time", lambda moved_s=moved_s: real() + moved_s)
        assert (refused(limit).retry_after_s or 0) <= 60


def test_clients_that_are_silent_for_a_window_are_forgotten() -> None:
    clock = Clock()
    limit = RateLimit("5/minute;9/hour", clock=clock)
    for number in range(1000):
        limit.count(f"client {number}")
    clock.now_s += 1800
    limit.count("a")
    assert limit.num_clients == 1001
    clock.now_s += 1801
    limit.count("b")
    assert limit.num_clients == 2


@pytest.mark.parametrize("rule", ["", "  "])
def test_no_rule_is_no_limit(rule: str) -> None:
    limit = RateLimit(rule)
    for _ in range(100):
        limit.count("a")
    assert limit.num_clients == 0


@pytest.mark.parametrize(
    "rule",
    ["many", "5", "5/week", "5/", "/minute", "5/minute;", "5/0 minutes", "0/minute", "-1/minute", "9" * 20 + "/day"],
)
def test_what_is_no_rule_stops_the_start(rule: str) -> None:
    with pytest.raises(SettingsError, match="ADAVAE_FAILED_KEY_LIMIT is"):
        RateLimit(rule, setting="ADAVAE_FAILED_KEY_LIMIT")
