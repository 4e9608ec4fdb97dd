"""What is used by keys alone, or heard: the focus stays where it was, and nothing is read out again and again."""

import re
from collections.abc import Iterator

import pytest

from tests.browser.conftest import OpenVisit
from tests.browser.test_panels import WALKED, drawn, given
from tests.integration.real_server import serving
from tests.unit.service.stub_latent_service import StubLatentService, state
from tests.unit.service.stub_training_service import FILE, StubTrainingService

pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install '.[dev]')")

from playwright.sync_api import Page, expect

from adavae.service.errors import Overloaded

NO_CLIPBOARD = """
Object.defineProperty(navigator, "clipboard", { value: undefined });
document.addEventListener("copy", () => { window.copied = document.activeElement.value; });
"""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    sets = [state("yelp", labels=("bad", "good"), is_default=True, is_bundled=True)]
    with serving(StubLatentService(states=sets), StubTrainingService()) as origin:
        yield origin


def pressed(page: Page) -> str:
    """What has the focus, as its group and its value."""
    said = "(own) => [own.closest('fieldset')?.querySelector('legend').textContent, own.value].join(' ')"
    return str(page.evaluate_handle("document.activeElement").evaluate(said))


@pytest.mark.parametrize("address", ["#/walk?source=a&target=b", "#/analogy?a=a&b=b&c=c", "#/traverse?text=a"])
def test_arrow_keys_go_through_the_ways_of_writing(url: str, address: str, open_visit: OpenVisit) -> None:
    page = open_visit(url, refusals_are_fine=True).open(address)
    page.locator("fieldset", has_text="Writing").locator("input:checked").focus()
    first = pressed(page)
    page.keyboard.press("ArrowRight")
    second = pressed(page)
    page.keyboard.press("ArrowRight")
    assert first.split()[0] == second.split()[0] == pressed(page).split()[0] == "Writing"
    assert len({first, second}) == 2


def test_controls_of_the_map_keep_the_focus_while_it_is_drawn_anew(url: str, open_visit: OpenVisit) -> None:
    page = open_visit(url).open("#/map?texts=one%0Atwo%0Athree")
    drawn(page, "pca 3")
    page.locator("fieldset", has_text="Projection").locator("input:checked").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("[data-drawn='tsne 3']")).to_be_visible()
    assert pressed(page) == "Projection tsne"


def test_the_choice_of_a_column_keeps_the_focus(url: str, open_visit: OpenVisit) -> None:
    page = open_visit(url).open("#/classify?text=a")
    given(page, "a.csv", "text,other,label\na,b,c\nd,e,f\n")
    choice = page.get_by_label("Column of the texts")
    choice.focus()
    with page.expect_response("**/read?*"):
        choice.select_option("other")
    expect(page.locator(".table-head")).to_contain_text("2 texts")
    expect(choice).to_be_focused()


def test_a_run_that_is_opened_or_paused_has_the_focus(open_visit: OpenVisit) -> None:
    with serving(StubLatentService(), StubTrainingService()) as origin:
        visited = open_visit(origin)
        wanted = {"model": "bundled", "training_file": FILE, "suffix": "mine"}
        visited.page.request.post(f"{origin}/v1/fine_tuning/jobs", data=wanted)
        page = visited.open("#/train")
        link = page.locator(".jobs a", has_text="mine").first
        link.focus()
        page.keyboard.press("Enter")
        expect(page.locator(".job-head h2")).to_have_text("mine")
        expect(page.locator("main")).to_be_focused()
        page.get_by_role("button", name="Pause").focus()
        page.keyboard.press("Enter")
        expect(page.locator("[data-status=paused]")).to_be_visible()
        expect(page.get_by_role("button", name="Resume")).to_be_focused()
        page.get_by_role("button", name="Cancel").focus()
        page.keyboard.press("Enter")
        expect(page.locator("[data-status=cancelled]")).to_be_visible()
        expect(page.locator(".job-head")).to_be_focused()
        page.goto("about:blank")


def test_what_an_alert_says_does_not_change_while_it_counts_down(open_visit: OpenVisit) -> None:
    latent = StubLatentService(error=Overloaded("the queue is full", retry_after_s=60))
    with serving(latent) as origin:
        page = open_visit(origin, refusals_are_fine=True).open("#/walk?source=a&target=b")
        alert = page.get_by_role("alert")
        expect(alert.locator("button")).to_contain_text(re.compile("by itself in 5[0-8] s"))
        expect(alert.get_by_role("button", name="Try again", exact=True)).to_be_visible()


def test_code_is_copied_where_the_browser_gives_no_clipboard(url: str, open_visit: OpenVisit) -> None:
    """Beside an open dialog nothing can be selected: "Code copied" was said, and nothing was."""
    visited = open_visit(url)
    visited.page.add_init_script(NO_CLIPBOARD)
    page = visited.open("#/walk?source=a&target=b")
    expect(page.locator(WALKED)).to_have_count(9)
    page.get_by_role("button", name="as curl").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Copy").click()
    expect(dialog.get_by_role("status")).to_have_text("Code copied")
    assert page.evaluate("window.copied") == dialog.locator("code").inner_text()
    dialog.get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Copy", exact=True).click()
    expect(page.locator("#told")).to_have_text("Text copied")
