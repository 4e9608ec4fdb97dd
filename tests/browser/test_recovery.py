"""After a failure the page says what it was, asks for nothing without end, and a user's own work is still there."""

from collections.abc import Iterator

import pytest

from tests.browser.conftest import OpenVisit
from tests.browser.test_errors import ALL, KEYS, give_key
from tests.browser.test_panels import drawn, given, saved
from tests.integration.real_server import serving
from tests.unit.service.stub_latent_service import StubLatentService
from tests.unit.service.stub_training_service import JOB, StubTrainingService

pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install '.[dev]')")

from playwright.sync_api import Route, expect

SHOWN_POINTS = """import("/page/vendor/echarts.js").then(({ getInstanceByDom }) =>
  getInstanceByDom(document.querySelector(".map-canvas")).getOption().series[0].data.length)"""
TOO_FEW = {"error": {"message": "texts has 2 entries", "code": "invalid_value", "type": "invalid", "param": "texts"}}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(StubLatentService(), StubTrainingService()) as origin:
        yield origin


def test_a_file_that_was_dropped_before_the_key_was_given_need_not_be_dropped_again(open_visit: OpenVisit) -> None:
    with serving(StubLatentService(), StubTrainingService(), api_keys=KEYS) as origin:
        page = open_visit(origin, refusals_are_fine=True).open("#/train")
        given(page, "mine.csv", "text,label\na,b\nc,d\n")
        page.get_by_role("alert").get_by_role("button", name="Give a key").first.click()
        give_key(page, ALL)
        page.get_by_label("Name of the set").fill("of-my-own")
        expect(page.locator(".jobs a")).to_have_count(1)  # the runs of that key, too
        with page.expect_response("**/key"), page.expect_response("**/adapters?**"):
            page.evaluate("window.dispatchEvent(new Event('key-given'))")
        expect(page.get_by_label("Name of the set")).to_have_value("of-my-own")


def test_a_run_is_told_without_its_curves_and_the_next_chart_asks_for_them_again(
    url: str, open_visit: OpenVisit
) -> None:
    visited = open_visit(url, refusals_are_fine=True)
    is_lost = True
    visited.page.route("**/vendor/echarts.js", lambda route: route.abort() if is_lost else route.continue_())
    page = visited.open(f"#/train?job={JOB}")
    expect(page.locator(".ready")).to_be_visible()
    page.evaluate("() => { location.hash = '#/map?texts=one%0Atwo%0Athree'; }")
    expect(page.get_by_role("alert")).to_contain_text("part of the page that draws")
    is_lost = False
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("[data-drawn]")).to_be_visible()


def test_what_cannot_be_sent_is_no_service_that_is_gone(url: str, open_visit: OpenVisit) -> None:
    """A folder was sent again every second and a half, under a line that said that the service did not answer."""
    visited = open_visit(url, refusals_are_fine=True)
    sent: list[Route] = []

    def break_off(route: Route) -> None:
        sent.append(route)
        route.abort()

    visited.page.route("**/read?*", break_off)
    page = visited.open("#/classify?text=a")
    given(page, "a.txt", "one\ntwo\n")
    expect(page.get_by_role("alert")).to_contain_text("could not be sent, although the service answers")
    expect(page.get_by_role("alert").get_by_role("button")).to_have_count(0)
    expect(page.locator("#connection")).to_be_hidden()  # whose end would send it again
    assert len(sent) == 2


def test_a_request_that_broke_off_once_is_sent_again(url: str, open_visit: OpenVisit) -> None:
    visited = open_visit(url, refusals_are_fine=True)
    sent: list[Route] = []

    def break_off_once(route: Route) -> None:
        sent.append(route)
        if len(sent) == 1:
            route.abort()
        else:
            route.continue_()

    visited.page.route("**/read?*", break_off_once)
    page = visited.open("#/classify?text=a")
    given(page, "a.txt", "one\ntwo\n")
    expect(page.locator(".table-head")).to_contain_text("2 texts")
    assert len(sent) == 2


@pytest.mark.parametrize("panel", ["train", "classify", "map"])
def test_a_file_that_cannot_be_read_is_not_offered_to_be_read_again(
    url: str, panel: str, open_visit: OpenVisit
) -> None:
    """The button did nothing, and the panel read for ever."""
    page = open_visit(url, refusals_are_fine=True).open(f"#/{panel}")
    given(page, "a.xlsx", b"no workbook")
    alert = page.get_by_role("alert").first
    expect(alert).to_contain_text("a.xlsx")
    expect(alert.get_by_role("button")).to_have_count(0)
    expect(page.get_by_text("Reading")).to_have_count(0)


def test_an_answer_that_breaks_off_is_no_fault_of_the_file(url: str, open_visit: OpenVisit) -> None:
    visited = open_visit(url, refusals_are_fine=True)
    visited.page.route("**/read?*", lambda route: route.fulfill(body='{"data": [', content_type="application/json"))
    page = visited.open("#/classify?text=a")
    given(page, "a.txt", "one\ntwo\n")
    expect(page.get_by_role("alert")).to_contain_text("answer broke off")
    visited.page.unroute("**/read?*")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".table-head")).to_contain_text("2 texts")


def test_a_map_that_could_not_be_drawn_leaves_the_one_before_as_it_was(url: str, open_visit: OpenVisit) -> None:
    """The old points were saved under the name of the new file, which was said to be drawn still."""
    page = open_visit(url, refusals_are_fine=True).open("#/map")
    given(page, "a.txt", "one\ntwo\nthree\n")
    drawn(page, "pca 3")
    page.route("**/map", lambda route: route.fulfill(status=422, json=TOO_FEW))
    given(page, "b.txt", "one\ntwo\n")
    expect(page.get_by_role("alert")).to_contain_text("texts has 2 entries")
    expect(page.locator(".map-facts")).to_contain_text("a.txt: 3 texts")
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    assert download.value.suggested_filename == "a-map.csv"
    assert saved(page, page.get_by_role("button", name="CSV")).startswith("\ufefftext,label,x,y".encode())
    page.unroute("**/map")
    page.route("**/map", lambda route: route.fulfill(status=500, json=TOO_FEW))
    given(page, "c.txt", "one\ntwo\nthree\nfour\n")
    expect(page.get_by_role("alert")).to_contain_text("The service failed")
    page.unroute("**/map")
    page.get_by_role("button", name="Try again").click()
    drawn(page, "pca 4")
    expect(page.locator(".map-facts")).to_contain_text("c.txt: 4 texts")


def test_a_map_waits_for_its_chart_whatever_is_chosen_meanwhile(url: str, open_visit: OpenVisit) -> None:
    visited = open_visit(url)
    held: list[Route] = []
    visited.page.route("**/vendor/echarts.js", lambda route: held.append(route))
    with visited.page.expect_request("**/vendor/echarts.js"):
        page = visited.open("#/map?texts=one%0Atwo%0Athree")
    page.get_by_text("t-SNE").click()
    held[0].continue_()
    expect(page.locator("[data-drawn='tsne 3']")).to_be_visible()
    expect(page.locator(".map-canvas canvas").first).to_be_visible()
    assert page.evaluate(SHOWN_POINTS) == 3


def test_the_map_before_is_drawn_again_in_another_projection(url: str, open_visit: OpenVisit) -> None:
    page = open_visit(url, refusals_are_fine=True).open("#/map?texts=one%0Atwo%0Athree")
    drawn(page, "pca 3")
    page.route("**/map", lambda route: route.fulfill(status=422, json=TOO_FEW))
    given(page, "b.txt", "one\ntwo\n")
    expect(page.get_by_role("alert")).to_contain_text("texts has 2 entries")
    page.unroute("**/map")
    page.get_by_text("t-SNE").click()
    expect(page.locator("[data-drawn='tsne 3']")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)
