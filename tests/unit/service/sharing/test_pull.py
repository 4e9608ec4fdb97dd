"""Sets out of directories and from a web server: verified, bounded before they are fetched, and pinned."""

import contextlib
import errno
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from adavae.model.errors import (
    AdapterSetExists,
    AdapterSetMismatch,
    AdapterSetNotFound,
    AdaVAEError,
    ConfigError,
    WeightsCorrupted,
)
from adavae.model.storage.adapter_store import AdapterStore
from adavae.model.storage.manifest import CARD, MANIFEST, MAX_TEXT_BYTES, TENSORS, Manifest, read_manifest
from adavae.service.sharing.errors import SharingError
from adavae.service.sharing.pull import pull
from adavae.service.sharing.push import push
from tests.tiny_sets import forge_manifest, names_under, publish

MAX_BYTES = 1024**2


@pytest.fixture
def store(tmp_path: Path) -> AdapterStore:
    return AdapterStore(tmp_path / "here")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A set that is elsewhere."""
    return publish(tmp_path / "there")


class Web(BaseHTTPRequestHandler):
    """Files as they are; what is larger than the disk's is sent without an end until the reader leaves."""

    root: Path
    endless: set[str]
    declared: dict[str, int]
    asked: list[str]

    def log_message(self, format: str, *args: object) -> None:
        del format, args

    def do_GET(self) -> None:
        name = self.path.partition("?")[0].strip("/")
        self.asked.append(name)
        if name == "moved.tar.gz":
            self.send_response(302)
            self.send_header("location", "/set.tar.gz?sig=2")
            self.end_headers()
        elif name.startswith("away/"):  # to an address of this machine that is none of its loopback's
            self.send_response(302)
            self.send_header("location", f"http://0.0.0.0:{self.server.server_address[1]}/{name[5:]}")
            self.end_headers()
        elif not (self.root / name).is_file():
            self.send_error(404)
        else:
            self.send_response(200)
            content = (self.root / name).read_bytes()
            if name not in self.endless:
                self.send_header("content-length", str(self.declared.get(name, len(content))))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(content)
                while name in self.endless:
                    self.wfile.write(bytes(2**20))


@contextlib.contextmanager
def web(root: Path, *, endless: tuple[str, ...] = (), **declared: int) -> Iterator[tuple[str, list[str]]]:
    """Its address, and what it was asked for."""
    values = {"root": root, "endless": set(endless), "declared": dict(declared), "asked": []}
    handler = type("OneWeb", (Web,), values)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", handler.asked  # type: ignore[attr-defined]
        finally:
            server.shutdown()
            thread.join()


def test_a_set_comes_from_a_directory_as_a_url_as_a_path_and_as_an_archive(path: Path, tmp_path: Path) -> None:
    there = AdapterStore(tmp_path / "there")
    archive = there.export_set("demo", tmp_path / "demo.tar.gz")
    expected = there.read("demo").manifest
    for number, address in enumerate((f"file://{path}", str(path), f"file://{archive}", str(archive))):
        own = AdapterStore(tmp_path / str(number))
        assert pull(address, own, max_bytes=MAX_BYTES).reference == expected.reference
        assert own.read("demo").manifest == expected
        assert len(names_under(own.root)) == 5  # its name, its version, three files


def test_a_set_comes_from_a_web_server_by_its_files_or_as_an_archive(store: AdapterStore, path: Path) -> None:
    there = AdapterStore(path.parents[1])
    there.export_set("demo", path / "set.tar.gz")
    digest = read_manifest(path).digest
    with web(path) as (url, asked):
        assert pull(url, store, max_bytes=MAX_BYTES, digest=digest).name == "demo"
        assert (asked[0], sorted(asked)) == (MANIFEST, sorted([MANIFEST, TENSORS, CARD]))
        renamed = pull(f"{url}/moved.tar.gz?sig=1#{digest}", store, max_bytes=MAX_BYTES, name="other")
    assert renamed.name == "other"
    assert {entry.name for entry in store.list()} == {"demo", "other"}


def test_a_redirect_to_another_machine_without_tls_is_followed_only_to_a_set_that_is_known(
    store: AdapterStore, path: Path
) -> None:
    """Regression: only the first address was looked at."""
    AdapterStore(path.parents[1]).export_set("demo", path / "set.tar.gz")
    digest = read_manifest(path).digest
    with web(path) as (url, _):
        with pytest.raises(SharingError, match="without TLS"):
            pull(f"{url}/away/set.tar.gz", store, max_bytes=MAX_BYTES)
        assert pull(f"{url}/away/set.tar.gz#{digest}", store, max_bytes=MAX_BYTES).name == "demo"


def test_a_name_that_is_none_is_refused_before_anything_is_fetched(store: AdapterStore, path: Path) -> None:
    with web(path) as (url, asked):
        with pytest.raises(ConfigError, match="Bad Name"):
            pull(url, store, max_bytes=MAX_BYTES, name="Bad Name")
        assert asked == []


def test_another_set_than_was_pinned_is_refused_before_its_tensors_are_fetched(store: AdapterStore, path: Path) -> None:
    forge_manifest(path, lambda values: values["training"].update(command="another"))
    with web(path) as (url, asked), pytest.raises(WeightsCorrupted, match="expected is"):
        pull(url, store, max_bytes=MAX_BYTES, digest="0" * 64)
    assert asked == [MANIFEST]
    assert not store.list()


def test_what_may_not_be_installed_is_not_fetched(store: AdapterStore, path: Path) -> None:
    def refuse(manifest: Manifest) -> None:
        raise AdapterSetMismatch(f"{manifest.name} is too large")

    with web(path) as (url, asked), pytest.raises(AdapterSetMismatch, match="too large"):
        pull(url, store, max_bytes=MAX_BYTES, accepting=refuse)
    assert asked == [MANIFEST]


def test_a_file_of_another_size_is_refused_by_its_header(store: AdapterStore, path: Path) -> None:
    with (
        web(path, **{TENSORS: 10**12}) as (url, _),
        pytest.raises(WeightsCorrupted, match=f"{TENSORS}.*1,000,000,000,000 bytes"),
    ):
        pull(url, store, max_bytes=MAX_BYTES)


@pytest.mark.parametrize(
    ("name", "kind"), [(MANIFEST, SharingError), (TENSORS, WeightsCorrupted), (CARD, WeightsCorrupted)]
)
def test_a_file_without_an_end_is_given_up(store: AdapterStore, path: Path, name: str, kind: type[AdaVAEError]) -> None:
    with web(path, endless=(name,)) as (url, _), pytest.raises(kind, match="more"):
        pull(url, store, max_bytes=MAX_BYTES)
    assert names_under(store.root) == []


def test_an_archive_is_bounded_by_its_header_and_by_what_comes(store: AdapterStore, path: Path) -> None:
    AdapterStore(path.parents[1]).export_set("demo", path / "set.tar.gz")
    limit = f"{2 * MAX_TEXT_BYTES + MAX_BYTES:,}"
    with web(path, **{"set.tar.gz": 10**10}) as (url, _), pytest.raises(SharingError, match=f"10,000,000,000.*{limit}"):
        pull(f"{url}/set.tar.gz", store, max_bytes=MAX_BYTES)
    with web(path, endless=("set.tar.gz",)) as (url, _), pytest.raises(SharingError, match=limit):
        pull(f"{url}/set.tar.gz", store, max_bytes=MAX_BYTES)


@pytest.mark.parametrize("name", [TENSORS, CARD])
def test_a_changed_byte_is_noticed_and_the_place_named(store: AdapterStore, path: Path, name: str) -> None:
    content = bytearray((path / name).read_bytes())
    content[-1] ^= 1
    (path / name).write_bytes(content)
    with pytest.raises(WeightsCorrupted, match=f"{path}/{name} is damaged"):
        pull(f"file://{path}", store, max_bytes=MAX_BYTES)


def test_a_damaged_archive_is_called_by_its_address(store: AdapterStore, tmp_path: Path) -> None:
    (tmp_path / "set.tar.gz").write_bytes(b"no archive")
    with pytest.raises(WeightsCorrupted) as refused:
        pull(f"file://{tmp_path}/set.tar.gz", store, max_bytes=MAX_BYTES)
    assert str(refused.value).startswith(f"file://{tmp_path}/set.tar.gz cannot be read")


@pytest.mark.parametrize(
    ("address", "kind", "words"),
    [
        ("file:///nowhere", AdapterSetNotFound, "there is no file:///nowhere"),
        ("http://127.0.0.1:9/x", SharingError, "cannot be used"),
        ("http://example.org/x", SharingError, "not encrypted"),
        ("yelp", SharingError, "hf://owner/name"),
        ("ftp://host/x", SharingError, "hf://owner/name"),
        ("zip://x::http://127.0.0.1/y", SharingError, "hf://owner/name"),
        ("s3://", SharingError, "hf://owner/name"),
        ("file:///tmp#123", SharingError, "NAME@VERSION"),
        ("https://[abc/x", SharingError, "cannot be used"),
        ("http://[::1", SharingError, "cannot be used"),
    ],
)
def test_an_address_that_leads_nowhere_says_why(
    store: AdapterStore, address: str, kind: type[AdaVAEError], words: str
) -> None:
    with pytest.raises(kind, match=words) as refused:
        pull(address, store, max_bytes=MAX_BYTES)
    assert "\n" not in str(refused.value)


def test_secrets_of_an_address_are_not_shown(store: AdapterStore) -> None:
    with pytest.raises(SharingError) as refused:
        pull("http://user:word@127.0.0.1:9/x?signature=secret", store, max_bytes=MAX_BYTES)
    assert "word" not in str(refused.value) and "secret" not in str(refused.value)


def test_what_was_pushed_into_a_directory_comes_back_and_nothing_is_overwritten(
    store: AdapterStore, path: Path, tmp_path: Path
) -> None:
    there = AdapterStore(path.parents[1])
    pushed = push("demo", f"file://{tmp_path}/shared/demo", there)
    assert pull(pushed.pinned_address, store, max_bytes=MAX_BYTES).reference == pushed.reference
    assert push("demo", f"file://{tmp_path}/shared/demo", there) == pushed
    publish(there.root, created_at="2026-02-03T00:00:00+00:00")
    with pytest.raises(AdapterSetExists, match="another"):
        push("demo", f"file://{tmp_path}/shared/demo", there)
    archived = push("demo", f"{tmp_path}/shared/demo.tar.gz", there)
    assert pull(archived.pinned_address, store, max_bytes=MAX_BYTES).reference == archived.reference
    with pytest.raises(AdapterSetExists):
        push("demo", f"{tmp_path}/shared/demo.tar.gz", there)


@pytest.mark.parametrize("name", [CARD, TENSORS])
def test_a_file_of_something_else_is_not_replaced(path: Path, tmp_path: Path, name: str) -> None:
    """Regression: pushed into a project's folder, a set replaced the project's README.md."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / name).write_text("mine")
    with pytest.raises(AdapterSetExists, match=f"holds a {name} that is not this set's"):
        push("demo", str(folder), AdapterStore(path.parents[1]))
    assert {each.name: each.read_text() for each in folder.iterdir()} == {name: "mine"}


def test_what_a_full_disk_ended_is_not_in_the_way(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: half an archive stayed under its name, and the next push was refused."""
    there, archive = AdapterStore(path.parents[1]), tmp_path / "demo.tar.gz"

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        for address in (archive, tmp_path / "demo"):
            with pytest.raises(AdaVAEError):
                push("demo", str(address), there)
    assert not archive.exists()
    for address in (archive, tmp_path / "demo"):
        push("demo", str(address), there)


def test_a_web_server_is_not_pushed_to(path: Path) -> None:
    with pytest.raises(SharingError, match="POST /adapters"):
        push("demo", "https://example.org/x", AdapterStore(path.parents[1]))


@pytest.mark.parametrize(
    "address",
    ["http://ci:SECRET@host/set.tar.gz?token=SECRET", "ftp://ci:SECRET@host/a?token=SECRET", "ci:SECRET@host/a"],
)
def test_a_refused_address_is_shown_without_its_secrets(store: AdapterStore, address: str) -> None:
    with pytest.raises(SharingError) as refused:
        pull(address, store, max_bytes=MAX_BYTES)
    assert "SECRET" not in str(refused.value)
    assert "host/" in str(refused.value)
