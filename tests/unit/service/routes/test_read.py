"""/read: files of every kind are shown as training reads them, and what is hostile in them is an answer."""

import gzip
import io
import json
import lzma
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from adavae.service.errors import Overloaded
from adavae.service.jobs.data import previews
from adavae.service.jobs.protocol import guessed
from adavae.service.jobs.records.volume_lock import locked
from adavae.service.main import create_app
from adavae.service.settings import Settings
from tests.unit.service.jobs.file_home import FileHome
from tests.unit.service.stub_latent_service import StubLatentService, stub_settings

READ = "/read"
LIMIT = 20_000
NAMES = ("adavae-read-left", "adavae-read-being-read", "adavae-read-being-made", "somebodys-file")
INFERS, TRAINS, MANAGES = (f"{letter}0123456789abcdef0123456789abcde" for letter in "itm")


def settings(**fields: Any) -> Settings:
    return stub_settings(max_upload_bytes=LIMIT, max_line_bytes=1024, max_body_bytes=2048, **fields)


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(create_app(settings(), StubLatentService()), base_url="http://localhost") as client:
        yield client


def asked(client: TestClient, name: str, content: bytes, limit: int | None = None, **columns: str) -> httpx2.Response:
    params = {} if limit is None else {"limit": limit}
    return client.post(READ, params=params, files={"file": (name, content)}, data=columns)


def read(client: TestClient, name: str, content: bytes, limit: int | None = None, **columns: str) -> dict[str, Any]:
    reply = asked(client, name, content, limit, **columns)
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


def rows(found: dict[str, Any]) -> list[tuple[str, str | None]]:
    return [(row["text"], row["label"]) for row in found["data"]]


def refusal(reply: httpx2.Response, status: int = 422) -> str:
    assert reply.status_code == status, reply.text
    return str(reply.json()["error"]["message"])


CSV = '\ufefftext,label,year\r\n"she said ""no""\nand left",neg,2026\r\nthe food\u00a0was great ,pos,2026\r\n'.encode()
TSV = b'label\ttext\npos\t"the waiter said ""no"""\nneg\tit is "fine"\n'
JSON = json.dumps([{"text": "one", "label": 1}, {"text": "two", "label": None}]).encode()


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", CSV, [('she said "no"\nand left', "neg"), ("the food was great", "pos")]),
        ("A.TSV", TSV, [('the waiter said "no"', "pos"), ('it is "fine"', "neg")]),
        ("a.txt", "one\n\n two ".encode("utf-16"), [("one", None), ("two", None)]),
        ("a.json", JSON, [("one", "1"), ("two", None)]),
        ("a.jsonl.gz", gzip.compress(b'{"text": "one", "label": true}\n', mtime=0), [("one", "True")]),
        ("a.csv.xz", lzma.compress(CSV), [('she said "no"\nand left', "neg"), ("the food was great", "pos")]),
    ],
)
def test_every_kind_of_file_is_shown_as_training_reads_it(
    client: TestClient, name: str, content: bytes, expected: list[tuple[str, str | None]]
) -> None:
    found = read(client, name, content)
    assert rows(found) == expected
    assert (found["has_more"], found["by_content"]) == (False, False)


def test_columns_and_what_is_not_read_are_told(client: TestClient) -> None:
    found = read(client, "a.csv", CSV)
    assert found["names"] == ["text", "label", "year"]
    assert found["columns"] == {"text": "text", "label": "label"}
    assert found["notes"] == ["columns that are not read: 'year'"]
    assert [row["line"] for row in found["data"]] == [2, 4]


def test_parquet_is_read_by_the_same_reader(client: TestClient) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    sink = io.BytesIO()
    table = {"id": [1, 2, 3], "text": [" a\u00a0b ", None, "c"], "label": [0, 1, None]}
    parquet.write_table(arrow.table(table), sink)
    found = read(client, "a.parquet", sink.getvalue())
    assert rows(found) == [("a b", "0"), ("c", None)]
    assert found["columns"] == {"text": "text", "label": "label"}
    assert "rows without a text, which are left out: 1" in found["notes"][1]
    assert refusal(asked(client, "a.parquet", b"PAR1 and nothing else")).startswith("a.parquet: cannot be read as")
    unnamed = io.BytesIO()
    comments = ["the food was great", "so dirty, never again", "the staff was rude"]
    parquet.write_table(arrow.table({"n": [1, 2, 3], "comment": comments}), unnamed)
    assert read(client, "a.parquet", unnamed.getvalue())["columns"] == {"text": "comment"}


def test_pairs_come_joined_as_sets_take_them(client: TestClient) -> None:
    found = read(client, "a.csv", b"sentence1,sentence2,label\na,b,1\nc,d,0\n")
    assert rows(found) == [("a \u241e b", "1"), ("c \u241e d", "0")]
    assert found["columns"] == {"text": "sentence1", "pair": "sentence2", "label": "label"}


def test_columns_without_a_usual_name_are_told_by_what_is_in_them(client: TestClient) -> None:
    content = b"Comment,Verdict,Year\n" + b"".join(
        b"the food was great %d,%s,%d\n" % (number, b"good" if number % 2 else b"bad", number) for number in range(20)
    )
    found = read(client, "a.csv", content)
    assert found["by_content"] is True
    assert found["columns"] == {"text": "Comment", "label": "Verdict"}
    assert "'Comment' is read" in found["notes"][0]
    usual = read(client, "a.csv", b"n,Comment,class\n1,the food was great,good\n2,the staff was rude,bad\n")
    assert usual["columns"] == {"text": "Comment", "label": "class"}
    named = read(client, "a.csv", content, text_column="Comment", label_column="Year")
    assert (named["by_content"], named["columns"]) == (False, {"text": "Comment", "label": "Year"})


@pytest.mark.parametrize(
    "content",
    [b"pos,the food was great\nneg,the staff was rude\n", b"a,b\n1,2\n3,4\n", b"stars;n\n5;\n1;\n"],
)
def test_a_table_without_names_of_columns_is_no_table_with_the_first_row_missing(
    client: TestClient, content: bytes
) -> None:
    assert "add a header line" in refusal(asked(client, "a.csv", content))


def test_rows_without_a_text_are_left_out_and_counted(client: TestClient) -> None:
    found = read(client, "a.csv", b"text,label\none,a\n,b\n\xc2\xa0,b\ntwo,b\n")
    assert rows(found) == [("one", "a"), ("two", "b")]
    assert found["notes"] == ["rows without a text, which are left out: 2; training wants them removed"]


def test_no_more_is_read_than_is_asked_for(client: TestClient) -> None:
    """What stands behind the rows that are shown is looked at when the file is used."""
    content = b'{"text": "one"}\n{"text": "two"}\n{"text": "three"}\nthis is not JSON\n'
    found = read(client, "a.jsonl", content, limit=2)
    assert (rows(found), found["has_more"]) == ([("one", None), ("two", None)], True)
    assert "a.jsonl:4: is not JSON" in refusal(asked(client, "a.jsonl", content))


def test_the_answer_is_bounded_in_bytes(client: TestClient) -> None:
    found = read(client, "a.txt", b"".join(b"%d %s\n" % (number, b"x" * 990) for number in range(9)))
    assert (len(found["data"]), found["has_more"]) == (2, True)
    assert "more than 2,048 bytes of text are not shown at once: the first 2 rows are" in found["notes"]


HOSTILE: list[tuple[str, bytes, str]] = [
    ("a.txt", b"caf\xe9\n", "a.txt:1: is not UTF-8 (byte 0xe9): convert the file"),
    ("a.txt", b"a\0b\n", "NUL"),
    ("a.txt", b"x" * 2000, "longer than 1,024 bytes (ADAVAE_MAX_LINE_BYTES)"),
    ("a.txt", b"\n \n", "holds no text"),
    ("a.txt", b"", "is empty"),
    ("a.csv", b"text\n", "holds no text"),
    ("a.csv", b'text,label\n"never closed,a\n', "a quoted cell begins here and never ends"),
    ("a.csv", b"text,label\none,a,b\n", "has 3 columns, the header 2"),
    ("a.csv", b"text,text\na,b\n", "has the column 'text' 2 times"),
    ("a.json", b"[" * 5000, "a.json"),
    ("a.jsonl", b'{"text": "\\ud800"}\n', "half a surrogate pair"),
    ("a.jsonl", b'{"words": "x"}\n', "there are 'words'"),
    ("a.jsonl.gz", b"no gzip", "is not compressed with gzip"),
    (
        "a.txt.gz",
        gzip.compress(b"x\n" * 20_000, mtime=0),
        "holds more than 20,000 bytes (ADAVAE_MAX_UPLOAD_BYTES): split it",
    ),
    ("a.csv", b"PK\x03\x04", "is a zip archive"),
    ("a.exe", b"x", "must end in .csv"),
    ("\x1b[2J.csv", b"text\na\n", "characters that cannot be shown"),
]


@pytest.mark.parametrize(("name", "content", "said"), HOSTILE)
def test_what_is_no_data_file_is_refused_with_its_place(
    client: TestClient, name: str, content: bytes, said: str
) -> None:
    message = refusal(asked(client, name, content, limit=50_000))
    assert said in message
    assert "/content" not in message


@pytest.mark.parametrize(
    ("columns", "params", "said"),
    [
        ({"text_column": "nothing"}, {}, "there are 'text', 'label', 'year'"),
        ({"label_column": "nothing"}, {}, "there are 'text', 'label', 'year'"),
        ({"text_column": "text", "label_column": "text"}, {}, "named twice"),
        ({"purpose": "fine-tune"}, {}, "the fields are file, text_column, label_column, pair_column"),
        ({}, {"limit": 0}, "greater than or equal to 1"),
        ({}, {"limit": 10**9}, "less than or equal to 50000"),
        ({}, {"rows": 1}, "rows"),
    ],
)
def test_wrong_columns_and_numbers_are_refused(
    client: TestClient, columns: dict[str, str], params: dict[str, int], said: str
) -> None:
    reply = client.post(READ, params=params, files={"file": ("a.csv", CSV)}, data=columns)
    assert said in refusal(reply)


def test_what_is_no_form_or_too_large_is_refused(client: TestClient) -> None:
    assert refusal(client.post(READ, json={"file": "x"}), 415).endswith("as `curl -F file=@texts.jsonl` does")
    nothing = b'--x\r\nContent-Disposition: form-data; name="text_column"\r\n\r\na\r\n--x--\r\n'
    form = {"content-type": "multipart/form-data; boundary=x"}
    assert "file is missing" in refusal(client.post(READ, content=nothing, headers=form))
    too_large = refusal(asked(client, "a.txt", b"x\n" * LIMIT), 413)
    assert "ADAVAE_MAX_UPLOAD_BYTES" in too_large


def test_nothing_stays_of_a_file(client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    seen: list[list[str]] = []
    monkeypatch.setattr(previews, "preview_of", lambda *_a, **_k: seen.append([*map(str, tmp_path.iterdir())]) or 1 / 0)
    assert asked(client, "a.csv", CSV).status_code == 500
    assert len(seen[0]) == 1
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_service_left_is_removed_and_nothing_else(
    client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: it stayed in the temporary directory for good."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left, being_read, being_made, other = (tmp_path / name for name in NAMES)
    for directory in (left, being_read, other):
        (directory / "file").mkdir(parents=True)
        (directory / "file" / "content.csv").write_bytes(CSV)
    being_made.mkdir()
    with locked(being_read / "lock"):
        read(client, "a.csv", CSV)
    assert set(tmp_path.iterdir()) == {being_read, being_made, other}
    read(client, "a.csv", CSV)
    assert set(tmp_path.iterdir()) == {being_made, other}


def test_a_disk_that_takes_nothing_is_an_answer(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/proc/nothing")
    message = refusal(asked(client, "a.csv", CSV), 503)
    assert "the temporary directory takes no file" in message


def test_too_many_at_once_are_refused(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(previews, "MAX_FILES", 0)
        assert "0 files are being read at once, the limit is 0" in refusal(asked(client, "a.csv", CSV), 429)
    monkeypatch.setattr(previews, "MAX_WHOLE_FILES", 0)
    assert f"{len(CSV)} bytes of files are being read at once" in refusal(asked(client, "a.csv", CSV), 429)


@pytest.mark.asyncio
async def test_bytes_that_are_here_count_by_client_until_they_are_gone() -> None:
    looks = previews.Previews(settings())
    half = b"x\n" * (LIMIT // 4 + 1)

    async def meanwhile(client: str) -> AsyncIterator[bytes]:
        yield half
        with pytest.raises(Overloaded, match=f"{2 * len(half):,} bytes of your files"):
            await looks.read("a.txt", one(half), guessed, max_rows=1, client=client)
        assert (await looks.read("a.txt", one(half), guessed, max_rows=1, client="another")).has_more

    for _ in range(4):  # a fourth would be too much if the others were still counted
        assert (await looks.read("a.txt", meanwhile("one"), guessed, max_rows=1, client="one")).has_more


@pytest.mark.asyncio
async def test_one_client_leaves_places_to_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(previews, "MAX_FILES", 3)
    looks = previews.Previews(settings())

    async def meanwhile() -> AsyncIterator[bytes]:
        yield b"x\ny\n"
        with pytest.raises(Overloaded, match="1 of your files are being read at once, the limit is 1"):
            await looks.read("a.txt", one(b"x\n"), guessed, max_rows=1, client="one")
        assert (await looks.read("a.txt", one(b"x\ny\n"), guessed, max_rows=1, client="another")).has_more

    for _ in range(2):
        assert (await looks.read("a.txt", meanwhile(), guessed, max_rows=1, client="one")).has_more


async def one(content: bytes) -> AsyncIterator[bytes]:
    yield content


@pytest.mark.parametrize(("key", "status"), [(INFERS, 200), (TRAINS, 200), (MANAGES, 403)])
def test_keys_that_infer_or_train_may_read(key: str, status: int) -> None:
    keys = f"{INFERS}:infer {TRAINS}:train {MANAGES}:admin"
    app = create_app(settings(api_keys=keys), StubLatentService())
    with TestClient(app, base_url="http://localhost") as client:
        reply = client.post(READ, files={"file": ("a.csv", CSV)}, headers={"x-api-key": key})
    assert reply.status_code == status, reply.text


def test_what_is_shown_is_what_an_upload_of_the_same_columns_holds(tmp_path: Path) -> None:
    content = b"Comment,Verdict\nthe food was really great,good\nthe staff was very rude,bad\n"
    with FileHome(tmp_path).client() as client:
        found = read(client, "a.csv", content)
        columns = {f"{part}_column": name for part, name in found["columns"].items()}
        form = {"files": {"file": ("a.csv", content)}, "data": {"purpose": "fine-tune", **columns}}
        stored = client.post("/v1/files", **form).json()
    assert (stored["rows"], stored["labels"]) == (len(found["data"]), {"bad": 1, "good": 1})
