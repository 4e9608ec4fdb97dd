"""The page's own arithmetic: words that differ, tables, the way from a point back to z; asked in the browser itself."""

import gzip
import io
import lzma
import zipfile
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install '.[dev]')")

from playwright.sync_api import Browser, Page

from tests.browser.test_panels import BUNDLED
from tests.browser.visit import visit


@pytest.fixture(scope="module")
def page(bundled: str, browser: Browser) -> Iterator[Page]:
    visited = visit(browser, bundled, refusals_are_fine=True)
    yield visited.open()
    visited.page.context.close()
    visited.check()


def asked(page: Page, module: str, expression: str, argument: Any = None) -> Any:
    """What ``expression`` gives, with the module as ``module`` and the argument as ``given``."""
    return page.evaluate(
        f"async ([path, given]) => {{ const module = await import(path); return ({expression}); }}",
        [f"/page/{module}", argument],
    )


@pytest.mark.parametrize(
    ("before", "text", "new"),
    [
        ("the food was bad.", "the food was good.", ["good"]),
        ("the food was bad.", "The food was bad.", []),
        ("bad food", "very bad and cold food", ["very", "and cold"]),
        ("", "all new", ["all new"]),
        ("it's fine", "it\u2019s it's fine!", ["it\u2019s", "!"]),
        ("größe zählt", "größe zählt nicht", ["nicht"]),
    ],
)
def test_words_that_are_new_are_found(page: Page, before: str, text: str, new: list[str]) -> None:
    pieces = asked(page, "words.js", "module.changed(...given)", [before, text])
    assert "".join(piece["text"] for piece in pieces) == text
    assert [piece["text"].strip() for piece in pieces if piece["isNew"]] == new


@pytest.mark.parametrize(
    ("before", "text", "gone", "numbers"),
    [
        ("the food was very bad.", "the food was bad.", ["very"], (0, 1)),
        ("x a b c", "a", ["x", "b c"], (0, 3)),
        ("all of it", "", ["all of it"], (0, 3)),
        ("the food was bad", "the food was so good", [], (2, 0)),
        ("good food and good staff", "food and very good staff", ["good"], (1, 1)),
        ("good food and staff", "good food, and staff!", [], (0, 0)),
    ],
)
def test_words_that_are_gone_are_told_where_none_stands_for_them(
    page: Page, before: str, text: str, gone: list[str], numbers: tuple[int, int]
) -> None:
    pieces = asked(page, "words.js", "module.changed(...given)", [before, text])
    assert "".join(piece["text"] for piece in pieces) == text
    assert [piece["gone"] for piece in pieces if piece.get("gone")] == gone
    told = asked(page, "words.js", "module.numChanged(...given)", [before, text])
    assert (told["added"], told["gone"]) == numbers


READ = """(async () => {
  try {
    const [name, content, columns] = given;
    const file = await module.sendable(new File([new Uint8Array(content)], name));
    return (await module.readTable(file, { limit: 100, columns: columns ?? {} })).rows;
  } catch (error) {
    return error.message;
  }
})()"""


def read(page: Page, name: str, content: bytes | list[int], columns: dict[str, str] | None = None) -> Any:
    """The rows that the page has of a file, or what it says of it."""
    return asked(page, "tables.js", f"await {READ}", [name, list(content), columns])


SPREADSHEET = (
    '\ufeffid,review,sentiment\r\n1,"she said ""no""\r\nand left, at once",bad\r\n2,"a ""5 star""\n\nplace",good\r\n'
)


@pytest.mark.parametrize(
    ("name", "content", "rows"),
    [
        ("a.txt", "one\n\n two  words \r\nthree", [("one", ""), ("two  words", ""), ("three", "")]),
        ("a.tsv", 'label\ttext\ngood\tit is "fine"\nbad\tno\n', [('it is "fine"', "good"), ("no", "bad")]),
        (
            "a.tab",
            'label\ttext\npos\t"the waiter said ""no"""\nneg\tno\n',
            [('the waiter said "no"', "pos"), ("no", "neg")],
        ),
        (
            "a.csv",
            'comment,stars\n"a nice place, ""b""",5\n"never\nagain so rude",1\n',
            [('a nice place, "b"', "5"), ("never\nagain so rude", "1")],
        ),
        ("a.csv", SPREADSHEET, [('she said "no"\nand left, at once', "bad"), ('a "5 star"\n\nplace', "good")]),
        ("a.csv", "label;text\n1;bad\n5;good, really\n", [("bad", "1"), ("good, really", "5")]),
        ("a.ndjson", '{"text": "x", "label": "y"}\n{"text": "z", "label": null}\n', [("x", "y"), ("z", "")]),
        ("a.json", '[{"text": "x", "label": 1}, {"text": "z", "label": true}]', [("x", "1"), ("z", "True")]),
        ("\ufeffb.txt", "\ufefffirst\nsecond", [("first", ""), ("second", "")]),
    ],
)
def test_tables_are_read_as_training_reads_them(
    page: Page, name: str, content: str, rows: list[tuple[str, str]]
) -> None:
    found = read(page, name, content.encode())
    assert [(row["text"], row["label"]) for row in found] == rows


def test_compressed_files_are_read(page: Page) -> None:
    content = b'{"text": "the food was \xc2\xa0 great", "label": "good"}\n'
    assert read(page, "a.jsonl.gz", gzip.compress(content)) == [{"text": "the food was   great", "label": "good"}]
    assert read(page, "a.jsonl.xz", lzma.compress(content)) == [{"text": "the food was   great", "label": "good"}]


CHOICE = """(async () => {
  const { columnChoice } = module;
  const chosen = [];
  const read = { names: given.names, columns: given.columns, by_content: given.by_content ?? false, notes: [] };
  const element = columnChoice({ read }, (pick) => chosen.push({ ...pick }), { always: given.always ?? false });
  const selects = [...element.querySelectorAll("select")];
  selects[0].value = given.names[1];
  selects[0].dispatchEvent(new Event("change"));
  return { chosen, options: selects.map((each) => [...each.options].map((option) => option.value)) };
})()"""


def test_a_choice_of_columns_keeps_what_was_not_chosen_anew(page: Page) -> None:
    names = ["premise", "hypothesis", "other", "label"]
    columns = {"text": "premise", "label": "label", "pair": "other"}
    given = {"names": names, "columns": columns}
    asked_for = asked(page, "parts/drop.js", f"await {CHOICE}", given)
    assert asked_for["chosen"] == [{"text": "hypothesis", "label": "label", "pair": "other"}]
    assert asked_for["options"] == [names, ["", *names], ["", *names]]
    assert asked(page, "parts/drop.js", f"await {CHOICE}", given | {"always": True})["options"][1] == names
    by_content = given | {"always": True, "by_content": True}
    assert asked(page, "parts/drop.js", f"await {CHOICE}", by_content)["options"][1] == ["", *names]
    single = given | {"columns": {"text": "premise"}}
    assert len(asked(page, "parts/drop.js", f"await {CHOICE}", single)["options"]) == 2


def test_pairs_are_read_joined(page: Page) -> None:
    content = b"a,b,label\nit rains,it is wet,1\nit snows,it is dry,0\n"
    named = read(page, "a.csv", content, {"text": "a", "pair": "b"})
    assert [row["text"] for row in named] == ["it rains \u241e it is wet", "it snows \u241e it is dry"]


def test_a_column_may_be_chosen_and_a_label_left_out(page: Page) -> None:
    content = b"text,other,label\na,b,c\n"
    assert read(page, "a.csv", content, {"text": "other"}) == [{"text": "b", "label": "c"}]
    assert read(page, "a.csv", content, {"text": "other", "label": ""}) == [{"text": "b", "label": ""}]
    assert "there are 'text', 'other', 'label'" in read(page, "a.csv", content, {"text": "none"})


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", "\n  \n", "holds no text"),
        ("a.jsonl", '{"text": "x"}\n{"text": \n', "a.jsonl:2: is not JSON"),
        ("a.jsonl", '{"words": "x"}\n', "there are 'words'"),
        ("a.csv", "good,nice food\nbad,so dirty\n", "add a header line"),
        ("a.doc", "PK\u0003\u0004\u0000\u0000", "must end in .csv"),
    ],
)
def test_what_is_no_table_is_reported_with_the_line(page: Page, name: str, content: str, said: str) -> None:
    assert said in read(page, name, content.encode())


@pytest.mark.parametrize(
    ("text", "name"), [("one\ntwo", "pasted.txt"), ("a\tb\nc\td", "pasted.tsv"), ("a\tb", "pasted.txt")]
)
def test_pasted_cells_are_a_table_and_anything_else_is_lines(page: Page, text: str, name: str) -> None:
    assert asked(page, "tables.js", "module.pasted(given).name", text) == name


def workbook(sheet: str, strings: str = "", *, method: int = zipfile.ZIP_DEFLATED) -> list[int]:
    """Bytes of an .xlsx file with one sheet."""
    name = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", f"<worksheet {name}><sheetData>{sheet}</sheetData></worksheet>")
        if strings:
            archive.writestr("xl/sharedStrings.xml", f"<sst {name}>{strings}</sst>")
    return list(packed.getvalue())


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_a_workbook_is_read_as_it_is(page: Page, method: int) -> None:
    strings = "<si><t>Review</t></si><si><r><t>so </t></r><r><t>good &amp; cheap</t></r></si><si><t>good</t></si>"
    sheet = (
        '<row><c r="B1" t="s"><v>0</v></c><c r="D1" t="inlineStr"><is><t>Label</t></is></c></row>'
        '<row><c r="A2"><v>1</v></c><c r="B2" t="s"><v>1</v></c><c r="D2" t="s"><v>2</v></c></row>'
        '<row><c r="A3"><v>2</v></c><c r="B3" t="inlineStr"><is><t>never again</t></is></c><c r="D3"><v>5</v></c></row>'
    )
    rows = read(page, "a.xlsx", workbook(sheet, strings, method=method))
    assert rows == [{"text": "so good & cheap", "label": "good"}, {"text": "never again", "label": "5"}]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (list(b"no archive at all"), "is no workbook"),
        (workbook("<row>")[:-30], "is no workbook"),
        ([byte ^ (60 < place < 90) * 0xFF for place, byte in enumerate(workbook("<row>"))], "is damaged"),
        (workbook(""), "is empty"),
    ],
)
def test_what_is_no_workbook_is_reported(page: Page, content: list[int], said: str) -> None:
    assert said in read(page, "a.xlsx", content)


def test_of_a_sheet_only_what_has_something_in_it_is_read(page: Page) -> None:
    """One cell far out made all rows 16,384 columns wide, and an empty one beside the texts the first a header."""
    texts = "".join(f'<row><c r="A{row}"><v>text {row}</v></c><c r="B{row}" s="1"/></row>' for row in (1, 2))
    assert [row["text"] for row in read(page, "a.xlsx", workbook(texts))] == ["text 1", "text 2"]
    header = '<row><c r="A1"><v>text</v></c><c r="XFD1"><v>note</v></c></row>'
    far = read(page, "a.xlsx", workbook(header + texts + texts))
    assert [row["text"] for row in far] == ["text 1", "text 2"] * 2
    length = asked(
        page,
        "tables.js",
        "(await (await module.sendable(new File([new Uint8Array(given)], 'a.xlsx'))).text()).length",
        workbook(header + texts * 500),
    )
    assert length < 10_000
    wide = "".join(f'<c r="{a}{b}1"><v>1</v></c>' for a in "ABCDEFGHIJK" for b in "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    assert "286 columns" in read(page, "a.xlsx", workbook(f"<row>{wide}</row>"))


def test_no_cell_of_a_table_that_is_taken_away_runs_as_a_formula(page: Page) -> None:
    written = asked(page, "tables.js", "module.toCsv(['text', 'x'], [['=1+1', -2.5], ['a \"b\",\\nc', 0]])")
    assert written == '\ufefftext,x\r\n\'=1+1,-2.5\r\n"a ""b"",\nc",0\r\n'


def test_the_way_back_from_a_point_projects_to_that_point(page: Page) -> None:
    plane = {"mean": [1.0, 2.0, 3.0], "basis": [[1.0, 0.0, 0.0], [0.0, 0.6, 0.8]]}

    def projected(z: list[float]) -> list[float]:
        centred = [value - middle for value, middle in zip(z, plane["mean"], strict=True)]
        return [round(sum(a * b for a, b in zip(centred, row, strict=True)), 9) for row in plane["basis"]]

    point, mu = [4.0, -5.0], [0.5, 7.0, -1.0]
    on_plane = asked(page, "plane.js", "module.onPlane(...given)", [plane, point])
    beside = asked(page, "plane.js", "module.besideText(...given)", [plane, point, mu, projected(mu)])
    assert projected(on_plane) == projected(beside) == point
    assert on_plane != beside


def test_the_place_that_a_map_begins_with_is_among_the_texts_and_on_none(page: Page) -> None:
    points = [[x, y] for x in range(5) for y in range(5) if (x, y) != (2, 2)]
    assert asked(page, "plane.js", "module.clearing(given)", points) == [2, 2]
    assert asked(page, "plane.js", "module.clearing(given)", [[1, 1], [1, 1], [1, 1]]) == [1, 1]


def test_a_link_gives_texts_back_with_their_labels(page: Page) -> None:
    there_and_back = """(() => {
      const table = module.linkedTable(given);
      return [table.rows, module.linkedTexts(table)];
    })()"""
    for lines, labels in (('good\tgreat food\nbad\tcold, "really"', ["good", "bad"]), ("one\ntwo & three", ["", ""])):
        rows, again = asked(page, "map/kept_texts.js", there_and_back, lines)
        assert again == lines
        assert [row["label"] for row in rows] == labels
    assert asked(page, "map/kept_texts.js", "module.linkedTable(given)", " \n") is None


def test_a_text_of_a_link_keeps_its_tabs(page: Page) -> None:
    """The part before a tab used to come back as a label."""
    there_and_back = """(async () => {
      const { TextTable } = await import("/page/tables.js");
      return module.linkedTable(module.linkedTexts(new TextTable("", given))).rows;
    })()"""
    for labels in (("", ""), ("good", "bad")):
        rows = [{"text": text, "label": label} for text, label in zip(("a\tb\tc", "d"), labels, strict=True)]
        assert asked(page, "map/kept_texts.js", f"await {there_and_back}", rows) == rows
    broken, whole = {"text": "two\n lines", "label": "a\tb"}, {"text": "two lines", "label": "a b"}
    assert asked(page, "map/kept_texts.js", f"await {there_and_back}", [broken]) == [whole]


def test_points_inside_a_lasso_are_told_from_those_outside(page: Page) -> None:
    bent = [[0, 0], [4, 0], [4, 4], [2, 1], [0, 4]]
    points = [[1, 1], [2, 3], [3.5, 2], [5, 1]]
    inside = asked(page, "plane.js", "given[1].map((point) => module.isInside(point, given[0]))", [bent, points])
    assert inside == [True, False, True, False]


def test_cards_are_rendered_and_html_in_them_is_text(page: Page) -> None:
    table = "| | |\n|---|---|\n| x | `y\\|z` |\n"
    card = f"---\nlicense: mit\n---\n# a\n\n{table}\n<img src=x>\n\n- **one**\n- [two](javascript:alert(1))\n"
    told = asked(
        page,
        "parts/markdown.js",
        "(() => { const box = document.createElement('div'); box.append(...module.markdown(given)); "
        "return [box.querySelector('td').textContent, box.querySelectorAll('img, a').length, box.textContent]; })()",
        card,
    )
    assert told[0] == "y|z"
    assert told[1] == 0
    assert "license" not in told[2]
    assert "<img src=x>" in told[2]


MADE = """(() => {
  const box = document.createElement("div");
  box.append(...module.markdown(given));
  return box.innerHTML;
})()"""


@pytest.mark.parametrize(
    ("card", "made"),
    [
        ("#hashtag\n#1 of all\n####### seven", "<p>#hashtag #1 of all ####### seven</p>"),
        ("#", "<p>#</p>"),
        ("one\n# two\nthree\n#four", "<p>one</p><h3>two</h3><p>three #four</p>"),
        ("** note this\n\n`open", "<p>** note this</p><p>`open</p>"),
        ("**bold** `code` ** and `", "<p><strong>bold</strong> <code>code</code> ** and `</p>"),
    ],
)
def test_what_only_looks_like_markup_is_text(page: Page, card: str, made: str) -> None:
    """A line with a # that was no heading was looked at for ever."""
    assert asked(page, "parts/markdown.js", MADE, card) == made


def test_every_example_of_every_set_shows_what_it_is_there_for(page: Page) -> None:
    """Walks have sentences in between, and the answer to an analogy is another sentence than the one that was given."""
    examples = asked(page, "examples.js", "Promise.all(given.map((name) => module.examplesFor({ name })))", BUNDLED)
    for name, shown in zip(BUNDLED, examples, strict=True):
        assert len(shown["walks"]) >= 3 and len(shown["analogies"]) >= 3 and len(shown["texts"]) >= 3, name
        for source, target in shown["walks"]:
            walk = texts_of(page, "/interpolate", {"source": source, "target": target, "steps": 9, "adapter": name})
            assert len(set(walk)) >= 4, (name, walk)
        for example in shown["analogies"]:
            body = {field: example[field] for field in "abc"} | {"adapter": name}
            answer = texts_of(page, "/analogy", body)
            assert answer not in ([example["c"]], [example["b"]]), (name, example)


def texts_of(page: Page, path: str, body: dict[str, Any]) -> list[str]:
    reply = page.request.post(f"{urlsplit(page.url).scheme}://{urlsplit(page.url).netloc}{path}", data=body)
    assert reply.ok, reply.text()
    return [row["text"] for row in reply.json()["data"]]
