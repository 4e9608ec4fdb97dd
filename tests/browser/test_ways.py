"""Ways through the page: addresses, reload, back, a narrow screen, the keyboard alone, and what axe finds."""

import json
import re
import subprocess
import sys

import pytest

from tests.browser.conftest import OpenVisit
from tests.browser.test_panels import WALKED, code_of, sentences

pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install '.[dev]')")
pytest.importorskip("axe_playwright_python", reason="axe is not installed (pip install '.[dev]')")

from playwright.sync_api import Page, expect

from tests.browser.accessibility import serious

READY = {
    "walk": WALKED,
    "analogy": ".answers mark",
    "map": "[data-drawn]",
    "traverse": ".trail li",
    "classify": ".bar-row",
    "train": ".new-job",
    "sets": ".set-card",
}
PHONE, DESK = {"width": 360, "height": 740}, {"width": 1280, "height": 900}


def show(page: Page, panel: str) -> None:
    page.evaluate("panel => { location.hash = `#/${panel}` }", panel)
    expect(page.locator(READY[panel]).first).to_be_visible()


def test_the_address_holds_the_whole_state(bundled: str, open_visit: OpenVisit) -> None:
    page = open_visit(bundled).open(
        "#/walk?set=captions&source=a+dog+runs.&target=two+children+play.&steps=5&method=spherical&at=1"
    )
    expect(page.locator(WALKED)).to_have_count(5)
    expect(page.locator("#set")).to_have_value("captions")
    expect(page.locator(".hero-slider")).to_have_value("1")
    before = sentences(page)
    page.reload()
    expect(page.locator(WALKED)).to_have_count(5)
    assert sentences(page) == before
    page.locator(".hero-slider").press("ArrowRight")
    expect(page).to_have_url(re.compile("at=2"))
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Link").click()
    other = open_visit(bundled).open(page.evaluate("navigator.clipboard.readText()").partition("/#")[2].join(["#", ""]))
    expect(other.locator(WALKED)).to_have_count(5)
    expect(other.locator(".hero-slider")).to_have_value("2")
    assert sentences(other) == before


STATES = {
    "#/analogy?a=good+food.&b=very+good+food!&c=good+staff.&scale=1.5&text=my+room+was+clean.&n=3": {
        "This": "good food.",
        "so this": "good staff.",
        "Scale": "1.5",
        "How many": "3",
    },
    "#/traverse?text=my+room+was+clean.&kind=labels&from=positive&to=negative&range=1.5&steps=5": {
        "Sentence": "my room was clean.",
        "From": "positive",
        "Range": "1.5",
        "Steps": "5",
    },
    "#/classify?text=we+loved+it.": {"Text": "we loved it."},
}


@pytest.mark.parametrize("address", STATES)
def test_a_reload_keeps_what_was_typed(bundled: str, open_visit: OpenVisit, address: str) -> None:
    page = open_visit(bundled).open(address)
    for _ in range(2):
        for label, value in STATES[address].items():
            expect(page.get_by_label(label, exact=label in ("This", "Text", "From")).first).to_have_value(value)
        expect(page.locator(READY[address.removeprefix("#/").partition("?")[0]]).first).to_be_visible()
        page.reload()


def test_back_and_forward_go_from_panel_to_panel_with_their_state(bundled: str, open_visit: OpenVisit) -> None:
    page = open_visit(bundled).open()
    expect(page.locator(WALKED)).to_have_count(9)
    page.get_by_label("To", exact=True).fill("my room was clean.")
    expect(page.locator(WALKED).last).to_contain_text("room")
    page.get_by_role("link", name="Sets").click()
    expect(page.locator(".set-card").first).to_be_visible()
    page.go_back()
    expect(page.get_by_label("To", exact=True)).to_have_value("my room was clean.")
    expect(page.get_by_role("link", name="Walk", exact=True).first).to_have_attribute("aria-current", "page")
    page.go_forward()
    expect(page.locator(".set-card").first).to_be_visible()


def test_the_chosen_set_goes_along(bundled: str, open_visit: OpenVisit) -> None:
    page = open_visit(bundled).open()
    expect(page.locator(WALKED)).to_have_count(9)
    with page.expect_request("**/interpolate") as sent:
        page.locator("#set").select_option("trec")
    assert sent.value.post_data_json["adapter"] == "trec"
    page.get_by_role("link", name="Classify").click()
    expect(page.locator(".bar-row")).to_have_count(6)


def test_texts_of_a_map_survive_a_reload(bundled: str, open_visit: OpenVisit) -> None:
    page = open_visit(bundled).open("#/map")
    page.locator("summary", has_text="Paste texts").click()
    page.get_by_label("Texts, one a line").fill("the food was great.\nthe food was bad.\nmy room was clean.\n")
    page.get_by_role("button", name="Use these").click()
    expect(page.locator("[data-drawn='pca 3']")).to_be_visible()
    page.reload()
    expect(page.locator("[data-drawn='pca 3']")).to_be_visible()


def test_the_keyboard_alone_walks_classifies_traverses_and_reads_the_map(bundled: str, open_visit: OpenVisit) -> None:
    page = open_visit(bundled).open()
    expect(page.locator(WALKED)).to_have_count(9)
    press = page.keyboard.press
    press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    press("Enter")
    expect(page.locator("main")).to_be_focused()
    press("Tab")
    expect(page.get_by_label("From", exact=True)).to_be_focused()
    press("Control+A")
    page.keyboard.type("my room was dirty.")
    expect(page.locator(WALKED).first).to_contain_text("room")
    for _ in range(12):
        press("Tab")
        if page.evaluate("document.activeElement.className") == "hero-slider":
            break
    press("End")
    expect(page.locator(".trail [aria-current=step]")).to_contain_text("1.00")
    page.locator("nav a", has_text="Classify").focus()
    press("Enter")
    expect(page.locator(".bar-row").first).to_contain_text("negative")
    page.get_by_label("Text", exact=True).focus()
    press("Control+A")
    page.keyboard.type("we loved the food.")
    expect(page.locator(".bar-row").first).to_contain_text("positive")
    page.locator("nav a", has_text="Traverse").focus()
    press("Enter")
    expect(page.locator(".dimension").first).to_be_visible()
    page.locator(".dimension").nth(2).focus()
    press("Enter")
    expect(page.locator(".dimension").nth(2)).to_have_attribute("aria-pressed", "true")
    page.locator("nav a", has_text="Map").focus()
    press("Enter")
    expect(page.locator("[data-drawn]")).to_be_visible()
    page.locator(".map-canvas").focus()
    for key in ("ArrowRight", "ArrowUp", "Shift+ArrowRight"):
        press(key)
    press("Enter")
    expect(page.locator(".map-side .hero-sentence")).not_to_be_empty()
    press("w")
    press("Shift+ArrowLeft")
    press("w")
    expect(page.locator(".map-side .trail li")).to_have_count(9)


def test_every_panel_gives_its_request_as_code_that_runs(bundled: str, open_visit: OpenVisit) -> None:
    page = open_visit(bundled).open("#/sets")
    for panel in ("sets", "analogy", "traverse", "classify", "map"):
        show(page, panel)
        if panel == "map":
            expect(page.locator(".map-side .hero-sentence")).to_be_visible()
        programs = [["bash", "-c", code_of(page, "as curl")], [sys.executable, "-c", code_of(page, "as Python")]]
        replies = [subprocess.run(program, capture_output=True, text=True, check=True).stdout for program in programs]
        curl, python = (json.loads(reply)["data"] for reply in replies)
        assert len(curl) == len(python) > 0, panel


@pytest.mark.parametrize(("scheme", "screen"), [("light", PHONE), ("dark", DESK)], ids=["phone", "desk"])
def test_every_panel_fits_the_screen_and_axe_finds_nothing_serious(
    bundled: str, open_visit: OpenVisit, scheme: str, screen: dict[str, int]
) -> None:
    page = open_visit(bundled, viewport=screen, has_touch=screen == PHONE, color_scheme=scheme).open()
    for panel in READY:
        show(page, panel)
        assert page.evaluate("document.documentElement.scrollWidth") <= screen["width"], panel
        current = page.locator("nav [aria-current=page]")
        expect(current).to_be_in_viewport()
        expect(current).to_contain_text(panel, ignore_case=True)
        assert not serious(page), panel


def test_dialogs_are_accessible_too(bundled: str, open_visit: OpenVisit) -> None:
    page = open_visit(bundled).open()
    expect(page.locator(WALKED)).to_have_count(9)
    page.get_by_role("button", name="as Python").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert not serious(page)
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("button", name="as Python")).to_be_focused()
