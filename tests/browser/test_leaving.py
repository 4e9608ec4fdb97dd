"""What is still under way when a panel is left, or another set is chosen, is for nobody."""

import pytest

from tests.browser.conftest import OpenVisit
from tests.browser.test_panels import WALKED
from tests.integration.real_server import serving
from tests.unit.service.stub_latent_service import StubLatentService

pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install '.[dev]')")

from playwright.sync_api import Request, Route, expect

COUNT_CHARTS = """
window.numCharts = 0;
window.ResizeObserver = class extends ResizeObserver {
  observe(element) {
    window.numCharts += 1;
    super.observe(element);
  }
  disconnect() {
    window.numCharts -= 1;
    super.disconnect();
  }
};
"""


def test_a_map_that_was_left_asks_for_nothing_and_leaves_the_address_alone(open_visit: OpenVisit) -> None:
    """It used to begin once ECharts had come, under the panel that was there by then."""
    with serving(StubLatentService()) as url:
        visited = open_visit(url)
        page = visited.page
        held: list[Route] = []
        page.add_init_script(COUNT_CHARTS)
        page.route("**/vendor/echarts.js", lambda route: held.append(route))
        with page.expect_request("**/vendor/echarts.js"):
            visited.open("#/map?texts=one%0Atwo%0Athree")
        page.get_by_role("link", name="Walk", exact=True).first.click()
        expect(page.locator(WALKED)).to_have_count(9)
        asked: list[Request] = []
        page.on("request", lambda request: asked.append(request))
        with page.expect_response("**/vendor/echarts.js"):
            held[0].continue_()
        page.evaluate("import('/page/vendor/echarts.js').then(() => new Promise((done) => setTimeout(done, 300)))")
        assert [request.url for request in asked if request.method == "POST"] == []
        assert "#/walk" in page.url
        assert page.evaluate("numCharts") == 0
        page.go_back()
        expect(page.locator("[data-drawn]")).to_be_visible()
        assert page.evaluate("numCharts") == 1


def test_examples_of_a_set_that_is_no_longer_chosen_replace_nothing(open_visit: OpenVisit) -> None:
    with serving(StubLatentService()) as url:
        page = open_visit(url).open()
        expect(page.locator(WALKED)).to_have_count(9)
        held: list[Route] = []
        page.route("**/decode", lambda route: held.append(route))
        with page.expect_request("**/decode"):
            page.locator("#set").select_option("own")
        page.locator("#set").select_option("yelp-lm")
        first = page.locator(".chip").first
        expect(first).to_contain_text("the food was bland")
        for route in held:
            route.fulfill(json={"data": [{"text": f"drawn {number}"} for number in range(6)]})
        page.evaluate("new Promise((done) => setTimeout(done, 300))")
        expect(first).to_contain_text("the food was bland")
        expect(page.get_by_label("From", exact=True)).to_have_value("the food was bland and the service was horrible.")
