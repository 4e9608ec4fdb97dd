"""What a user wrote, brought and pressed counts as it was meant: once, for the set it was meant for, and it stays."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.browser.conftest import OpenVisit
from tests.browser.test_modules import asked
from tests.browser.test_panels import WALKED, drawn, given, point_at_a_text
from tests.integration.real_server import serving
from tests.unit.service.stub_latent_service import StubLatentService, state
from tests.unit.service.stub_training_service import FILE, JOB, StubTrainingService

pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install '.[dev]')")

from playwright.sync_api import Page, Route, expect

BUSY = {"error": {"message": "too many at once", "code": "overloaded", "type": "rate_limit_error", "param": None}}
DROP = """(zone) => {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File(["a set"], "a.tar.gz"));
  for (const kind of ["dragover", "drop"])
    zone.dispatchEvent(new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer }));
}"""


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


def test_a_text_of_the_map_is_given_back_from_its_own_encoding(stubs: Stubs, open_visit: OpenVisit) -> None:
    """What was told as the text given back was written for its place on the plane."""
    texts = "%0A".join(f"text+{number}" for number in range(60))  # so many that one is soon pointed at
    page = open_visit(stubs.url).open(f"#/map?texts={texts}&lift=plane")
    drawn(page, "pca 60")
    text = point_at_a_text(page)
    with page.expect_request("**/decode") as own:
        page.mouse.down()
        page.mouse.up()
    expect(page.locator(".map-side h3").first).to_have_text("This text, as the set gives it back")
    mu = page.request.post(f"{stubs.url}/encode", data={"text": text}).json()["data"][0]["mu"]
    assert own.value.post_data_json["z"][0] == pytest.approx(mu, abs=1e-4)
    page.reload()
    expect(page.locator(".map-side h3").first).to_have_text("This text, as the set gives it back")


MAPPED = """(async () => {
  const picked = [];
  const plot = await module.scatter({ onPick: (...what) => picked.push(what) });
  document.body.append(plot.element);
  await plot.begin();
  const box = plot.element.querySelector(".map-canvas");
  box.style.width = box.style.height = "400px";
  plot.show({ ...given, texts: given.labels });
  for (const key of ["ArrowRight", "ArrowLeft", "Enter"]) box.dispatchEvent(new KeyboardEvent("keydown", { key }));
  const { getInstanceByDom } = await import("/page/vendor/echarts.js");
  const sizes = getInstanceByDom(box).getOption().series.map((each) => each.data.length).filter(Boolean);
  plot.end();
  plot.element.remove();
  return { picked, sizes };
})()"""


def test_a_map_picks_the_text_beside_its_cross_and_draws_rare_labels_as_one(
    stubs: Stubs, open_visit: OpenVisit
) -> None:
    """A sentence of the cross's own place was told as the text's; a chart of 5,000 labels took minutes."""
    page = open_visit(stubs.url).open("#/sets")
    points = [[0, 0], [10, 10], [5.1, 5.1]] + [[number / 10, 0] for number in range(43)]
    labels = ["common", "common", "usual", "usual", *(f"label {number}" for number in range(42))]
    names = ["common", "usual", *labels[4:]]
    shown = asked(page, "parts/scatter.js", f"await {MAPPED}", {"points": points, "labels": labels, "names": names})
    assert shown["picked"] == [[[5.1, 5.1], 2]]
    assert shown["sizes"] == [2, 2, *[1] * 38, 4, 1], "40 colours, all others in grey, the cross"


def test_a_set_is_imported_by_dropping_it_and_nothing_can_be_pasted_as_one(stubs: Stubs, open_visit: OpenVisit) -> None:
    page = open_visit(stubs.url).open("#/sets")
    zone = page.locator(".drop")
    expect(zone.locator("input")).to_have_attribute("accept", ".gz,.tgz")
    expect(zone.locator("textarea")).to_have_count(0)
    zone.evaluate(DROP)
    expect(page.locator("#told")).to_contain_text("is installed")
    assert {"received": b"a set", "name": None} in stubs.latent.asked


def test_a_file_is_classified_by_one_set_and_goes_on_where_an_error_stopped_it(
    stubs: Stubs, open_visit: OpenVisit
) -> None:
    visited = open_visit(stubs.url, refusals_are_fine=True)
    held = hold_batches(visited.page)
    page = visited.open("#/classify?text=a")
    expect(page.locator(".bar-row")).to_have_count(2)
    given(page, "a.txt", "".join(f"text {number}\n" for number in range(300)))
    go_on(page, held, 0)
    expect(page.get_by_text("128 of 300 texts, by yelp@0123456789ab")).to_be_visible()
    page.locator("#set").select_option("yelp-lm")
    go_on(page, held, 1)
    wait_for(page, held, 2)
    held[2].fulfill(status=429, json=BUSY)
    expect(page.get_by_role("alert")).to_contain_text("too many at once")
    expect(page.locator("progress")).to_be_hidden()
    head = page.locator(".table-head")
    expect(head).to_contain_text("The first 256 texts by yelp@0123456789ab")
    page.get_by_role("button", name="Try again").click()
    go_on(page, held, 3)
    expect(head).to_contain_text("300 texts by yelp@0123456789ab: bad 300")
    bodies = [route.request.post_data_json for route in held]
    assert [len(body["texts"]) for body in bodies] == [128, 128, 44, 44]
    assert [body.get("adapter") for body in bodies] == [None] + ["yelp@0123456789ab"] * 3


def hold_batches(page: Page) -> list[Route]:
    """Requests that classify several texts, each held until it is continued."""
    held: list[Route] = []
    page.route(
        "**/classify",
        lambda route: held.append(route) if "texts" in (route.request.post_data or "") else route.continue_(),
    )
    return held


def wait_for(page: Page, held: list[Route], number: int) -> None:
    while len(held) <= number:
        page.evaluate("new Promise((done) => setTimeout(done, 20))")


def go_on(page: Page, held: list[Route], number: int) -> None:
    wait_for(page, held, number)
    held[number].continue_()


def test_an_upload_is_sent_once_replaced_ones_go_and_two_presses_make_one_job(
    stubs: Stubs, open_visit: OpenVisit
) -> None:
    visited = open_visit(stubs.url, refusals_are_fine=True)
    keys: list[str | None] = []
    visited.page.route("**/v1/files", lambda route: fail_first(route, keys))
    page = visited.open("#/train")
    given(page, "Mine.csv", "text,other,label\na,b,c\nd,e,f\n")
    page.get_by_role("alert").get_by_role("button", name="Try again").click()
    expect(page.get_by_label("Name of the set")).to_have_value("mine")
    assert len(keys) == 2 and keys[0] == keys[1], "the same upload, sent again"
    page.get_by_label("Name of the set").fill("my-own-name")
    with page.expect_response(lambda reply: reply.request.method == "DELETE"):
        page.get_by_label("Column of the texts").select_option("other")
    expect(page.get_by_label("Name of the set")).to_have_value("my-own-name")
    assert keys[2] not in keys[:2]
    assert stubs.training.files.all.keys() == {FILE, f"file-{2:024x}"}
    page.get_by_role("button", name="Train").evaluate("(button) => { button.click(); button.click(); }")
    expect(page.locator(".job-head h2")).to_have_text("my-own-name")
    assert len(stubs.training.asked) == 1 and stubs.training.jobs.all.keys() == {JOB, f"ftjob-{1:024x}"}


def fail_first(route: Route, keys: list[str | None]) -> None:
    keys.append(route.request.headers.get("idempotency-key"))
    if len(keys) == 1:
        route.fulfill(status=503, json=BUSY)
    else:
        route.continue_()
