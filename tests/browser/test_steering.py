"""How z is led, variations, several pairs, one traverse: what the controls say is what the service is asked for."""

import re
from functools import partial
from typing import Any

import pytest

from tests.browser.conftest import OpenVisit
from tests.browser.test_panels import WALKED, code_of, sentences

pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install '.[dev]')")

from playwright.sync_api import Request, expect


def wish(sent: Request) -> dict[str, Any]:
    """The body of a request; empty where it has none."""
    body: dict[str, Any] | None = sent.post_data_json
    return body or {}


def has_field(field: str, value: float, sent: Request) -> bool:
    return bool(wish(sent).get(field) == value)


def test_how_z_is_led_is_left_to_the_service_until_a_user_says(bundled: str, open_visit: OpenVisit) -> None:
    page = open_visit(bundled).open()
    expect(page.locator(WALKED)).to_have_count(9)
    for label, value in (("Candidates", 2), ("Refine", 0.4), ("Truncation", 0.8)):
        field, control = label.lower(), page.get_by_label(label)
        is_wish = partial(has_field, field, value)
        with page.expect_request(is_wish) as wished:
            control.fill(str(value))
        assert {"refine", "truncation"} & wish(wished.value).keys() <= {field}
        with page.expect_request(lambda sent, is_wish=is_wish: not is_wish(sent)) as left:
            control.fill(control.get_attribute("min") or "")
        assert not {"refine", "truncation"} & wish(left.value).keys()
        assert not re.search("refine|truncation|candidates", code_of(page, "as curl"))


def test_an_analogys_focus_is_left_to_the_service_too(bundled: str, open_visit: OpenVisit) -> None:
    page = open_visit(bundled).open("#/analogy")
    expect(page.locator(".answers mark").first).to_be_visible()
    with page.expect_request(lambda request: "focus" in (request.post_data or "")) as sent:
        page.get_by_label("Focus").fill("0")
    assert sent.value.post_data_json["focus"] == 0
    page.goto(f"{bundled}/#/walk")
    expect(page.locator(WALKED)).to_have_count(9)
    expect(page.get_by_label("Focus")).to_have_count(0)


def test_variations_are_near_and_different(bundled: str, open_visit: OpenVisit) -> None:
    page = open_visit(bundled).open("#/analogy")
    expect(page.locator(".variants li").first).to_be_visible()
    with page.expect_response("**/variations") as reply:
        page.get_by_label("How many").fill("4")
    wanted = [row["text"] for row in reply.value.json()["data"]]
    assert len(set(wanted)) == len(wanted) > 1
    expect(page.locator(".variants li")).to_have_text(wanted)


def test_several_pairs_count_as_one_direction(bundled: str, open_visit: OpenVisit) -> None:
    page = open_visit(bundled).open("#/analogy")
    expect(page.locator(".answers mark").first).to_be_visible()
    page.get_by_label("This", exact=True).fill("the food was terrible.\ni will never come back.")
    with page.expect_response(lambda reply: isinstance(wish(reply.request).get("b"), list)) as reply:
        page.get_by_label("becomes this").first.fill("the food was delicious.\ni will come back soon.")
    assert reply.value.request.post_data_json["a"] == ["the food was terrible.", "i will never come back."]
    assert reply.value.request.post_data_json["b"] == ["the food was delicious.", "i will come back soon."]
    assert reply.value.ok


def test_a_traverse_is_one_request(bundled: str, open_visit: OpenVisit) -> None:
    page = open_visit(bundled).open("#/traverse?steps=5")
    with page.expect_response("**/traverse") as reply:
        expect(page.locator(".trail li")).to_have_count(5)
    assert sentences(page) == [row["text"] for row in reply.value.json()["data"]]
