"""An upload that is sent again with its Idempotency-Key makes no second file, on a volume and in an object store."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from adavae.model.training.readers.columns import Columns
from adavae.service.errors import ServiceError
from adavae.service.jobs.data.file_store import FileStore
from adavae.service.jobs.data.shared_files import SharedFiles
from adavae.service.jobs.records.job import StoredFile
from adavae.service.settings import Settings
from tests.unit.service.jobs.file_home import TEXTS, Users, count_with_tiny_tokenizer, in_pieces
from tests.unit.service.objects.memory_objects import Bucket
from tests.unit.service.stub_latent_service import stub_settings

pytestmark = pytest.mark.asyncio
OTHER = b"another text\nand one more\n"


class Place:
    """Services that share a volume, or a bucket."""

    def __init__(self, root: Path, bucket: Bucket | None) -> None:
        self.root, self.bucket, self.users = root, bucket, Users()

    def service(self, name: str = "one", **fields: Any) -> FileStore:
        if self.bucket is None:
            return FileStore(stub_settings(data=self.root / "data", **fields), self.users, count_with_tiny_tokenizer)
        settings = Settings(
            data=Path("s3://bucket"), store_cache=self.root / name, weights=self.root / "weights", **fields
        )
        return SharedFiles(settings, self.users, self.bucket.opened(), count_with_tiny_tokenizer)

    @property
    def objects(self) -> list[str]:
        return [] if self.bucket is None else self.bucket.keys()

    @property
    def num_keys(self) -> int:
        of_volume = list((self.root / "data").rglob(".keys/*.json"))
        return len(of_volume) + sum(key.startswith("file_keys/") for key in self.objects)

    def plant(self, content: bytes) -> None:
        """What a stranger puts in the place of every key."""
        for path in (self.root / "data").rglob(".keys/*.json"):
            path.write_bytes(content)
        for key in self.objects:
            if self.bucket is not None and key.startswith("file_keys/"):
                self.bucket.plant(key, content)

    def forget_files(self) -> None:
        """As after a crash between the key and its file."""
        for path in (self.root / "data").rglob("file.json"):
            path.unlink()
        gone = [key for key in self.objects if not key.startswith("file_keys/")]
        if self.bucket is not None:
            self.bucket.opened().delete(gone)


@pytest.fixture(params=["volume", "objects"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "objects":
        pytest.importorskip("obstore")
    yield Place(tmp_path, Bucket() if request.param == "objects" else None)


async def sent(
    files: FileStore,
    content: bytes = TEXTS,
    key: str | None = "k",
    owner: str | None = None,
    name: str = "a.txt",
    columns: Columns | None = None,
) -> StoredFile:
    named = Columns() if columns is None else columns
    return await files.create(name, "fine-tune", in_pieces(content), lambda: named, owner=owner, idempotency_key=key)


async def num_files(files: FileStore) -> int:
    return len((await files.list(limit=100, after=None)).items)


async def test_what_is_sent_again_is_the_same_file(place: Place) -> None:
    """Balancers repeated uploads with a key, which made a second file each time."""
    files = place.service()
    first = await sent(files)
    assert await sent(files) == first == await sent(place.service("other"))
    assert await num_files(files) == 1
    assert (await sent(files, key=None)).id != first.id
    assert (await sent(files, key="another")).id != first.id


@pytest.mark.parametrize(
    "changes", [{"content": OTHER}, {"name": "b.txt"}, {"content": TEXTS + b"more\n"}, {"content": b""}]
)
async def test_the_same_key_with_something_else_is_refused(place: Place, changes: dict[str, Any]) -> None:
    files = place.service()
    first = await sent(files)
    with pytest.raises(ServiceError) as refused:
        await sent(files, **changes)
    assert (refused.value.status, refused.value.code) == (409, "idempotency_key_reused")
    assert refused.value.message == (
        f"the Idempotency-Key 'k' was used for another request, which made {first.id}: repeat that request, or take a "
        "new key"
    )
    assert await num_files(files) == 1


async def test_other_columns_are_another_request(place: Place) -> None:
    files, table = place.service(), b"body,stars\none,1\ntwo,2\n"
    await sent(files, table, name="a.csv", columns=Columns("body"))
    with pytest.raises(ServiceError, match="another request"):
        await sent(files, table, name="a.csv", columns=Columns("body", "stars"))


async def test_every_owner_has_keys_of_its_own(place: Place) -> None:
    files = place.service()
    ids = {(await sent(files, owner=owner)).id for owner in (None, "alice", "bob", "alice", None)}
    assert len(ids) == 3


async def test_a_key_goes_with_its_file(place: Place) -> None:
    """There are no more keys than files, and a file that was deleted may be sent again."""
    files = place.service()
    first = await sent(files)
    assert place.num_keys == 1
    await files.delete(first.id)
    assert place.num_keys == 0
    second = await sent(files, OTHER)
    assert second.id != first.id
    assert await sent(files, OTHER) == second


async def test_an_upload_that_is_refused_uses_no_key(place: Place) -> None:
    files = place.service()
    for content in (b"", b"\xff\xfe\xff", b"same\nsame\n"):
        with pytest.raises(ServiceError):
            await sent(files, content)
    assert place.num_keys == 0
    assert await sent(files)


async def test_a_repeated_upload_needs_no_room(place: Place) -> None:
    files = place.service(max_files=1)
    first = await sent(files)
    assert await sent(files) == first
    with pytest.raises(ServiceError, match="limit is 1"):
        await sent(files, key="another")


async def test_too_many_bytes_are_refused_of_a_repeated_upload_too(place: Place) -> None:
    files = place.service(max_upload_bytes=2000)
    await sent(files)

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 100

    with pytest.raises(ServiceError) as refused:
        await files.create("a.txt", "fine-tune", endless(), idempotency_key="k")
    assert refused.value.status == 413


async def test_the_same_at_the_same_moment_is_one_file(place: Place) -> None:
    services = [place.service(name) for name in ("one", "two", "three")]
    stored = await asyncio.gather(*(sent(files) for files in services))
    assert len({each.id for each in stored}) == 1
    assert await num_files(services[0]) == 1


async def test_two_requests_with_one_key_at_the_same_moment_are_never_one_file(place: Place) -> None:
    services = [place.service(name) for name in ("one", "two")]
    answers = await asyncio.gather(sent(services[0]), sent(services[1], OTHER), return_exceptions=True)
    made = [each for each in answers if isinstance(each, StoredFile)]
    for each in made:
        download = await services[0].download(each.id)
        assert b"".join(download.pieces) == (TEXTS if each.sha256 == _sha256(TEXTS) else OTHER)
        download.close()
    refused = [each for each in answers if not isinstance(each, StoredFile)]
    assert all(isinstance(each, ServiceError) and each.code == "idempotency_key_reused" for each in refused)
    assert made


async def test_a_key_without_a_file_may_be_used_again(place: Place) -> None:
    files = place.service()
    await sent(files)
    place.forget_files()
    other = await sent(place.service("fresh"), OTHER)
    assert await sent(place.service("fresh"), OTHER) == other
    place.forget_files()
    assert await sent(place.service("third"), OTHER)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", json.dumps({"file_id": "../x", "request_digest": ""}).encode()])
async def test_a_key_that_cannot_be_read_is_no_key(place: Place, content: bytes) -> None:
    files = place.service()
    first = await sent(files)
    place.plant(content)
    second = await sent(files)
    assert second.id != first.id
    assert await sent(files) == second


async def test_a_key_that_names_anothers_file_does_not_give_it(place: Place) -> None:
    files = place.service()
    secret = await sent(files, owner="alice", key="a")
    used = json.dumps({"file_id": secret.id, "request_digest": "0" * 64}).encode()
    mine = await sent(files, owner="bob", key="b")
    place.plant(used)
    again = await sent(files, owner="bob", key="b")
    assert again.owner == "bob"
    assert again.id not in (secret.id, mine.id)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
