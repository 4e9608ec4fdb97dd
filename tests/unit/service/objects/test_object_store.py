"""Records under conditions, files piece by piece, and what is refused before it is read."""

from pathlib import Path

import pytest

from adavae.service.objects import object_store
from adavae.service.objects.errors import ObjectChanged
from adavae.service.objects.object_store import NotOurs, ObjectStore
from adavae.service.store_address import StoreAddress
from tests.unit.service.objects.memory_objects import Bucket, needs_obstore

pytestmark = needs_obstore


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


@pytest.fixture
def store(bucket: Bucket) -> ObjectStore:
    return bucket.opened()


def test_what_was_created_is_read_and_created_once(store: ObjectStore) -> None:
    tag = store.create("a/record", b"one")
    assert store.read("a/record", 3) == object_store.Found(b"one", tag)
    with pytest.raises(FileExistsError):
        store.create("a/record", b"two")
    assert store.read("a/record", 3).content == b"one"


def test_only_what_is_unchanged_is_replaced(store: ObjectStore) -> None:
    first = store.create("record", b"one")
    second = store.replace("record", b"two", first)
    with pytest.raises(ObjectChanged):
        store.replace("record", b"three", first)
    assert store.read("record", 10) == object_store.Found(b"two", second)


def test_what_has_gone_counts_as_changed(store: ObjectStore) -> None:
    tag = store.create("record", b"one")
    store.delete(["record"])
    with pytest.raises(ObjectChanged):
        store.replace("record", b"two", tag)


def test_a_tag_never_comes_back_with_the_content(store: ObjectStore) -> None:
    first = store.create("record", b"one")
    again = store.replace("record", b"one", store.replace("record", b"two", first))
    assert again != first
    with pytest.raises(ObjectChanged):
        store.replace("record", b"three", first)


def test_what_is_unchanged_is_not_sent_again(store: ObjectStore) -> None:
    tag = store.create("record", b"one")
    assert store.newer("record", tag, 10) is None
    store.replace("record", b"two", tag)
    found = store.newer("record", tag, 10)
    assert found is not None and found.content == b"two"


def test_a_put_whose_answer_was_lost_counts(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library repeats it, and finds what it has written itself in the way."""
    import obstore

    original = obstore.put

    def repeated(client: object, key: str, content: bytes, **options: object) -> object:
        original(client, key, content, **options)  # type: ignore[call-overload]
        return original(client, key, content, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(obstore, "put", repeated)
    tag = store.create("record", b"one")
    assert store.read("record", 10).tag == tag
    new = store.replace("record", b"two", tag)
    assert store.read("record", 10) == object_store.Found(b"two", new)


def test_a_record_is_not_read_where_it_is_too_large(store: ObjectStore) -> None:
    store.create("record", b"x" * 11)
    with pytest.raises(NotOurs, match="more than 10 bytes"):
        store.read("record", 10)


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 100])
def test_what_a_stranger_wrote_is_no_record(bucket: Bucket, store: ObjectStore, content: bytes) -> None:
    bucket.plant("record", content)
    with pytest.raises(NotOurs, match="not sealed"):
        store.read("record", 1000)


def test_what_is_absent_is_not_found(store: ObjectStore) -> None:
    for asked in (lambda: store.read("no", 1), lambda: store.stamp("no"), lambda: list(store.fetch("no", 1))):
        with pytest.raises(FileNotFoundError):
            asked()


def test_a_stamp_changes_with_every_write(store: ObjectStore) -> None:
    store.write("lease", b"same")
    first = store.stamp("lease")
    assert store.stamp("lease") == first
    store.write("lease", b"same")
    assert store.stamp("lease") != first


def test_names_are_of_what_lies_directly_below(store: ObjectStore) -> None:
    for key in ("jobs/b/job.json", "jobs/a/events/1", "jobs/c", "other/d"):
        store.create(key, b"")
    assert store.names("jobs") == ["a", "b", "c"]
    assert store.names("nothing") == []
    assert [each.key for each in store.keys("jobs", 2)] == ["jobs/a/events/1", "jobs/b/job.json"]


@pytest.mark.parametrize(("prefix", "below"), [("container/a/b", "a/b"), ("container", None)])
def test_an_address_at_azure_names_the_account_and_then_the_container(prefix: str, below: str | None) -> None:
    """The library took the account for the container."""
    store = ObjectStore.at(StoreAddress("az", "account", prefix), timeout_s=1)
    import obstore.store

    for client in (store._records, store._files):
        assert isinstance(client, obstore.store.AzureStore)
        assert (client.config["account_name"], client.config["container_name"]) == ("account", "container")
        assert client.prefix == below


def test_files_come_as_they_went_piece_by_piece(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_store, "_PIECE_BYTES", 10)
    (tmp_path / "file").write_bytes(content := bytes(range(35)))
    store.send("file", tmp_path / "file")
    pieces = list(store.fetch("file", 35))
    assert [len(piece) for piece in pieces] == [10, 10, 10, 5]
    assert b"".join(pieces) == content
    assert store.read_file("file", 35) == content


def test_a_file_of_another_size_is_not_fetched(store: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 35)
    store.send("file", tmp_path / "file")
    with pytest.raises(NotOurs, match="has 35 bytes, not 34"):
        next(store.fetch("file", 34))
    with pytest.raises(NotOurs, match="at most 34 are read"):
        store.read_file("file", 34)


def test_what_is_deleted_twice_is_gone(store: ObjectStore) -> None:
    store.create("a", b"")
    store.delete(["a", "b"])
    store.delete(["a"])
    assert store.names("") == []
