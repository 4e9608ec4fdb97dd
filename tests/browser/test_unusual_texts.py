"""Texts that no layout expects: one word of a thousand letters, scripts from right to left, a screen that turns."""

from collections.abc import Iterator
from urllib.parse import quote

import pytest

from tests.browser.conftest import OpenVisit
from tests.browser.test_panels import drawn
from tests.integration.real_server import serving
from tests.unit.service.stub_latent_service import StubLatentService, state

pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install '.[dev]')")

from playwright.sync_api import Page, expect

WORD = "w" * 900
HEBREW = "\u05e9\u05dc\u05d5\u05dd."


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(StubLatentService(states=[state("yelp", labels=("bad", "good"), is_default=True)])) as origin:
        yield origin


def is_wider_than_the_screen(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))


def test_a_map_fits_a_screen_that_was_turned(url: str, open_visit: OpenVisit) -> None:
    page = open_visit(url, viewport={"width": 880, "height": 420}).open("#/map?texts=one%0Atwo%0Athree")
    drawn(page, "pca 3")
    page.set_viewport_size({"width": 420, "height": 880})
    expect(page.locator("[data-drawn]")).to_be_visible()
    page.wait_for_function("document.querySelector('.map-canvas').clientWidth < 420")
    assert not is_wider_than_the_screen(page)


@pytest.mark.parametrize("width", [420, 1280])
def test_a_long_word_is_broken_where_the_column_ends(url: str, width: int, open_visit: OpenVisit) -> None:
    texts = "%0A".join(f"{WORD}{number}" for number in range(3))
    visited = open_visit(url, viewport={"width": width, "height": 900})
    visited.page.route(
        "**/interpolate",
        lambda route: route.fulfill(
            json={
                "adapter": {"name": "yelp", "version": "0123456789ab"},
                "data": [{"tau": tau, "text": WORD} for tau in (0, 1)],
            }
        ),
    )
    page = visited.open(f"#/walk?source={WORD}&target=b&steps=2")
    expect(page.locator(".trail .sentence").last).to_have_text(WORD)
    assert not is_wider_than_the_screen(page)
    page = visited.open(f"#/map?texts={texts}")
    drawn(page, "pca 3")
    expect(page.locator(".near button").first).to_be_visible()
    assert not is_wider_than_the_screen(page)


def test_a_text_begins_where_its_script_begins(url: str, open_visit: OpenVisit) -> None:
    page = open_visit(url).open(f"#/walk?source={quote(HEBREW)}&target=b")
    area = page.get_by_label("From", exact=True)
    expect(area).to_have_value(HEBREW)
    for element in (area, page.locator(".trail .sentence").first, page.locator(".stage .hero-sentence")):
        expect(element).to_have_css("unicode-bidi", "plaintext")
    expect(area).to_have_css("text-align", "start")
