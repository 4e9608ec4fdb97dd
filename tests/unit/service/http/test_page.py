"""GET / and the files behind it: the policy, compression, validators, and that nothing else is ever sent."""

import gzip
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from adavae.service.http.page import page_files
from tests.unit.service.http_client import client_of

PAGE = Path(__file__).resolve().parents[4] / "service" / "page"
MAX_BYTES = 1_500_000
KEY = "a-key-of-the-tests"


@pytest.fixture
def client() -> Iterator[TestClient]:
    with client_of() as client:
        yield client


def test_the_page_runs_nothing_but_its_own_files(client: TestClient) -> None:
    reply = client.get("/")
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(part.split(" ", 1) for part in reply.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert {policy[kind] for kind in ("script-src", "style-src", "connect-src", "font-src")} == {"'self'"}
    assert reply.headers["x-content-type-options"] == "nosniff"


def test_no_script_no_style_and_no_handler_is_written_into_the_page() -> None:
    index = (PAGE / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:", index)
    modules = list(PAGE.rglob("*.js"))
    assert modules
    for path in modules:
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|\beval\(|new Function", path.read_text("utf-8")
        ), path


def test_every_file_that_the_page_names_is_there(client: TestClient) -> None:
    index = client.get("/").text
    named = re.findall(r'(?:href|src)="(page/[^"]+)"', index)
    assert len(named) > 5
    for name in named:
        assert client.get(f"/{name}").status_code == 200, name
    for path in PAGE.rglob("*.js"):
        for imported in re.findall(r'(?:from|import\()\s*"(\.[^"]+)"', path.read_text("utf-8")):
            target = (path.parent / imported).resolve()
            assert target.is_file() or target.with_name(f"{target.name}.gz").is_file(), (path.name, imported)


def test_files_are_sent_compressed_to_who_takes_it_and_whole_to_who_does_not(client: TestClient) -> None:
    for name in ("app.js", "vendor/echarts.js", "style/base.css"):
        packed = client.get(f"/page/{name}", headers={"accept-encoding": "gzip"})
        plain = client.get(f"/page/{name}", headers={"accept-encoding": "identity"})
        assert packed.headers["content-encoding"] == "gzip"
        assert "content-encoding" not in plain.headers
        assert packed.content == plain.content
        assert plain.headers["vary"] == "accept-encoding"


def test_a_file_that_has_not_changed_is_not_sent_again(client: TestClient) -> None:
    first = client.get("/page/app.js")
    again = client.get("/page/app.js", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["content-security-policy"] == first.headers["content-security-policy"]
    assert client.get("/page/app.js", headers={"if-none-match": '"other"'}).status_code == 200


@pytest.mark.parametrize(
    "name", ["../main.py", "%2e%2e/main.py", "vendor", "", "nothing.js", "vendor/../../settings.py", "README.md"]
)
def test_nothing_else_is_ever_sent(client: TestClient, name: str) -> None:
    reply = client.get(f"/page/{name}")
    assert reply.status_code == 404
    assert reply.json()["error"]["type"] == "not_found"


def test_the_page_is_open_where_there_are_keys_and_counts_for_no_limit() -> None:
    with client_of(api_keys=f"{KEY}:infer", rate_limit="1/minute") as client:
        for _ in range(3):
            assert client.get("/").status_code == 200
            assert client.get("/page/app.js").status_code == 200
        assert client.get("/adapters").status_code == 401


def test_the_page_is_small() -> None:
    files = [path.read_bytes() for path in page_files().values()]
    sizes = [min(len(gzip.compress(content)), len(content)) for content in files]
    assert sum(sizes) < MAX_BYTES


def test_what_comes_from_others_is_what_its_digest_says() -> None:
    told = dict(
        re.findall(
            r"^\| `([^`]+)` \|.*\| `([0-9a-f]{64})` \|$", (PAGE / "vendor" / "README.md").read_text("utf-8"), re.M
        )
    )
    vendored = {path.name: path for path in (PAGE / "vendor").iterdir() if path.suffix in (".gz", ".woff2")}
    assert told.keys() == {name.removesuffix(".gz") for name in vendored}
    for name, path in vendored.items():
        content = path.read_bytes()
        content = gzip.decompress(content) if name.endswith(".gz") else content
        assert hashlib.sha256(content).hexdigest() == told[name.removesuffix(".gz")], name


def test_the_key_says_what_it_may_do() -> None:
    with client_of() as client:
        assert client.get("/key").json() == {
            "object": "key",
            "is_needed": False,
            "scopes": ["infer", "train", "admin"],
            "name": None,
        }
    with client_of(api_keys=f"{KEY}:infer,train") as client:
        assert client.get("/key").status_code == 401
        told = client.get("/key", headers={"x-api-key": KEY}).json()
        assert told | {"name": ""} == {"object": "key", "is_needed": True, "scopes": ["infer", "train"], "name": ""}
