"""One browser and two services for all tests here: the bundled sets, and tiny weights, where training is quick.

They end with this package and not with the session: while playwright runs, its event loop is the thread's, and tests
elsewhere that start one of their own would fail.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.chromium import chromium
from tests.integration.served import served
from tests.tiny_text import reviews

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.browser.visit import Visit

_WEIGHTS = Path(__file__).resolve().parents[2] / "weights"

NUM_REVIEWS = 36  # of which few enough are held back that no unit of z has to be active

OpenVisit = Callable[..., "Visit"]


@pytest.fixture(scope="package")
def browser() -> "Iterator[Browser]":
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="package")
def bundled(browser: "Browser", tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:  # noqa: ARG001
    """The URL of a service over the bundled sets."""
    variables = {"ADAVAE_WEIGHTS": str(_WEIGHTS), "ADAVAE_DEFAULT_ADAPTER": "yelp"}
    variables |= {"ADAVAE_DECODE_ROWS": "64", "ADAVAE_MAX_TOKENS": "48"}
    with served(tmp_path_factory.mktemp("bundled"), **variables) as server:
        yield server.url()


@pytest.fixture(scope="package")
def tiny(browser: "Browser", tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:  # noqa: ARG001
    """The URL of a service over tiny weights, which trains in seconds."""
    with served(tmp_path_factory.mktemp("tiny"), ADAVAE_DECODE_ROWS="8") as server:
        yield server.url()


@pytest.fixture(scope="package")
def spreadsheet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A table as spreadsheets save it: quoted cells, another column, a name with a blank."""
    path = tmp_path_factory.mktemp("table") / "My Reviews.csv"
    texts = reviews(NUM_REVIEWS)
    rows = [f'"{text}",{label},2026' for text, label in zip(texts.texts, texts.labels or (), strict=True)]
    path.write_text("\r\n".join(["Comment,Verdict,Year", *rows]) + "\r\n", encoding="utf-8")
    yield path


@pytest.fixture
def open_visit(browser: "Browser") -> Iterator[OpenVisit]:
    """Opens tabs that are checked when the test is over."""
    from tests.browser.visit import visit

    visits: list[Visit] = []

    def opened(origin: str, **options: Any) -> "Visit":
        visits.append(visit(browser, origin, **options))
        return visits[-1]

    yield opened
    for each in visits:
        each.page.context.close()
        each.check()
