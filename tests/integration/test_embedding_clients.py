"""Libraries that speak OpenAI's embeddings, unmodified: each stores 2,000 sentences and finds them again."""

import itertools
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.clients_environment import clients_python
from tests.integration.embedding_clients import LIBRARIES
from tests.integration.served import served

_WHAT = ("food", "room", "staff", "place", "pizza", "bar", "music", "view", "coffee", "price")
_HOW = ("good", "bad", "cold", "warm", "slow", "quick", "loud", "cheap", "fresh", "old")
_WHEN = ("monday", "tuesday", "friday", "sunday", "night", "noon", "spring", "summer", "autumn", "winter")
TEXTS = [
    f"the {what} was {how} {place} {when} ."
    for what, how, place, when in itertools.product(_WHAT, _HOW, ("before", "after"), _WHEN)
]
_PROGRAM = Path(__file__).with_name("embedding_clients.py")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    clients_python()  # or nothing is started
    with served(tmp_path_factory.mktemp("home")) as server:
        yield f"{server.url()}/v1"


@pytest.mark.parametrize("library", LIBRARIES)
def test_what_a_library_stores_it_finds_again(library: str, url: str, tmp_path: Path) -> None:
    asked = TEXTS[::97]
    done = subprocess.run(
        [clients_python(), str(_PROGRAM), library, url, "prefixed"],
        input=json.dumps({"stored": TEXTS, "searched": asked}),
        env=os.environ | {"HOME": str(tmp_path)},  # some keep files there
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert len(set(TEXTS)) == 2000
    assert json.loads(done.stdout) == asked
