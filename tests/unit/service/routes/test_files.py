"""/v1/files over a real volume: what is taken, shown and given back, and forms that are broken in every way."""

import hashlib
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from tests.unit.service.jobs.file_home import LABELLED, TEXTS, FileHome

FILES = "/v1/files"
FORM = {"content-type": "multipart/form-data; boundary=x"}
PURPOSE = b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
END = b"--x--\r\n"
LIMIT = 5000


@pytest.fixture
def home(tmp_path: Path) -> FileHome:
    return FileHome(tmp_path, max_upload_bytes=LIMIT)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with FileHome(tmp_path_factory.mktemp("home"), max_upload_bytes=LIMIT).client() as client:
        yield client


@pytest.fixture
def client(shared: TestClient, home: FileHome) -> TestClient:
    """One app for all tests, the volume behind it of each test's own."""
    shared.app.state.training = home  # type: ignore[attr-defined]
    return shared


def uploaded(client: TestClient, content: bytes = TEXTS, name: str = "texts.txt") -> dict[str, Any]:
    reply = client.post(FILES, data={"purpose": "fine-tune"}, files={"file": (name, content)})
    assert reply.status_code == 200, reply.text
    stored: dict[str, Any] = reply.json()
    return stored


def error_of(reply: httpx2.Response, status: int) -> dict[str, Any]:
    assert reply.status_code == status, reply.text
    assert reply.headers["x-request-id"]
    error: dict[str, Any] = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


def part(content: bytes = TEXTS, disposition: bytes = b'form-data; name="file"; filename="a.txt"') -> bytes:
    return b"--x\r\nContent-Disposition: " + disposition + b"\r\n\r\n" + content + b"\r\n"


def test_a_file_has_openais_shape_and_what_was_found(client: TestClient, home: FileHome) -> None:
    stored = uploaded(client, LABELLED, "reviews.jsonl")
    assert {name: stored[name] for name in ("object", "bytes", "filename", "purpose", "status")} == {
        "object": "file",
        "bytes": len(LABELLED),
        "filename": "reviews.jsonl",
        "purpose": "fine-tune",
        "status": "processed",
    }
    assert isinstance(stored["created_at"], int)
    assert (stored["rows"], stored["labels"]) == (2, {"no": 1, "yes": 1})
    assert stored["sha256"] == hashlib.sha256(LABELLED).hexdigest()
    assert stored["report"]["rows"] == 2
    assert client.get(f"{FILES}/{stored['id']}").json() == stored
    assert home.left == [stored["id"]]


def test_a_repeated_upload_with_its_key_makes_no_second_file(client: TestClient, home: FileHome) -> None:
    """Balancers send it again where a replica dies; the key was not looked at, and there were two files."""

    def sent(content: bytes, key: str) -> httpx2.Response:
        form: dict[str, Any] = {"data": {"purpose": "fine-tune"}, "files": {"file": ("texts.txt", content)}}
        return client.post(FILES, headers={"Idempotency-Key": key}, **form)

    first, again = sent(TEXTS, "once"), sent(TEXTS, "once")
    assert (first.status_code, again.json()) == (200, first.json())
    assert len(client.get(FILES).json()["data"]) == 1
    error = error_of(sent(LABELLED, "once"), 409)
    assert (error["code"], error["type"]) == ("idempotency_key_reused", "conflict")
    assert sent(TEXTS, "twice").json()["id"] != first.json()["id"]
    assert error_of(sent(TEXTS, "k" * 256), 422)["param"].lower() == "idempotency-key"
    assert len([name for name in home.left if name.startswith("file-")]) == 2


@pytest.mark.parametrize("name", ["texts.txt", 'naïve "文" 100%;.txt', "a\\b'c.TXT"])
def test_the_content_comes_back_as_it_was_sent(client: TestClient, name: str) -> None:
    stored = uploaded(client, TEXTS, name)
    reply = client.get(f"{FILES}/{stored['id']}/content")
    assert (reply.status_code, reply.content) == (200, TEXTS)
    assert reply.headers["content-type"] == "application/octet-stream"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["content-disposition"].startswith("attachment; filename*=UTF-8''")


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        (b"filename*=utf-8''r%C3%A9views%20%281%29.txt", "r\u00e9views (1).txt"),
        (b"filename*=UTF-8'en'na%c3%afve.txt", "na\u00efve.txt"),
        (b"filename*=iso-8859-1''%E9t%E9.txt", "\u00e9t\u00e9.txt"),
        (b"filename=\"plain.txt\"; filename*=utf-8''%E6%96%87.txt", "\u6587.txt"),
        (b"filename*=utf-8''%E6%96%87.txt; filename=\"plain.txt\"", "\u6587.txt"),
        (b"filename=\"a; filename*=utf-8''b.txt\"", "a; filename*=utf-8''b.txt"),
        (b"filename=\"plain.txt\"; filename*=punycode''x-.txt", "plain.txt"),
        (b'filename="plain.txt"; filename*=nothing', "plain.txt"),
    ],
)
def test_a_name_that_is_not_ascii_may_be_written_in_either_way(client: TestClient, sent: bytes, name: str) -> None:
    """``filename*`` (RFC 8187) has no place in forms, and older clients send it all the same."""
    form = PURPOSE + part(disposition=b'form-data; name="file"; ' + sent) + END
    reply = client.post(FILES, content=form, headers=FORM)
    assert (reply.status_code, reply.json().get("filename")) == (200, name), reply.text


def test_compressed_texts_are_taken(client: TestClient) -> None:
    stored = uploaded(client, lzma.compress(LABELLED), "reviews.jsonl.xz")
    assert stored["rows"] == 2


NAMED = b"stars,body\nyes,the food was great\nno,the staff was rude\n"


@pytest.mark.parametrize("is_file_first", [True, False])
def test_columns_are_named_by_fields_before_the_file_or_behind_it(client: TestClient, is_file_first: bool) -> None:
    fields = b"".join(
        b'--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % field
        for field in ((b"text_column", b"body"), (b"label_column", b"stars"))
    )
    file = part(NAMED, b'form-data; name="file"; filename="a.csv"')
    body = (file + fields if is_file_first else fields + file) + PURPOSE + END
    stored = client.post(FILES, content=body, headers=FORM).json()
    assert stored["columns"] == {"text": "body", "label": "stars"}
    assert stored["labels"] == {"no": 1, "yes": 1}


@pytest.mark.parametrize(
    ("fields", "param", "said"),
    [
        ({"text_column": "x" * 1000}, "text_column", "more than 200 characters"),
        ({"pair_column": "x" * 201}, "pair_column", "more than 200 characters"),
        ({"label_column": ""}, "label_column", "name a column, or leave the field out"),
        ({"text_column": "body", "pair_column": "body"}, "text_column", "named twice"),
        ({"text_column": "bdy"}, "file", "there are 'stars', 'body'"),
        ({"columns": "body"}, "columns", "file, purpose, text_column, label_column, pair_column"),
    ],
)
def test_names_of_columns_that_are_wrong_are_refused(
    client: TestClient, home: FileHome, fields: dict[str, str], param: str, said: str
) -> None:
    reply = client.post(FILES, data={"purpose": "fine-tune"} | fields, files={"file": ("a.csv", NAMED)})
    error = error_of(reply, 422)
    assert error["param"] == param
    assert said in error["message"]
    assert home.left == []


def test_files_are_listed_page_by_page_in_both_orders(client: TestClient) -> None:
    made = [uploaded(client)["id"] for _ in range(3)]
    assert client.get(FILES).json()["data"][0]["id"] == made[-1]
    for order, expected in (("desc", made[::-1]), ("asc", made)):
        first = client.get(FILES, params={"limit": 2, "order": order}).json()
        assert ([file["id"] for file in first["data"]], first["has_more"]) == (expected[:2], True)
        assert (first["first_id"], first["last_id"]) == (expected[0], expected[1])
        rest = client.get(FILES, params={"after": first["last_id"], "order": order}).json()
        assert ([file["id"] for file in rest["data"]], rest["has_more"]) == (expected[2:], False)
    assert len(client.get(FILES, params={"purpose": "fine-tune"}).json()["data"]) == 3


def test_an_empty_list_has_no_first_and_no_last(client: TestClient) -> None:
    page = client.get(FILES).json()
    assert page == {"object": "list", "data": [], "has_more": False, "first_id": None, "last_id": None}


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=10001", "limit"),
        ("order=up", "order"),
        ("purpose=batch", "purpose"),
        ("limt=1", "limt"),
        ("after=..", "after"),
        ("after=" + "a" * 201, "after"),
    ],
)
def test_a_query_that_is_wrong_is_refused(client: TestClient, query: str, param: str) -> None:
    assert error_of(client.get(f"{FILES}?{query}"), 422)["param"] == param


def test_a_deleted_file_is_gone(client: TestClient, home: FileHome) -> None:
    path = f"{FILES}/{uploaded(client)['id']}"
    assert client.delete(path).json() == {"object": "file", "id": path.rpartition("/")[2], "deleted": True}
    for method, rest in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
        assert error_of(client.request(method, path + rest), 404)["type"] == "not_found"
    assert home.left == []


def test_a_file_in_use_stays(client: TestClient, home: FileHome) -> None:
    file_id = uploaded(client)["id"]
    home.users.jobs[file_id] = ["ftjob-1"]
    error = error_of(client.delete(f"{FILES}/{file_id}"), 409)
    assert (error["code"], "ftjob-1" in error["message"]) == ("file_in_use", True)
    assert home.left == [file_id]


@pytest.mark.parametrize(
    "file_id", ["file-0", "..", "%2e%2e", "%2e%2e%2f%2e%2e%2fjobs", "%00", ".lock", "file-" + "g" * 24]
)
def test_what_is_no_file_is_not_found(client: TestClient, file_id: str) -> None:
    uploaded(client)
    for method, rest in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
        assert client.request(method, f"{FILES}/{file_id}{rest}").status_code in (404, 405)


@pytest.mark.parametrize("reverse", [False, True])
def test_fields_may_come_in_any_order_and_any_pieces(client: TestClient, reverse: bool) -> None:
    parts = [PURPOSE, part()]
    whole = b"".join(parts[::-1] if reverse else parts) + END
    for size in (1, 7, len(whole)):
        pieces = (whole[start : start + size] for start in range(0, len(whole), size))
        reply = client.post(FILES, content=pieces, headers=FORM)
        assert reply.status_code == 200, reply.text
        assert reply.json()["bytes"] == len(TEXTS)


def test_what_looks_like_a_boundary_is_content(client: TestClient) -> None:
    content = b"one\r\n--y\r\n--\r\n-\r\n\r\n--z--\r\n\rtwo\n"
    reply = client.post(FILES, content=PURPOSE + part(content) + END, headers=FORM)
    assert reply.status_code == 200, reply.text
    assert client.get(f"{FILES}/{reply.json()['id']}/content").content == content


@pytest.mark.parametrize(
    ("body", "status", "param", "told"),
    [
        (b"", 400, None, "it ends before its last boundary"),
        (PURPOSE + part()[:-20], 400, None, "it ends before its last boundary"),
        (PURPOSE + part(), 400, None, "it ends before its last boundary"),
        (b"no form at all", 400, None, "the form cannot be read"),
        (b'{"purpose": "fine-tune"}', 400, None, "the form cannot be read"),
        (b"--x\r\nContent-Disposition\r\n\r\n", 400, None, "the form cannot be read"),
        (b"--x\r\nA: " + b"a" * 9000, 400, None, "the form cannot be read"),
        (b"--x\r\n" + b"a" * 9000, 400, None, "the form cannot be read"),
        (b"--x\r\n\r\nabc\r\n" + END, 400, None, "a part of it has no name"),
        (part(disposition=b"form-data") + END, 400, None, "a part of it has no name"),
        (END, 422, "file", "file is missing"),
        (PURPOSE + END, 422, "file", "file is missing"),
        (part() + END, 422, "purpose", "purpose is missing: add the field purpose with 'fine-tune'"),
        (PURPOSE.replace(b"fine-tune", b"batch") + part() + END, 422, "purpose", "'batch', must be 'fine-tune'"),
        (part() + PURPOSE.replace(b"fine-tune", b"") + END, 422, "purpose", "'', must be 'fine-tune'"),
        (PURPOSE.replace(b"fine-tune", b"f" * 10_000), 422, "purpose", "must be 'fine-tune'"),
        (PURPOSE + PURPOSE + part() + END, 422, "purpose", "purpose is there twice"),
        (PURPOSE + part() + part() + END, 422, "file", "file is there twice: send one file a request"),
        (part(disposition=b'form-data; name="expires_after"') + END, 422, "expires_after", "the fields are file"),
        (part(disposition=b'form-data; name="\xff"') + END, 422, "\ufffd", "unknown field"),
        (PURPOSE + part(disposition=b'form-data; name="file"') + END, 422, "file", "has 0 characters"),
        (PURPOSE + part(b"") + END, 422, "file", "a.txt is empty: send at least 2 texts"),
    ],
)
def test_a_broken_form_is_refused_with_what_is_wrong(
    client: TestClient, home: FileHome, body: bytes, status: int, param: str | None, told: str
) -> None:
    error = error_of(client.post(FILES, content=body, headers=FORM), status)
    assert told in error["message"]
    assert error["param"] == param
    assert home.left == []


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("", 415),
        ("application/json", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/mixed; boundary=x", 415),
        ("multipart/form-data", 400),
        ("multipart/form-data; boundary=", 400),
        ("multipart/form-data; boundary=" + "x" * 71, 400),
    ],
)
def test_what_is_no_form_is_refused_unread(client: TestClient, home: FileHome, kind: str, status: int) -> None:
    error = error_of(client.post(FILES, content=PURPOSE + part() + END, headers={"content-type": kind}), status)
    assert "curl -F purpose=fine-tune -F file=@texts.jsonl" in error["message"]
    assert home.left == []


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.docx", TEXTS, "must end in .csv, .tsv, .txt, .jsonl or .json"),
        ("a.txt", "the food\nwas great\n".encode("utf-16-le"), "NUL"),
        ("a.txt", b"\x00\xff\xfe\x80", "a.txt:1: is not UTF-8"),
        ("a.jsonl", b"PK\x03\x04" + b"\0" * 100, "is a zip archive: unpack it"),
        ("a.jsonl", b"\x1f\x8b\x08" + b"\0" * 100, "compressed with gzip and not named .gz"),
        ("a.jsonl.xz", b"no xz at all", "is not compressed with xz"),
        ("a.jsonl", b'{"text": "a"}\n{"text": }\n', "a.jsonl:2"),
        ("a.txt", b"one text\n", "a.txt"),
    ],
)
def test_data_that_cannot_be_trained_on_is_refused(
    client: TestClient, home: FileHome, name: str, content: bytes, told: str
) -> None:
    reply = client.post(FILES, data={"purpose": "fine-tune"}, files={"file": (name, content)})
    error = error_of(reply, 422)
    assert told in error["message"]
    assert str(home.settings.data) not in error["message"]
    assert (error["param"], home.left) == ("file", [])


def test_more_than_the_limit_is_refused_whether_declared_or_not(client: TestClient, home: FileHome) -> None:
    """A little too much is found in the form, much too much before it."""
    for num_bytes in (LIMIT + 1, LIMIT + 200_000):
        body = PURPOSE + part(b"a" * num_bytes) + END
        for content in (body, iter([body[:100], body[100:]])):
            reply = client.post(FILES, content=content, headers=FORM)
            error = error_of(reply, 413)
            assert f"{LIMIT} " in error["message"]
            assert "ADAVAE_MAX_UPLOAD_BYTES" in error["message"]
            assert "split" in error["message"]
            assert home.left == []


def test_exactly_the_limit_is_taken(client: TestClient) -> None:
    content = b"the food\n" * (LIMIT // 9) + b"the staff\n"
    content = content[-LIMIT:]
    assert uploaded(client, content)["bytes"] == len(content)


def test_what_is_refused_before_it_was_read_is_not_read(client: TestClient, home: FileHome) -> None:
    """A client that sends hundreds of megabytes under a wrong name learns of it at once."""

    def endless() -> Iterator[bytes]:
        yield PURPOSE + b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.docx"\r\n\r\n'
        for _ in range(10):
            yield b"a" * 100

    reply = client.post(FILES, content=endless(), headers=FORM)
    assert error_of(reply, 422)["code"] == "invalid_filename"
    assert reply.headers["connection"] == "close"
    whole = client.post(FILES, content=PURPOSE + part(b"") + END, headers=FORM)
    assert "connection" not in whole.headers
    assert home.left == []


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "origin": "http://localhost"},
    ],
)
def test_without_keys_other_sites_pages_send_nothing(
    client: TestClient, home: FileHome, headers: dict[str, str]
) -> None:
    error = error_of(client.post(FILES, content=PURPOSE + part() + END, headers=FORM | headers), 403)
    assert error["code"] == "cross_site"
    assert home.left == []


@pytest.mark.parametrize("headers", [{"origin": "http://localhost"}, {"sec-fetch-site": "same-origin"}])
def test_pages_of_the_service_itself_may(client: TestClient, headers: dict[str, str]) -> None:
    assert client.post(FILES, content=PURPOSE + part() + END, headers=FORM | headers).status_code == 200
