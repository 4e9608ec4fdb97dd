"""A few tries of the kinds of abuse that need no other process; the long form is ``python -m tests.bench.abuse``."""

import random
from collections.abc import Generator
from pathlib import Path

import httpx2
import pytest

from tests.bench.abuse.kinds import KINDS
from tests.bench.abuse.running import tried_on
from tests.bench.abuse.stage import Stage, staged
from tests.bench.abuse.tries import Kind, Try
from tests.bench.abuse.verdict import complaint, refusal_complaint
from tests.integration.redis_server import StartRedis, start_redis

__all__ = ["start_redis"]

SLICE = {"texts": 4, "requests": 9, "uploads": 5, "sets": 4, "records": 4, "connections": 5, "owners": 6, "volume": 2}
SLICE |= {"clocks": 2}
SEED = 1
ERROR = b'{"error": {"message": "m", "type": "t", "param": null, "code": "%s"}}'


@pytest.mark.slow
def test_whatever_is_tried_is_served_or_refused_in_words_and_others_are_answered(
    tmp_path: Path, start_redis: StartRedis
) -> None:
    settings = {name: value for kind in SLICE for name, value in KINDS[kind].settings.items()}
    with staged(tmp_path, start_redis(), **settings) as stage:
        for kind, num_tries in SLICE.items():
            outcome = tried_on(stage, KINDS[kind], seed=SEED, num_tries=num_tries, num_quiet=1)
            assert outcome.broken == []
            assert outcome.tried == num_tries
        assert stage.end() is None


def test_a_suite_that_finds_nothing_would_have_found_something(tmp_path: Path, start_redis: StartRedis) -> None:
    """Its judge is shown what should not be: an answer 500, a lie, a server that has gone."""
    with staged(tmp_path, start_redis()) as stage:
        outcome = tried_on(stage, _BAD, seed=0, num_tries=4, num_quiet=1)
        assert [broken.name for broken in outcome.broken] == ["fails", "raises", "takes memory", "dies"]
        assert outcome.held == 0


def _bad_tries(stage: Stage, _draw: random.Random) -> Generator[Try, None, None]:
    error = {"message": "m", "type": "internal_error", "param": None, "code": "internal_error"}
    yield Try("fails", lambda: complaint(httpx2.Response(500, json={"error": error})))
    yield Try("raises", lambda: complaint(stage.client("alice").get("http://127.0.0.1:1/")))
    yield Try("takes memory", lambda: complaint(stage.client("alice").get("/healthz")))
    yield Try("dies", stage.kill)


_BAD = Kind(name="bad", told="bad", tries=_bad_tries, num_tries=4, most_mib=-1, is_bystander_beside=False)


@pytest.mark.parametrize(
    ("status", "content", "holds"),
    [
        (422, ERROR % b"invalid_value", True),
        (503, ERROR % b"storage_full", True),
        (503, ERROR % b"anything", False),
        (500, ERROR % b"storage_full", False),
        (504, ERROR % b"deadline_exceeded", False),
        (422, b"", False),
        (422, b'{"error": "no"}', False),
        (404, b'{"detail": "Not Found"}', False),
        (400, ERROR.replace(b'"m"', b'""') % b"x", False),
    ],
)
def test_a_refusal_says_why_and_is_documented(status: int, content: bytes, holds: bool) -> None:
    assert (refusal_complaint(status, content) is None) is holds
