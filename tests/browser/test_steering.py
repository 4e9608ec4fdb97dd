"""Controls that show where the service has the operation: variations, several pairs, how z is led, one traverse."""

import json
import urllib.request

import pytest

from tests.browser.conftest import OpenVisit
from tests.browser.test_panels import sentences

pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install '.[dev]')")

from playwright.sync_api import expect


@pytest.fixture(scope="module")
def fields(bundled: str) -> dict[str, set[str]]:
    """The fields of each JSON body that this service takes, by path."""
    with urllib.request.urlopen(f"{bundled}/openapi.json") as reply:
        described = json.load(reply)
    found = {}
    for path, methods in described["paths"].items():
        content = methods.get("post", {}).get("requestBody", {}).get("content", {}).get("application/json", {})
        name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
        found[path] = set(described["components"]["schemas"].get(name, {}).get("properties", {}))
    return found


def test_no_control_is_shown_that_the_service_would_refuse(
    bundled: str, fields: dict[str, set[str]], open_visit: OpenVisit
) -> None:
    page = open_visit(bundled).open()
    expect(page.locator(".trail li")).to_have_count(9)
    for name in ("Refine", "Truncation", "Candidates"):
        assert page.get_by_label(name).count() == (name.lower() in fields["/interpolate"]), name
    page.get_by_role("link", name="Analogy").click()
    expect(page.locator(".answers mark").first).to_be_visible()
    assert page.get_by_role("heading", name="Variations").count() == ("/variations" in fields)


def test_how_z_is_led_is_left_to_the_service_until_a_user_says(
    bundled: str, fields: dict[str, set[str]], open_visit: OpenVisit
) -> None:
    if "refine" not in fields["/interpolate"]:
        pytest.skip("this service does not refine")
    page = open_visit(bundled).open()
    expect(page.locator(".trail li")).to_have_count(9)
    with page.expect_request("**/interpolate") as sent:
        page.get_by_label("Candidates").fill("2")
    assert sent.value.post_data_json["candidates"] == 2
    assert not {"refine", "truncation"} & sent.value.post_data_json.keys()
    with page.expect_request("**/interpolate") as sent:
        page.get_by_label("Candidates").fill("0")
    assert "candidates" not in sent.value.post_data_json


def test_variations_are_near_and_different(bundled: str, fields: dict[str, set[str]], open_visit: OpenVisit) -> None:
    if "/variations" not in fields:
        pytest.skip("this service has no variations")
    page = open_visit(bundled).open("#/analogy")
    expect(page.locator(".variants li").first).to_be_visible()
    with page.expect_response("**/variations") as reply:
        page.get_by_label("How many").fill("4")
    wanted = [row["text"] for row in reply.value.json()["data"]]
    assert len(set(wanted)) == len(wanted) > 1
    expect(page.locator(".variants li")).to_have_text(wanted)


def test_several_pairs_count_as_one_direction(bundled: str, fields: dict[str, set[str]], open_visit: OpenVisit) -> None:
    if "/variations" not in fields:  # lists came with them
        pytest.skip("this service takes one pair")
    page = open_visit(bundled).open("#/analogy")
    expect(page.locator(".answers mark").first).to_be_visible()
    page.get_by_label("This", exact=True).fill("the food was terrible.\ni will never come back.")
    with page.expect_response("**/analogy") as reply:
        page.get_by_label("becomes this").first.fill("the food was delicious.\ni will come back soon.")
    assert reply.value.request.post_data_json["a"] == ["the food was terrible.", "i will never come back."]
    assert reply.value.ok


def test_a_traverse_is_one_request(bundled: str, fields: dict[str, set[str]], open_visit: OpenVisit) -> None:
    if "/traverse" not in fields:
        pytest.skip("this service has no traverse")
    page = open_visit(bundled).open("#/traverse?steps=5")
    with page.expect_response("**/traverse") as reply:
        expect(page.locator(".trail li")).to_have_count(5)
    assert sentences(page) == [row["text"] for row in reply.value.json()["data"]]
