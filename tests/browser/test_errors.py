"""What the page says when something goes wrong: in the service's own words, where it belongs, with the way on."""

import asyncio
from pathlib import Path

import pytest

from tests.browser.conftest import OpenVisit
from tests.browser.test_panels import WALKED
from tests.integration.real_server import serving
from tests.unit.service.stub_latent_service import StubLatentService, state
from tests.unit.service.stub_training_service import FILE, StubTrainingService

pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install '.[dev]')")

from playwright.sync_api import Page, expect

from adavae.service.errors import EngineStopped, Overloaded, ServiceError
from tests.browser.accessibility import serious

ALL, READER = "all-of-the-test-keys", "reader-of-the-test-keys"
KEYS = f"{ALL}:infer,train,admin {READER}:infer"


def give_key(page: Page, key: str) -> None:
    page.get_by_label("Key", exact=True).fill(key)
    page.get_by_role("button", name="Use this key").click()


def test_a_key_is_asked_for_kept_for_the_tab_and_says_what_it_may_do(open_visit: OpenVisit) -> None:
    with serving(StubLatentService(), StubTrainingService(), api_keys=KEYS) as url:
        page = open_visit(url, refusals_are_fine=True).open("#/walk?source=a&target=b")
        expect(page.get_by_role("alert")).to_contain_text("this server wants an API key")
        page.get_by_role("alert").get_by_role("button", name="Give a key").click()
        give_key(page, "wrong")
        expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("not one of this server's")
        assert not serious(page)
        give_key(page, READER)
        expect(page.locator("#told")).to_have_text(
            "This key opens Walk, Analogy, Map, Traverse, Classify, Sets; not Train"
        )
        expect(page.locator(WALKED)).to_have_count(9)
        expect(page.get_by_role("button", name="Key: infer")).to_be_visible()
        expect(page.get_by_role("link", name="Train", exact=True)).to_have_attribute(
            "title", "Your key lacks the scope train"
        )
        page.get_by_role("link", name="Train", exact=True).click()
        expect(page.get_by_role("alert").first).to_contain_text("lacks the scope train")
        page.reload()
        expect(page.get_by_role("button", name="Key: infer")).to_be_visible()
        other = page.context.new_page()
        other.goto(f"{url}/")
        expect(other.get_by_role("button", name="Give a key").first).to_be_visible()
        assert page.evaluate("Object.keys(localStorage).length + document.cookie.length") == 0


def test_code_never_holds_the_key(open_visit: OpenVisit) -> None:
    with serving(StubLatentService(), api_keys=KEYS) as url:
        page = open_visit(url, refusals_are_fine=True).open("#/walk?source=a&target=b")
        page.get_by_role("button", name="Give a key").first.click()
        give_key(page, READER)
        expect(page.locator(WALKED)).to_have_count(9)
        for name in ("as curl", "as Python"):
            page.get_by_role("button", name=name).click()
            code = page.get_by_role("dialog").locator("code").inner_text()
            assert READER not in code
            assert "ADAVAE_API_KEY" in code
            page.get_by_role("button", name="Close").click()


@pytest.mark.parametrize(
    ("address", "error", "said"),
    [
        ("#/walk?source=a&target=b&set=gone", None, "no adapter set 'gone' is installed"),
        ("#/walk?source=a&target=b", Overloaded("the queue is full: try again", retry_after_s=60), "the queue is full"),
        (
            "#/walk?source=a&target=b",
            EngineStopped("the engine is starting", retry_after_s=60),
            "the engine is starting",
        ),
        ("#/analogy?a=a&b=b&c=c", ServiceError(422, "invalid_value", "scale is 9, the limit is 3"), "the limit is 3"),
        ("#/classify?text=a", ServiceError(504, "deadline_exceeded", "no answer within 60 s"), "no answer within 60 s"),
        ("#/map", ServiceError(429, "rate_limited", "more requests than 1", retry_after_s=60), "more requests than 1"),
        ("#/classify?text=a", ServiceError(403, "missing_scope", "this key lacks infer"), "this key lacks infer"),
        ("#/classify?text=a", ServiceError(409, "no_head", "own has no classification head"), "no classification head"),
        ("#/map", ServiceError(413, "body_too_large", "the body has 9 bytes"), "the body has 9 bytes"),
        ("#/walk?source=a&target=b", ServiceError(500, "internal", "an error, id 12"), "an error, id 12"),
        ("#/traverse?text=a", ServiceError(422, "text_too_long", "the text has 900 tokens"), "900 tokens"),
    ],
)
def test_an_error_stands_in_its_panel_in_the_services_words(
    open_visit: OpenVisit, address: str, error: Exception | None, said: str
) -> None:
    with serving(StubLatentService(error=error)) as url:
        page = open_visit(url, refusals_are_fine=True).open(address)
        expect(page.locator("main").get_by_role("alert").first).to_contain_text(said)
        assert not serious(page)


def test_an_unknown_job_and_a_refused_file_are_reported(open_visit: OpenVisit, tmp_path: Path) -> None:
    with serving(StubLatentService(), StubTrainingService()) as url:
        page = open_visit(url, refusals_are_fine=True).open("#/train?job=ftjob-nothing")
        expect(page.get_by_role("alert")).to_contain_text("ftjob-nothing")
        page = open_visit(url, refusals_are_fine=True).open("#/train")
        empty = tmp_path / "empty.txt"
        empty.write_text("\n")
        page.locator("input[type=file]").set_input_files(empty)
        expect(page.get_by_role("alert")).to_contain_text("empty.txt: holds no text: add some")


def test_what_was_refused_for_a_moment_is_tried_again_by_itself(open_visit: OpenVisit) -> None:
    latent = StubLatentService(error=Overloaded("the queue is full: try again in a moment", retry_after_s=1))
    with serving(latent) as url:
        page = open_visit(url, refusals_are_fine=True).open("#/walk?source=a&target=b")
        expect(page.get_by_role("alert")).to_contain_text("the queue is full")
        latent.error = None
        expect(page.locator(WALKED)).to_have_count(9)
        expect(page.get_by_role("alert")).to_have_count(0)


def test_a_service_that_is_gone_is_waited_for(open_visit: OpenVisit) -> None:
    with serving(StubLatentService()) as url:
        page = open_visit(url, refusals_are_fine=True).open("#/walk?source=a&target=b")
        expect(page.locator(WALKED)).to_have_count(9)
    page.get_by_label("To", exact=True).fill("another sentence")
    expect(page.locator("#connection")).to_contain_text("does not answer")
    expect(page.get_by_role("alert")).to_contain_text("tries again until it is back")
    with serving(StubLatentService(), port=int(url.rpartition(":")[2])):
        expect(page.get_by_role("alert")).to_have_count(0)
        expect(page.locator("#connection")).to_be_hidden()
        expect(page.locator(WALKED)).to_have_count(9)


def test_a_service_that_is_still_loading_is_waited_for(open_visit: OpenVisit) -> None:
    latent = StubLatentService(start_hold=asyncio.Event())
    with serving(latent) as url:
        page = open_visit(url, refusals_are_fine=True).open("#/walk?source=a&target=b")
        expect(page.get_by_role("alert")).to_contain_text("loading")
        latent.problem = None
        page.get_by_role("alert").get_by_role("button", name="Try again").click()
        expect(page.locator(WALKED)).to_have_count(9)


def test_the_list_of_sets_comes_once_the_service_has_loaded(open_visit: OpenVisit) -> None:
    """It was never asked for again, and panels that need it said that no set was installed."""
    latent = StubLatentService(start_hold=asyncio.Event())
    with serving(latent) as url:
        page = open_visit(url, refusals_are_fine=True).open("#/traverse?text=a")
        expect(page.get_by_role("alert")).to_contain_text("loading")
        latent.problem = None
        expect(page.locator("#set")).to_have_value("yelp")
        expect(page.get_by_role("alert")).to_contain_text("yelp hardly writes sentences of its own")
        expect(page.get_by_text("Label to label")).to_be_visible()


@pytest.mark.parametrize("panel", ["map", "traverse", "walk", "classify"])
def test_a_set_that_was_just_trained_is_there_for_every_panel(open_visit: OpenVisit, panel: str) -> None:
    """It was not installed for some, and others began with sentences of another kind, until the page was reloaded."""
    latent = StubLatentService()
    with serving(latent) as url:
        page = open_visit(url, refusals_are_fine=True).open("#/sets")
        expect(page.locator(".set-card").first).to_be_visible()
        latent.unlisted = state("mine", "5555aaaa6666", labels=("x", "y"))
        with page.expect_request(
            lambda request: (request.post_data_json or {}).get("adapter") == "mine@5555aaaa6666"
        ) as asked:
            page.evaluate("(address) => { location.hash = address; }", f"#/{panel}?set=mine")
        assert asked.value.url.endswith("/decode")
        expect(page.locator("#set")).to_have_value("mine")
        expect(page.get_by_text("is installed: choose another")).to_have_count(0)


def test_a_panel_that_needs_a_set_asks_for_the_key_and_goes_on_with_it(open_visit: OpenVisit) -> None:
    with serving(StubLatentService(), api_keys=KEYS) as url:
        page = open_visit(url, refusals_are_fine=True).open("#/traverse?text=a")
        page.get_by_role("alert").get_by_role("button", name="Give a key").click()
        give_key(page, READER)
        expect(page.get_by_role("alert")).to_contain_text("yelp hardly writes sentences of its own")
        expect(page.locator("#set")).to_have_value("yelp")


def test_why_a_stream_of_events_ended_is_said_once_until_it_is_over(open_visit: OpenVisit) -> None:
    """It stood among the events, without a word and at an invalid date, once more at each try."""
    training = StubTrainingService()
    with serving(StubLatentService(), training) as url:
        wanted = {"model": "bundled", "training_file": FILE, "suffix": "mine"}
        visited = open_visit(url, refusals_are_fine=True)
        made = visited.page.request.post(f"{url}/v1/fine_tuning/jobs", data=wanted).json()
        page = visited.open(f"#/train?job={made['id']}")
        events = page.locator("[aria-label=Events] li")
        expect(events).to_have_count(1)
        with page.expect_response("**/events"):  # another try
            training.jobs.in_server(training.end_watching)
            expect(page.get_by_role("alert")).to_contain_text("the service is going down")
            page.get_by_role("alert").evaluate("(alert) => { alert.dataset.isFirst = ''; }")
        expect(page.locator("[role=alert][data-is-first]")).to_be_visible()
        expect(events).to_have_count(1)
        training.jobs.in_server(training.jobs.ends_watching.clear)
        expect(page.get_by_role("alert")).to_have_count(0)
        page.goto("about:blank")


def test_a_key_deletes_and_exports_only_where_it_may(open_visit: OpenVisit) -> None:
    with serving(StubLatentService(), StubTrainingService(), api_keys=KEYS) as url:
        page = open_visit(url, refusals_are_fine=True).open("#/sets")
        for key, number in ((READER, 0), (ALL, 1)):
            page.locator("#key").click()
            give_key(page, key)
            expect(page.locator("#key")).to_contain_text("admin" if number else "Key: infer")
            card = page.get_by_role("article", name="own@3333aaaa4444")
            expect(card.get_by_role("button", name="Card")).to_be_visible()
            for name in ("Delete", "Export"):
                expect(card.get_by_role("button", name=name)).to_have_count(number)


def test_versions_stand_side_by_side(open_visit: OpenVisit) -> None:
    with serving(StubLatentService()) as url:
        page = open_visit(url).open("#/sets")
        rows = page.locator(".sets-table tbody tr", has_text="own")
        expect(rows).to_have_count(2)
        older = page.get_by_role("article", name="own@3333aaaa4444")
        expect(older).to_contain_text("older version")
        older.get_by_role("link", name="Walk").click()
        expect(page.locator("#set")).to_have_value("own@3333aaaa4444")
        expect(page.locator("[data-made='own@3333aaaa4444']")).to_be_visible()


def test_names_and_texts_are_never_markup(open_visit: OpenVisit) -> None:
    sets = [
        state("yelp", is_default=True, labels=("<b>x</b>", "y")),
        state("<img src=x onerror=alert(1)>", problem="<script>1</script>"),
    ]
    with serving(StubLatentService(states=sets)) as url:
        page = open_visit(url).open("#/sets")
        expect(page.locator(".set-card")).to_have_count(2)
        expect(page.locator(".problem")).to_have_text("<script>1</script>")
        assert page.locator("main img, main script, main b").count() == 0


def test_a_set_is_deleted_after_being_asked(open_visit: OpenVisit) -> None:
    with serving(StubLatentService()) as url:
        page = open_visit(url).open("#/sets")
        card = page.get_by_role("article", name="own@3333aaaa4444")
        card.get_by_role("button", name="Delete").click()
        page.get_by_role("button", name="Keep it").click()
        expect(card).to_be_visible()
        card.get_by_role("button", name="Delete").click()
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        expect(card).to_have_count(0)


def test_a_set_that_was_chosen_and_is_deleted_is_chosen_no_more(open_visit: OpenVisit) -> None:
    with serving(StubLatentService()) as url:
        page = open_visit(url).open("#/sets?set=own")
        expect(page.locator("#set")).to_have_value("own")
        for version in ("1111aaaa2222", "3333aaaa4444"):
            page.get_by_role("article", name=f"own@{version}").get_by_role("button", name="Delete").click()
            page.get_by_role("dialog").get_by_role("button", name="Delete").click()
            expect(page.get_by_role("article", name=f"own@{version}")).to_have_count(0)
        expect(page.locator("#set")).to_have_value("yelp")
        expect(page.locator("#set option", has_text="own")).to_have_count(0)
        expect(page.get_by_role("link", name="Walk", exact=True).first).to_have_attribute("href", "#/walk")
