"""Training from the page: a file, a run that is watched, paused and left, and the set at its end; over tiny weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.browser.conftest import NUM_REVIEWS, OpenVisit
from tests.browser.test_panels import code_of
from tests.integration.served import Served, served

pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install '.[dev]')")

from playwright.sync_api import Page, expect

EVENTS = "[aria-label=Events]"


@contextmanager
def restarted(home: Path, url: str) -> Iterator[None]:
    """The service again, at the address it had."""
    server = Served(home, "--port", url.rpartition(":")[2])
    try:
        server.url()
        yield
        server.process.terminate()
        assert server.ended()[0] == 0
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.ended()


def begin(page: Page, path: Path, steps: int) -> None:
    page.locator("input[type=file]").set_input_files(path)
    expect(page.locator(".report")).to_contain_text(str(NUM_REVIEWS))
    expect(page.get_by_label("Name of the set")).to_have_value("my-reviews")
    page.locator("summary", has_text="More").click()
    options = {"Steps": steps, "Texts a step": 8, "Size of z": 4, "Learning rate": 0.02, "β, weight of the KL": 0.01}
    for label, value in options.items():
        page.get_by_label(label).fill(str(value))
    page.get_by_role("button", name="Train").click()
    expect(page.locator(".job-head h2")).to_have_text("my-reviews")
    expect(page.locator(".job-head h2")).to_be_in_viewport()
    assert page.evaluate("scrollY") == 0


def test_a_run_is_paused_survives_a_reload_and_a_restart_and_is_cancelled(
    tmp_path: Path, spreadsheet: Path, open_visit: OpenVisit
) -> None:
    with served(tmp_path) as server:
        url = server.url()
        page = open_visit(url, refusals_are_fine=True).open("#/train")
        begin(page, spreadsheet, steps=100_000)
        expect(page.locator(".curves[data-points]")).to_be_visible()
        page.reload()
        expect(page.locator(".curves[data-points]")).to_be_visible()
        expect(page.locator(EVENTS)).to_contain_text("Created fine-tuning job")
        page.get_by_role("button", name="Pause").click()
        expect(page.locator("[data-status=paused]")).to_be_visible()
    with restarted(tmp_path, url):
        expect(page.locator("#connection")).to_be_hidden()
        page.get_by_role("button", name="Resume").click()
        expect(page.locator("[data-status=running]")).to_be_visible()
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator("[data-status=cancelled]")).to_be_visible()
        page.get_by_role("link", name="Change and train again").click()
        expect(page.locator(".report")).to_contain_text(str(NUM_REVIEWS))
        expect(page.get_by_label("Name of the set")).to_have_value("my-reviews")
        expect(page.get_by_label("Size of z")).to_have_attribute("placeholder", "last time 4")
        code = code_of(page, "as curl")
        assert "/v1/fine_tuning/jobs" in code and '"suffix":"my-reviews"' in code
        page.get_by_role("link", name="Train", exact=True).click()
        expect(page.locator(".jobs li")).to_have_count(1)
        expect(page.locator(".jobs .pill")).to_have_text("cancelled")
