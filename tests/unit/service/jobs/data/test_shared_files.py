"""Uploads in an object store: whole and checked or not there, fetched and verified by whoever reads them."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adavae.model.training.corpus import read_dataset
from adavae.model.training.readers.columns import Columns
from adavae.service.errors import ServiceError
from adavae.service.jobs.data.shared_files import SharedFiles
from adavae.service.jobs.records.job import StoredFile
from adavae.service.objects.errors import StoreError
from adavae.service.objects.object_store import ObjectStore
from adavae.service.settings import Settings
from tests.unit.service.jobs.file_home import TEXTS, Users, count_with_tiny_tokenizer, in_pieces
from tests.unit.service.objects.memory_objects import Bucket, needs_obstore

pytestmark = [needs_obstore, pytest.mark.asyncio]


class Home:
    """Services that share a bucket, each with a disk of its own."""

    def __init__(self, root: Path) -> None:
        self.root, self.bucket, self.users = root, Bucket(), Users()

    def service(self, name: str = "one", **fields: Any) -> SharedFiles:
        settings = Settings(
            data=Path("s3://bucket"), store_cache=self.root / name, weights=self.root / "weights", **fields
        )
        return SharedFiles(settings, self.users, self.bucket.opened(), count_with_tiny_tokenizer)

    async def stored(self, files: SharedFiles | None = None, owner: str | None = None) -> StoredFile:
        sent = in_pieces(TEXTS)
        return await (files or self.service()).create("texts.txt", "fine-tune", sent, owner=owner)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


async def test_what_one_service_takes_another_gives(home: Home) -> None:
    stored = await home.stored()
    other = home.service("other")
    assert await other.get(stored.id) == stored
    assert (await other.list(limit=10, after=None)).items == [stored]
    download = await other.download(stored.id)
    assert b"".join(download.pieces) == TEXTS
    download.close()
    assert other.path_of(stored.id).read_bytes() == TEXTS
    assert home.bucket.keys() == [f"files/{stored.id}", f"uploads/{stored.id}/content.txt"]


def as_parquet(**columns: list[Any]) -> bytes:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    sink = io.BytesIO()
    parquet.write_table(arrow.table(columns), sink)
    return sink.getvalue()


async def test_parquet_goes_there_with_the_lines_that_it_is_read_as(home: Home) -> None:
    """What a stranger's parquet file says of its size is checked once, where it comes in: workers read lines."""
    content = as_parquet(body=["the food", "the staff"], stars=[5, 1], id=[1, 2])
    named = Columns("body", "stars")
    stored = await home.service().create("a.parquet", "fine-tune", in_pieces(content), lambda: named)
    kept = [f"uploads/{stored.id}/{name}" for name in ("content.parquet", "rows.jsonl")]
    assert home.bucket.keys() == [f"files/{stored.id}", *kept]
    other = home.service("other")
    assert await other.get(stored.id) == stored
    dataset = read_dataset(other.path_of(stored.id), columns=other.columns_of(stored.id))
    assert (dataset.texts, dataset.labels) == (("the food", "the staff"), ("5", "1"))
    download = await other.download(stored.id)
    assert b"".join(download.pieces) == content
    download.close()
    await other.delete(stored.id)
    assert home.bucket.keys() == []


@pytest.mark.parametrize("planted", [b"", b'{"text": "another"}\n' * 2])
async def test_other_lines_in_place_of_a_parquet_files_are_not_read(home: Home, planted: bytes) -> None:
    content = as_parquet(text=["the food", "the staff"])
    stored = await home.service().create("a.parquet", "fine-tune", in_pieces(content))
    home.bucket.plant(f"uploads/{stored.id}/rows.jsonl", planted)
    with pytest.raises(ServiceError) as caught:
        home.service("other").path_of(stored.id)
    assert caught.value.code == "file_damaged"


async def test_a_parquet_files_record_without_its_lines_is_damaged(home: Home) -> None:
    files, content = home.service(), as_parquet(text=["the food", "the staff"])
    stored = await files.create("a.parquet", "fine-tune", in_pieces(content))
    without = replace(stored, lines=None)
    files._read = lambda _: without  # type: ignore[method-assign]
    with pytest.raises(ServiceError, match="does not tell how it is read") as caught:
        files.path_of(stored.id)
    assert caught.value.code == "file_damaged"


async def test_nothing_stays_here_of_what_was_sent(home: Home) -> None:
    await home.stored()
    assert not list(home.root.rglob("content.txt"))


async def test_a_service_that_dies_before_the_record_leaves_no_file(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched, pytest.raises(ServiceError) as caught:
        patched.setattr(ObjectStore, "create", _gone)
        await home.stored()
    assert (caught.value.status, caught.value.code) == (503, "storage_unreachable")
    assert (await home.service().list(limit=10, after=None)).items == []
    await home.stored()
    assert len((await home.service().list(limit=10, after=None)).items) == 1


async def test_a_deleted_file_is_gone_with_its_content_unless_a_job_needs_it(home: Home) -> None:
    stored = await home.stored()
    home.users.jobs[stored.id] = ["ftjob-1"]
    with pytest.raises(ServiceError, match="is used by ftjob-1"):
        await home.service("other").delete(stored.id)
    home.users.jobs.clear()
    await home.service("other").delete(stored.id)
    assert home.bucket.keys() == []
    for ask in (home.service().get, home.service().delete):
        with pytest.raises(ServiceError) as caught:
            await ask(stored.id)
        assert caught.value.code == "file_not_found"


@pytest.mark.parametrize("content", [b"", b"x", b"x" * len(TEXTS), b"x" * 10**6])
async def test_another_content_in_the_store_is_not_given_out(home: Home, content: bytes) -> None:
    stored = await home.stored()
    home.bucket.plant(f"uploads/{stored.id}/content.txt", content)
    with pytest.raises(ServiceError) as caught:
        home.service().path_of(stored.id)
    assert caught.value.code == "file_damaged"


@pytest.mark.parametrize("content", [b"", b"junk", b"0" * 32 + b"\n{}"])
async def test_a_damaged_record_hides_no_other_file(home: Home, content: bytes) -> None:
    bad, good = await home.stored(), await home.stored()
    home.bucket.plant(f"files/{bad.id}", content)
    home.bucket.plant("files/stray", content)
    assert (await home.service().list(limit=10, after=None)).items == [good]
    with pytest.raises(ServiceError) as caught:
        await home.service().get(bad.id)
    assert caught.value.code == "file_damaged"
    await home.service().delete(bad.id)


async def test_limits_count_the_files_of_every_service(home: Home) -> None:
    await home.stored(home.service(max_files=2), "alice")
    await home.stored(home.service("other", max_files=2), "bob")
    with pytest.raises(ServiceError, match="2 files are stored"):
        await home.stored(home.service("third", max_files=2))
    with pytest.raises(ServiceError, match="1 files of this key"):
        await home.stored(home.service("third", max_files_per_key=1), "alice")


async def test_a_store_that_is_gone_is_a_503_everywhere(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = await home.stored()
    files = home.service()
    for method in ("read", "names", "newer", "stamp", "send", "fetch"):
        monkeypatch.setattr(ObjectStore, method, _gone)
    for asked in (files.get(stored.id), files.list(limit=1, after=None), files.delete(stored.id), home.stored()):
        with pytest.raises(ServiceError, match="cannot be reached") as caught:
            await asked
        assert (caught.value.status, caught.value.code) == (503, "storage_unreachable")


def _gone(*_arguments: object) -> None:
    raise StoreError("unreachable", "memory://bucket", "error sending request")
