"""Five things a new user wants, each done in the page alone: written down first, and what was awkward was mended."""

import csv
import io
from pathlib import Path

import pytest

from tests.browser.conftest import OpenVisit
from tests.browser.test_panels import LABELLED, WALKED, drawn, given, lasso_everything, saved, sentences
from tests.browser.test_training import begin

pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install '.[dev]')")

from playwright.sync_api import expect

from tests.browser.accessibility import serious


def test_compare_two_reviews(bundled: str, open_visit: OpenVisit) -> None:
    """Paste both, walk from one to the other, see where the tone turns, and send a colleague the link."""
    page = open_visit(bundled).open()
    page.get_by_label("From", exact=True).fill("the service was slow and the room was dirty.")
    page.get_by_label("To", exact=True).fill("the service was friendly and the room was clean.")
    expect(page.locator(WALKED).last).to_contain_text("friendly")
    turns = [
        number
        for number, (one, other) in enumerate(zip(sentences(page), sentences(page)[1:], strict=False))
        if one != other
    ]
    assert turns
    page.locator(WALKED).nth(turns[0] + 1).get_by_role("button").click()
    expect(page.locator(".stage mark").first).to_be_visible()
    expect(page.locator(".where")).to_contain_text("new")


def test_find_duplicates_in_a_file(bundled: str, open_visit: OpenVisit) -> None:
    """Find where a file comes in, drop it on the map, ask for the closest pairs, take the list away."""
    page = open_visit(bundled).open("#/map")
    page.get_by_role("button", name="Your own texts").click()
    expect(page.get_by_text("Choose a file")).to_be_in_viewport()
    expect(page.locator(".drop input")).to_be_focused()
    texts = [
        "the food was great.",
        "my room was dirty.",
        "never again!",
        "the food was great.",
        "we loved the pool.",
        "my room was so dirty.",
    ]
    given(page, "texts.txt", "\n".join(texts))
    drawn(page, "pca 6")
    page.get_by_role("button", name="Closest pairs").click()
    pairs = page.locator(".pairs li")
    expect(pairs.first).to_contain_text("the same")
    expect(pairs.first).to_contain_text("the food was great.")
    expect(pairs.nth(1)).to_contain_text("my room was so dirty.")
    rows = list(
        csv.DictReader(io.StringIO(saved(page, page.locator(".map-side").get_by_role("button", name="CSV")).decode()))
    )
    assert (rows[0]["first_line"], rows[0]["second_line"]) == ("1", "4")


def test_soften_a_complaint(bundled: str, open_visit: OpenVisit) -> None:
    """Take an example of harsh to kind, write one's own complaint, and turn the scale down until it is only softer."""
    page = open_visit(bundled).open("#/analogy")
    expect(page.locator(".answers .hero-sentence")).not_to_be_empty()
    page.get_by_label("so this").fill("the staff was rude and the room was dirty.")
    answer = page.locator(".answers .hero-sentence").first
    expect(answer).to_contain_text("friendly")
    with page.expect_response("**/analogy") as reply:
        page.get_by_label("Scale").fill("0.5")
    softer = reply.value.json()["data"][0]["text"]
    expect(answer).to_have_text(softer)
    page.get_by_role("button", name="Copy").first.click()
    expect(page.locator("#told")).to_have_text("Text copied")


def test_see_whether_two_classes_separate(bundled: str, open_visit: OpenVisit) -> None:
    """Drop a file with labels: colours on the map, and a number that says how well a linear classifier tells them."""
    page = open_visit(bundled).open("#/map")
    given(page, "labelled.tsv", LABELLED)
    drawn(page, "pca 24")
    expect(page.locator(".map-facts")).to_contain_text("tells the labels with 100 % (always the commonest: 50 %)")
    page.get_by_role("checkbox", name="bad").uncheck()
    lasso_everything(page)
    expect(page.locator(".near.listed li")).to_have_count(12)


def test_train_on_a_spreadsheet(tiny: str, spreadsheet: Path, open_visit: OpenVisit) -> None:
    """Save it as CSV, drop it, see that the columns were understood, train, and walk in the set that comes out."""
    page = open_visit(tiny).open("#/train")
    begin(page, spreadsheet, steps=30)
    expect(page.locator("[data-status=succeeded]")).to_be_visible()
    expect(page.locator(".ready")).to_contain_text("accuracy")
    assert not serious(page)
    page.get_by_role("link", name="Open in the walk").click()
    expect(page.locator("#set")).to_have_value("my-reviews")
    expect(page.locator(WALKED)).to_have_count(9)
