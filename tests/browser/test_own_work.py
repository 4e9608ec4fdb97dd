"""What a user wrote, brought and pressed counts as it was meant: once, for the set it was meant for, and it stays."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.browser.conftest import OpenVisit
from tests.browser.test_panels import WALKED
from tests.integration.real_server import serving
from tests.unit.service.stub_latent_service import StubLatentService, state
from tests.unit.service.stub_training_service import StubTrainingService

pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install '.[dev]')")

from playwright.sync_api import expect


@dataclass(frozen=True, slots=True)
class Stubs:
    """One service for all tests here; what is asked of it is kept."""

    latent: StubLatentService
    training: StubTrainingService
    url: str


@pytest.fixture(scope="module")
def stubs() -> Iterator[Stubs]:
    sets = [
        state("yelp", labels=("bad", "good"), is_default=True, is_bundled=True),
        state("yelp-lm", labels=("x", "y"), is_bundled=True),
    ]
    latent, training = StubLatentService(states=sets), StubTrainingService()
    with serving(latent, training) as url:
        yield Stubs(latent, training, url)


def test_swapped_sentences_stay_when_another_set_is_chosen(stubs: Stubs, open_visit: OpenVisit) -> None:
    page = open_visit(stubs.url).open("#/walk?source=mine&target=yours")
    expect(page.locator(WALKED)).to_have_count(9)
    page.get_by_role("button", name="Swap the two sentences").click()
    with page.expect_request(lambda request: (request.post_data_json or {}).get("adapter") == "yelp-lm") as sent:
        page.locator("#set").select_option("yelp-lm")
    assert (sent.value.post_data_json["source"], sent.value.post_data_json["target"]) == ("yours", "mine")


def test_every_answer_of_an_analogy_is_compared_with_the_sentence_it_changes(
    stubs: Stubs, open_visit: OpenVisit
) -> None:
    """With three answers a sentence, the second one stood beside the second sentence."""
    page = open_visit(stubs.url).open("#/analogy?a=a&b=b&c=text+of+7%0Aother+words&strategy=sample")
    answers = page.locator(".answers .hero-sentence")
    expect(answers).to_have_text(["text of 7"] * 6)
    assert [each.locator("mark").count() > 0 for each in answers.all()] == [False] * 3 + [True] * 3
