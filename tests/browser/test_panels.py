"""Each panel's main way, over the sets that ship with the project."""

import csv
import gzip
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from tests.browser.conftest import OpenVisit

pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install '.[dev]')")

from playwright.sync_api import FloatRect, Locator, Page, Route, expect

BUNDLED = [path.name for path in (Path(__file__).parents[2] / "weights" / "adapters").iterdir()]
WALKED = "[data-made] .trail li"  # steps of a walk that is complete
LABELLED = "label\ttext\n" + "".join(
    f"{label}\t{text}\n"
    for number in range(12)
    for label, text in (
        ("good", f"the {('food', 'staff', 'room')[number % 3]} was great, number {number}."),
        ("bad", f"the {('food', 'staff', 'room')[number % 3]} was awful, number {number}."),
    )
)


def code_of(page: Page, name: str) -> str:
    """What a panel's button "as curl" or "as Python" shows."""
    page.get_by_role("button", name=name).first.click()
    code = page.get_by_role("dialog").locator("code").inner_text()
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    return code


def sentences(page: Page) -> list[str]:
    return page.locator(".trail .sentence").all_inner_texts()


def given(page: Page, name: str, content: str | bytes) -> None:
    """A file through the panel's chooser."""
    whole = content.encode() if isinstance(content, str) else content
    page.locator("input[type=file]").set_input_files([{"name": name, "mimeType": "text/plain", "buffer": whole}])


def place_of_map(page: Page) -> FloatRect:
    """Where the map is on the screen, all of it."""
    canvas = page.locator(".map-canvas")
    canvas.evaluate("element => element.scrollIntoView({ block: 'center' })")
    box = canvas.bounding_box()
    assert box is not None
    return box


def point_at_a_text(page: Page) -> str:
    """Moves about on the map until a text is under the pointer."""
    box = place_of_map(page)
    tip = page.locator(".map-tip")
    for step in range(400):
        across, down = (step * 37) % (box["width"] - 20), (step * 61) % (box["height"] - 20)
        page.mouse.move(box["x"] + 10 + across, box["y"] + 10 + down)
        if tip.is_visible():
            break
    expect(tip).to_be_visible()
    text = tip.evaluate("(element) => element.lastChild.textContent")
    assert isinstance(text, str)
    return text


def drawn(page: Page, what: str) -> None:
    """Waits for a map, and for the sentence of its middle."""
    expect(page.locator(f"[data-drawn='{what}']")).to_be_visible()
    expect(page.locator(".map-side .hero-sentence")).to_be_visible()


def lasso_everything(page: Page) -> None:
    page.locator(".map-tools").get_by_text("Lasso", exact=True).click()
    box = place_of_map(page)
    left, top, right, bottom = box["x"] + 5, box["y"] + 5, box["x"] + box["width"] - 5, box["y"] + box["height"] - 5
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((right, top), (right, bottom), (left, bottom)):
        page.mouse.move(x, y, steps=3)
    page.mouse.up()


def saved(page: Page, button: Locator) -> bytes:
    with page.expect_download() as download:
        button.click()
    return Path(download.value.path()).read_bytes()


def saved_rows(page: Page) -> list[dict[str, str]]:
    """The lines of the CSV file that a panel offers."""
    content = saved(page, page.get_by_role("button", name="Download CSV"))
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))


def test_the_first_visit_shows_a_walk_without_a_click(bundled: str, open_visit: OpenVisit) -> None:
    page = open_visit(bundled).open()
    expect(page).to_have_title("Walk · adavae")
    expect(page.locator(WALKED)).to_have_count(9)
    expect(page.locator(".stage .hero-sentence")).not_to_be_empty()
    expect(page.get_by_label("From", exact=True)).not_to_be_empty()
    expect(page.get_by_label("To", exact=True)).not_to_be_empty()
    assert all(sentences(page))
    assert len(set(sentences(page))) > 2


def test_the_sentence_under_the_thumb_changes_as_it_moves(bundled: str, open_visit: OpenVisit) -> None:
    page = open_visit(bundled).open()
    expect(page.locator(WALKED)).to_have_count(9)
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    slider = page.locator(".hero-slider")
    slider.focus()
    slider.press("Home")
    seen = [page.locator(".stage .hero-sentence").inner_text()]
    for _ in range(8):
        slider.press("ArrowRight")
        seen.append(page.locator(".stage .hero-sentence").inner_text())
    assert seen == sentences(page)
    assert len(set(seen)) > 1
    assert not requests, "every step was in the first answer"
    changes = [number for number in range(1, 9) if seen[number] != seen[number - 1]]
    assert page.locator(".trail li:has(mark, .gone)").count() == len(changes), (
        "what changed is marked, where it changed"
    )


def test_more_steps_and_the_other_way_are_asked_for(bundled: str, open_visit: OpenVisit) -> None:
    page = open_visit(bundled).open()
    expect(page.locator(WALKED)).to_have_count(9)
    page.get_by_role("button", name="More steps").click()
    expect(page.locator(WALKED)).to_have_count(17)
    with page.expect_request("**/interpolate") as sent:
        page.get_by_text("Arc", exact=True).click()
    assert sent.value.post_data_json["method"] == "spherical"
    assert sent.value.post_data_json["steps"] == 17


def test_a_newer_walk_cancels_the_one_before(bundled: str, open_visit: OpenVisit) -> None:
    page = open_visit(bundled).open()
    expect(page.locator(WALKED)).to_have_count(9)
    failed: list[str] = []
    page.on("requestfailed", lambda request: failed.append(request.failure or ""))
    held: list[object] = []

    def hold_the_first(route: object) -> None:
        if not held:
            held.append(route)  # never answered
        else:
            route.continue_()  # type: ignore[attr-defined]

    page.route("**/interpolate", hold_the_first)
    area = page.get_by_label("To", exact=True)
    with page.expect_request("**/interpolate"):
        area.fill("my room was clean.")
    area.fill("my room was quiet.")
    expect(page.locator(WALKED).last).to_contain_text("quiet")
    assert failed == ["net::ERR_ABORTED"]


def test_a_walk_is_read_before_others_are_found_for_sentences_that_come_twice(
    bundled: str, open_visit: OpenVisit
) -> None:
    """Finding them takes several times as long; both requests have every step."""
    visited = open_visit(bundled)
    held: list[Route] = []
    visited.page.route("**/interpolate", lambda route: hold_or_pass(route, held))
    page = visited.open("#/walk?source=the+food+was+bad.&target=the+food+was+bad.")
    expect(page.locator(".trail li")).to_have_count(9)
    expect(page.locator(".stage .hero-sentence")).not_to_be_empty()
    assert len(held) == 1 and len(set(sentences(page))) < 9
    expect(page.locator(WALKED)).to_have_count(0)
    held[0].continue_()
    expect(page.locator(WALKED)).to_have_count(9)


def hold_or_pass(route: Route, held: list[Route]) -> None:
    if "candidates" in route.request.post_data_json:
        route.continue_()
    else:
        held.append(route)


def test_code_does_what_the_page_did(bundled: str, open_visit: OpenVisit) -> None:
    page = open_visit(bundled).open()
    expect(page.locator(WALKED)).to_have_count(9)
    wanted = sentences(page)
    curl = subprocess.run(["bash", "-c", code_of(page, "as curl")], capture_output=True, text=True, check=True)
    python = subprocess.run(
        [sys.executable, "-c", code_of(page, "as Python")], capture_output=True, text=True, check=True
    )
    for done in (curl, python):
        assert [row["text"] for row in json.loads(done.stdout)["data"]] == wanted


def test_an_analogy_is_made_and_its_scale_moves_it(bundled: str, open_visit: OpenVisit) -> None:
    page = open_visit(bundled).open("#/analogy")
    answer = page.locator(".answers .hero-sentence").first
    expect(answer).to_contain_text("friendly")
    page.get_by_label("Scale").fill("0")
    expect(answer).to_contain_text("cold")
    page.get_by_role("button", name="pizza to sushi").click()
    page.get_by_label("Scale").fill("1")
    expect(answer).to_contain_text("sushi")


def test_a_map_is_drawn_and_any_point_of_it_is_written(bundled: str, open_visit: OpenVisit) -> None:
    page = open_visit(bundled).open("#/map")
    expect(page.locator("[data-drawn^='pca']")).to_be_visible()
    given(page, "mine.tsv", LABELLED)
    drawn(page, "pca 24")
    expect(page.locator(".legend-item")).to_have_count(2)
    expect(page.locator(".map-facts")).to_contain_text("the plane shows")
    box = place_of_map(page)
    with page.expect_request("**/decode") as sent:
        page.mouse.click(box["x"] + 20, box["y"] + 20)
    z = sent.value.post_data_json["z"][0]
    assert len(z) == 256
    expect(page.locator(".map-side .hero-sentence")).not_to_be_empty()
    page.get_by_text("On the plane").click()
    with page.expect_request("**/decode") as again:
        page.mouse.click(box["x"] + 20, box["y"] + 20)
    assert again.value.post_data_json["z"][0] != z, "the same point of the map, by another way back"


def test_pointing_at_a_text_of_the_map_shows_it(bundled: str, open_visit: OpenVisit) -> None:
    page = open_visit(bundled).open("#/map")
    given(page, "mine.tsv", LABELLED)
    drawn(page, "pca 24")
    assert "number" in point_at_a_text(page)
    expect(page.locator(".map-tip .tip-label")).to_have_text(re.compile("good|bad"))


def test_a_link_holds_the_texts_of_a_map_and_the_place_that_was_read(bundled: str, open_visit: OpenVisit) -> None:
    page = open_visit(bundled, permissions=["clipboard-read", "clipboard-write"]).open("#/map")
    given(page, "mine.tsv", LABELLED)
    drawn(page, "pca 24")
    box = place_of_map(page)
    with page.expect_response("**/decode") as reply:
        page.mouse.click(box["x"] + 40, box["y"] + 40)
    written = reply.value.json()["data"][0]["text"]
    expect(page.locator(".map-side .hero-sentence")).to_have_text(written)
    page.get_by_role("button", name="Link").click()
    expect(page.locator("#told")).to_have_text("Link copied")
    address = page.evaluate("navigator.clipboard.readText()").partition("/#")[2]
    other = open_visit(bundled).open(f"#{address}")
    drawn(other, "pca 24")
    expect(other.locator(".legend-item")).to_have_count(2)
    expect(other.locator(".map-side .hero-sentence")).to_have_text(written)


def test_a_line_on_the_map_is_a_walk_and_a_lasso_a_list(bundled: str, open_visit: OpenVisit) -> None:
    page = open_visit(bundled).open("#/map")
    given(page, "mine.tsv", LABELLED)
    drawn(page, "pca 24")
    page.locator(".map-tools").get_by_text("Walk", exact=True).click()
    box = place_of_map(page)
    page.mouse.move(box["x"] + 80, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 80, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    expect(page.locator(".map-side .trail li")).to_have_count(9)
    lasso_everything(page)
    expect(page.locator(".near.listed li")).to_have_count(24)
    expect(page.locator(".map-side h3").first).to_contain_text("12 bad, 12 good")


def test_a_map_is_taken_away_as_picture_and_table(bundled: str, open_visit: OpenVisit) -> None:
    page = open_visit(bundled).open("#/map")
    given(page, "mine.tsv", LABELLED)
    drawn(page, "pca 24")
    assert saved(page, page.get_by_role("button", name="PNG")).startswith(b"\x89PNG")
    rows = list(csv.DictReader(io.StringIO(saved(page, page.get_by_role("button", name="CSV").first).decode())))
    assert len(rows) == 24
    assert {row["label"] for row in rows} == {"good", "bad"}
    page.get_by_text("t-SNE").click()
    drawn(page, "tsne 24")
    box = place_of_map(page)
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(page.locator(".map-side .hero-sentence")).not_to_be_empty()


def test_a_sentence_is_moved_along_the_dimension_that_matters_most(bundled: str, open_visit: OpenVisit) -> None:
    page = open_visit(bundled).open("#/traverse")
    expect(page.locator(".dimension").first).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".trail li")).to_have_count(9)
    before = sentences(page)
    assert len(set(before)) > 1, "the first dimension changes something"
    page.locator(".dimension").nth(1).click()
    expect(page.locator(".dimension").nth(1)).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".trail")).not_to_have_text("".join(before))
    with page.expect_request("**/traverse") as sent:
        page.get_by_label("Any dimension").fill("7")
        page.get_by_label("Any dimension").press("Enter")
    assert sent.value.post_data_json["direction"] == {"dimension": 7}
    with page.expect_request("**/traverse") as sent:
        page.get_by_text("Label to label").click()
    assert sent.value.post_data_json["direction"] == {"from": "negative", "to": "positive"}
    expect(page.locator(".trail li")).to_have_count(9)
    page.get_by_text("Text to text").click()
    page.get_by_label("From").fill("the room was dirty.")
    with page.expect_request("**/traverse") as sent:
        page.get_by_label("To", exact=True).fill("the room was clean.")
    assert sent.value.post_data_json["direction"] == {"from": ["the room was dirty."], "to": ["the room was clean."]}


def test_a_text_is_classified_and_a_file_comes_back_as_a_table(bundled: str, open_visit: OpenVisit) -> None:
    page = open_visit(bundled).open("#/classify")
    expect(page.locator(".bar-row").first).to_contain_text("negative")
    page.get_by_label("Text", exact=True).fill("the food was great and the staff was friendly.")
    expect(page.locator(".bar-row").first).to_contain_text("positive")
    given(page, "mine.csv", 'comment,stars\ngreat food!,5\n"bad food, bad service",1\n')
    expect(page.locator("tbody tr")).to_have_count(2)
    rows = saved_rows(page)
    assert [row["label"] for row in rows] == ["positive", "negative"]
    assert rows[1]["text"] == "bad food, bad service"


def test_a_spreadsheets_file_is_classified_as_the_command_line_reads_it(bundled: str, open_visit: OpenVisit) -> None:
    """Doubled quotes and line breaks in cells, a byte order mark, a column of another name, and labels to compare."""
    page = open_visit(bundled).open("#/classify")
    rows = '1,"I said ""great food""\r\nand meant it!",positive\r\n2,"awful ""service"", never again",negative\r\n'
    given(page, "Reviews.csv", f"\ufeffid,Comment,label\r\n{rows}")
    expect(page.locator("tbody tr")).to_have_count(2)
    expect(page.get_by_label("Column of the texts")).to_have_value("Comment")
    expect(page.get_by_label("Column of the labels")).to_have_value("label")
    expect(page.locator(".notes")).to_contain_text("'Comment' is read")
    expect(page.locator(".table-head")).to_contain_text("100 % as given")
    read = saved_rows(page)
    assert read[0]["text"] == 'I said "great food"\nand meant it!'
    assert [row["given"] for row in read] == ["positive", "negative"]
    page.get_by_label("Column of the labels").select_option("none")
    expect(page.locator(".table-head")).not_to_contain_text("as given")


def test_a_file_that_cannot_be_read_leaves_the_one_before(bundled: str, open_visit: OpenVisit) -> None:
    page = open_visit(bundled, refusals_are_fine=True).open("#/map")
    given(page, "mine.jsonl.gz", gzip.compress(b"".join(b'{"text": "the food was %d"}\n' % n for n in range(6))))
    drawn(page, "pca 6")
    given(page, "bad.csv", "good,nice food\nbad,so dirty\n")
    expect(page.get_by_role("alert")).to_contain_text("bad.csv:1: there is no column with texts")
    given(page, "other.txt", b"the room was clean.\nthe room was dirty.\nnever again!\n")
    drawn(page, "pca 3")
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_set_without_labels_names_those_that_have_some(bundled: str, open_visit: OpenVisit) -> None:
    page = open_visit(bundled, refusals_are_fine=True).open("#/classify?set=yelp-lm")
    expect(page.get_by_role("alert")).to_contain_text("classification head")
    page.get_by_role("button", name="trec").click()
    expect(page.locator("#set")).to_have_value("trec")
    expect(page.locator(".bar-row").first).to_be_visible()


def test_sets_stand_side_by_side_with_cards_and_samples(bundled: str, open_visit: OpenVisit) -> None:
    page = open_visit(bundled).open("#/sets")
    expect(page.locator(".sets-table tbody tr")).to_have_count(len(BUNDLED))
    card = page.get_by_role("article", name="trec@")
    card.get_by_role("button", name="Card").click()
    expect(card.locator(".card-text")).to_contain_text("How it was made")
    expect(card.locator(".card-text table").first).to_contain_text("preset")
    card.get_by_role("button", name="Draw sentences").click()
    expect(card.locator(".variants li")).to_have_count(4)
    assert saved(page, card.get_by_role("button", name="Export")).startswith(b"\x1f\x8b")
    expect(card.get_by_role("button", name="Delete")).to_have_count(0)  # it is bundled


def test_an_archive_becomes_a_set_and_what_is_none_says_so(tiny: str, open_visit: OpenVisit) -> None:
    gzip = {"content-type": "application/gzip"}
    with httpx2.Client(base_url=tiny, timeout=60) as client:
        archive = client.get("/adapters/prefixed/archive").content
        name = client.post("/adapters?name=carried", content=archive, headers=gzip).json()["id"]
        archive = client.get(f"/adapters/{name}/archive").content
        assert client.delete(f"/adapters/{name}").status_code == 200
        page = open_visit(tiny, refusals_are_fine=True).open("#/sets")
        chooser = page.locator("input[type=file]")
        chooser.set_input_files([{"name": "a.tar.gz", "mimeType": "application/gzip", "buffer": b"no archive"}])
        expect(page.locator(".outlet").first).to_contain_text("the archive cannot be read")
        chooser.set_input_files([{"name": "a.tar.gz", "mimeType": "application/gzip", "buffer": archive}])
        expect(page.locator(".sets-table")).to_contain_text("carried")
        expect(page.locator(".outlet").first).to_be_empty()
        assert client.delete(f"/adapters/{name}").status_code == 200


def test_a_list_stays_when_an_answer_that_was_under_way_comes(bundled: str, open_visit: OpenVisit) -> None:
    """The sentence of the map's middle used to push out the pairs that were asked for while it was written."""
    page = open_visit(bundled).open("#/map")
    given(page, "mine.tsv", LABELLED)
    drawn(page, "pca 24")
    box = place_of_map(page)
    with page.expect_event("requestfailed", lambda request: request.url.endswith("/decode")):
        page.route("**/decode", lambda _: None)  # never answered
        page.mouse.click(box["x"] + 20, box["y"] + 20)
        page.get_by_role("button", name="Closest pairs").click()
    expect(page.locator(".pairs li").first).to_be_visible()
